"""The compiled decoders: plain, with refilled slots, speculative."""
