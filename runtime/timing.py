"""How long one batch took, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds that one batch took. None: the backend does not tell these apart."""

    total: float
    """From host arrays to host arrays."""
    compute: float
    """In the model itself; all of it where nothing is copied."""
    host_to_device: float | None = None
    device_to_host: float | None = None
    enqueue: float | None = None
    """What giving the work to the device took the CPU."""
