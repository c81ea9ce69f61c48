"""What a run would need on a chip that is not here: memory, time, collectives. See docs/plan.md.

chips      the facts about chips, and the words v5e:4x4 and h100x8
topology   devices to compile for, without a device
programs   the compiled programs of a step, with shapes in place of arrays
work       floating-point operations of a program
roofline   bytes and seconds by arithmetic, without compiling
hlo        reads the optimized program: collectives by loop, the compiler's estimates
compiling  compiles the programs in child processes
search     tries meshes and pieces
report     tables and advice
"""
