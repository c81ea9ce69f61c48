"""Methods: each a file of choices, run with `sirl run experiments/methods/NAME.py --set task=... --set model=...`."""
