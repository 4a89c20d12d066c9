"""`--tile auto`: tiles as large as the free memory allows. Larger tiles overlap less, so less work is done twice."""

from __future__ import annotations

from fxsr.errors import UnavailableError
from fxsr.runtime.device.open import open_device
from fxsr.runtime.machine.memory import available_memory
from fxsr.runtime.session import Device, SessionInfo
from fxsr.runtime.upscale.tiles import DEFAULT_TILE

_BYTES_PER_SR_PIXEL = 512
"""Memory of a float32 model with 64 features: ONNX Runtime was measured at 0.4 KB, whatever the number of blocks."""
_SIDES = (1024, 768, 512, 384, 256, 192, 128, 96, 64)
_SHARE = 0.5
"""Share of the free memory that tiles may fill; images and other programs need the rest."""


def auto_tile(info: SessionInfo, free: int | None) -> int:
    """Side of the tiles for a session, LR pixels: an engine's own limit, else what `free` bytes allow."""
    if info.tile:
        return min(info.tile)
    if free is None:
        return DEFAULT_TILE
    per_pixel = info.batch * info.scale**2 * _BYTES_PER_SR_PIXEL * info.dtype.itemsize / 4
    return next((side for side in _SIDES if side**2 * per_pixel <= _SHARE * free), _SIDES[-1])


def free_memory(device: Device) -> int | None:
    """Bytes that are free for a session on this device; None where that can't be known."""
    if not device.is_cpu:
        try:
            with open_device(device.index) as memory, memory.current():
                return memory.available()[0]
        except UnavailableError:
            return None
    return available_memory()
