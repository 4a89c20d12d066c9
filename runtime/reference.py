"""Sessions on torch: the checkpoint itself, as the reference that everything else is compared with. Slow is fine."""

from __future__ import annotations

import numpy as np

from fxsr.checkpoint import Checkpoint
from fxsr.errors import DeviceError
from fxsr.extras import needs
from fxsr.runtime.session import Array, Device, Session, SessionInfo


class TorchSession(Session):
    """A checkpoint on torch, in float32.

    Raises:
        DeviceError: a GPU was asked for and can't be used.
        MissingExtraError: torch is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, device: Device) -> None:
        with needs("export"):
            import torch
        from fxsr.network import build_generator

        available = torch.cuda.is_available() and device.index < torch.cuda.device_count()
        if device.kind == "cuda" and not available:
            raise DeviceError(f"torch finds no {device}; try --device cpu")
        self._device = torch.device(f"cuda:{device.index}" if available and device.kind != "cpu" else "cpu")
        self._network = build_generator(checkpoint.config, checkpoint.weights).to(self._device)
        self._info = SessionInfo(
            name=checkpoint.about.name,
            scale=checkpoint.config.scale,
            dtype=np.dtype(np.float32),
            backend="torch",
            device=str(self._device),
        )

    @property
    def info(self) -> SessionInfo:
        return self._info

    def run(self, lr: Array, t_map: Array) -> Array:
        import torch

        with torch.inference_mode():
            sr = self._network(
                torch.from_numpy(np.ascontiguousarray(lr)).to(self._device),
                torch.from_numpy(np.ascontiguousarray(t_map)).to(self._device),
            )
        return np.asarray(sr.cpu().numpy())

    def close(self) -> None:
        del self._network
