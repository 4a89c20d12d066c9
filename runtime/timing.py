"""How long one batch took, step by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds that one batch took. None: the backend does not measure this step."""

    total: float
    """From host arrays to host arrays."""
    compute: float
    """In the model itself; equal to `total` if nothing is copied."""
    host_to_device: float | None = None
    device_to_host: float | None = None
    enqueue: float | None = None
    """CPU time for submitting the work to the device."""
