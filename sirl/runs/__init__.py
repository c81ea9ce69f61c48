"""A run's folder: checkpoints, records, identity, questions, and how to read them."""
