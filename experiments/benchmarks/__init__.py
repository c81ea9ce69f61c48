"""Speed of a step, beside the limits of the machine and beside other libraries on the same machine.

`cases` lists what is measured. `protocol` is how the driver talks to a side, which is this library
or a peer. `ours` is this library's side; it uses `rollouts`, `updates` and `steps` on the
`workload` of a case. `limits` counts the work of a case and measures the limits of the machine.
`driver` runs all sides in turn. `render` makes tables and pictures of the results.
"""
