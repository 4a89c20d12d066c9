"""The compute capabilities of GPUs that TensorRT-RTX builds for and runs on.

Found by calling the library's own check: version 1.7.1 runs on 8.0, 8.6, 8.9, 12.0, 12.1 and above, not on the GPUs of
data centres and boards in between (8.7, 9.0, 10.x, 11.0). Version 1.6.1 only asks for 8.0 or more when it loads an
engine.
"""

from __future__ import annotations

RTX_TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 builds for on request, without a GPU (table in docs/engines.md)."""
_SINCE_1_7 = ("8.0", "8.6", "8.9", "12.0", "12.1")
_NEWEST = (12, 1)
"""The 1.7 engines also run on all GPUs above this: bit 6 of their header's mask."""
_OLDEST = (8, 0)


def rtx_runs_on(version: str, capability: str) -> bool:
    """Whether an engine that TensorRT-RTX built without `--compute-capability` runs on a GPU.

    Args:
        version: of TensorRT-RTX, such as "1.7.1.116".
        capability: of the GPU, such as "8.9".
    """
    if numbers(version) < (1, 7):
        return numbers(capability) >= _OLDEST
    return capability in _SINCE_1_7 or numbers(capability) > _NEWEST


def rtx_gpus(version: str) -> str:
    """The compute capabilities of `rtx_runs_on`, for messages."""
    return "8.0 and above" if numbers(version) < (1, 7) else f"{', '.join(_SINCE_1_7)} and above"


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that compare: "10.6.0.post1" is (10, 6, 0)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
