"""A run's folder: checkpoints, records, identity, questions, and reading them back."""
