"""How fast a step is: beside what the machine can do, and beside other libraries on the same machine.

`cases` says what is measured and `protocol` how a side is talked to. `ours` is this library's side: its `rollouts`, `updates`
and `steps`, on the `workload` of a case. `limits` is what the machine could do and how much there is to do. `driver` runs all sides
in turn, `render` shows what came out.
"""
