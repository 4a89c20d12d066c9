"""The hardware report, `python -m fxsr.benchmarks gpu`: what works on this machine's NVIDIA GPU, and how fast it is.

Its steps run one after the other, the most valuable first, each in a process of its own with a limit (`runner`). What a
step measures is in the report as soon as it is measured (`report`), so that a step that fails, hangs or is interrupted
costs nothing but itself. `plan` lists the steps; the other modules are what they do.
"""
