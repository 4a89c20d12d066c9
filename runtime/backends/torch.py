"""Sessions on torch: the checkpoint itself. It is the reference for comparisons, so it need not be fast."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from fxsr.errors import DeviceError
from fxsr.extras import needs
from fxsr.models.checkpoint import Checkpoint, load_checkpoint
from fxsr.runtime.layouts import check_shapes
from fxsr.runtime.session import Array, Device, Session, SessionInfo, check_open, tile_error
from fxsr.runtime.timing import Timing

_OUT_OF_MEMORY = re.compile("out of memory|allocate memory|not enough memory", re.IGNORECASE)


def open_checkpoint(path: Path, device: Device) -> TorchSession:
    """Open a checkpoint file as a session.

    Raises:
        CheckpointError: the file is damaged, or no checkpoint of FxSR.
        DeviceError, MissingExtraError: see `TorchSession`.
    """
    with needs("export"):
        import torch  # noqa: F401  before the file is read: without it, nothing can run
    return TorchSession(load_checkpoint(path), device)


class TorchSession(Session):
    """A checkpoint on torch.

    Args:
        checkpoint: the network to run.
        device: where to run it.
        half: compute in float16 instead of float32.
        compiled: compile its blocks with torch.compile at the first run.

    Raises:
        DeviceError: `device` names a GPU that can't be used.
        MissingExtraError: torch is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, device: Device, *, half: bool = False, compiled: bool = False) -> None:
        with needs("export"):
            import torch
        from fxsr.models.network import build_generator, compile_blocks

        available = torch.cuda.is_available() and device.index < torch.cuda.device_count()
        if device.kind == "cuda" and not available:
            raise DeviceError(f"torch finds no {device}; try --device cpu")
        self._device = torch.device(f"cuda:{device.index}" if available and device.kind != "cpu" else "cpu")
        dtype = torch.float16 if half else torch.float32
        network = build_generator(checkpoint.config, checkpoint.weights).to(self._device, dtype)
        if compiled:
            compile_blocks(network)
        self._network: Any = network
        self._info = SessionInfo(
            name=checkpoint.about.name,
            scale=checkpoint.config.scale,
            dtype=np.dtype(np.float16 if half else np.float32),
            backend="torch",
            device=Device(self._device.type, self._device.index or 0),
        )

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        import torch

        try:
            with torch.inference_mode():
                sr = self._network(*self._move(lr, t_map)).cpu()
        except RuntimeError as error:
            raise tile_error("torch", _OUT_OF_MEMORY, lr, error) from error
        return np.asarray(sr.numpy())

    def measure(self, lr: Array, t_map: Array) -> Timing:
        if self._device.type == "cpu":
            return super().measure(lr, t_map)
        import torch

        event: Any = torch.cuda.Event  # has no type hints
        start, copied_in, computed, copied_out = (event(enable_timing=True) for _ in range(4))
        begin = time.perf_counter()
        with torch.inference_mode(), torch.cuda.device(self._device):
            start.record()
            inputs = self._move(lr, t_map)
            copied_in.record()
            enqueue = time.perf_counter()
            sr = self._network(*inputs)
            enqueue = time.perf_counter() - enqueue
            computed.record()
            sr.cpu()
            copied_out.record()
            copied_out.synchronize()
        total = time.perf_counter() - begin
        steps = ((copied_in, computed), (start, copied_in), (computed, copied_out))
        compute, copy_in, copy_out = (begin.elapsed_time(end) / 1e3 for begin, end in steps)
        return Timing(total, compute, copy_in, copy_out, enqueue)

    def device_memory(self) -> int | None:
        import torch

        return torch.cuda.max_memory_reserved(self._device) if self._device.type == "cuda" else None

    def _move(self, lr: Array, t_map: Array) -> list[Any]:
        import torch

        check_open(self._network)
        check_shapes(lr, t_map)
        return [torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in (lr, t_map)]

    def close(self) -> None:
        self._network = None
