"""The machine, not the method: hosts, mesh, files, clocks, memory."""
