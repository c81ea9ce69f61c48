"""The compiled decoders: static batches, continuous batching (`refill`), speculative decoding."""
