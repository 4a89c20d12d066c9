"""Facts about this machine: GPUs, usable CPUs, memory limits, and the name under which results are published."""
