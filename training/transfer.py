"""Copies from the host to a device that do not wait for it. Everything that a step copies goes through here."""

from __future__ import annotations

from collections.abc import Sequence

from fxsr.extras import needs

with needs("train"):
    import torch
    from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device. For a GPU it is copied from pinned memory; other copies would wait."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


def crop_index(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Numbers of crops as an index tensor on a device, copied without waiting for it."""
    return to_device(torch.tensor(numbers, dtype=torch.int64), device)
