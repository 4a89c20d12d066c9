"""Independent perceptual distances: the shift-tolerant LPIPS of the package `stlpips-pytorch`.

They are for measurements only: no recipe trains on them, and the package is not part of FxSR. Its modules import
packages that only its plots need; empty modules replace these during the import.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from fxsr.errors import UnavailableError
from fxsr.training.cache import Pixels

Judge = Callable[[Pixels, Pixels], float]
"""Maps a picture and its original, (H, W, 3) uint8 each, to their distance; smaller is better."""

_UNUSED = {"torchsummary": ("summary",), "torchvision": ("models",), "IPython": ("embed",)}
"""Modules that the package imports without need, and the names that it imports from them."""


def load_judges() -> dict[str, Judge]:
    """Load the distances by name: ST-LPIPS on AlexNet and on VGG-16.

    Raises:
        UnavailableError: the package is not installed.
    """
    try:
        with _replaced():
            package = importlib.import_module("stlpips_pytorch.stlpips")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "stlpips-pytorch is not installed; type: pip install --no-deps stlpips-pytorch"
        ) from error
    return {f"ST-LPIPS {net}": _judge(package, net) for net in ("alex", "vgg")}


def _judge(package: Any, net: str) -> Judge:
    import torch

    network = package.LPIPS(net=net, variant="shift_tolerant", verbose=False).eval()

    def tensor(pixels: Pixels) -> torch.Tensor:
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1

    def distance(sr: Pixels, hr: Pixels) -> float:
        with torch.inference_mode():
            return float(network(tensor(sr), tensor(hr)))

    return distance


@contextmanager
def _replaced() -> Iterator[None]:
    """Provide empty modules in place of those that are not installed, until the context ends."""
    added = []
    for name, contents in _UNUSED.items():
        if name in sys.modules or importlib.util.find_spec(name):
            continue
        module = ModuleType(name)
        for each in contents:
            setattr(module, each, None)
        sys.modules[name] = module
        added.append(name)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]
