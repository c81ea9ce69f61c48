"""The machine, not the method: hosts, mesh, checkpoints, records, progress."""
