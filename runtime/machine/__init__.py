"""What this machine has: GPUs, usable CPUs, memory limits, and the name that figures are published under."""
