"""Measurements that anyone can repeat: `python -m fxsr.benchmarks --help`.

Ratios are medians over interleaved runs of all compared models; every table names the machine.
"""
