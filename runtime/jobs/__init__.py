"""Upscaling files: planning which file goes where, running the jobs on this machine or a cluster, and forecasts."""
