"""Measurements that anyone can rerun: `python -m fxsr.benchmarks --help`.

Ratios come from interleaved runs of both sides in one go, as medians; every table names the machine.
"""
