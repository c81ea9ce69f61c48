"""Experiments: one file per run. Copy one, change it, run it with `sirl run FILE`."""
