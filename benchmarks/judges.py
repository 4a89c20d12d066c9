"""Independent judges of pictures: the shift-tolerant LPIPS of the package `stlpips-pytorch`.

It is for judging alone: no recipe trains on it, and it is no part of this project. Its modules import packages that
only its plots need; those are replaced while it is imported.
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
"""A picture and its original, (H, W, 3) uint8, to their distance; smaller is better."""

_UNUSED = {"torchsummary": ("summary",), "torchvision": ("models",), "IPython": ("embed",)}
"""Modules that are imported and not needed, and what is taken from them."""


def load_judges() -> dict[str, Judge]:
    """The judges by name: ST-LPIPS on AlexNet and on VGG-16.

    Raises:
        UnavailableError: the package is not installed.
    """
    try:
        with _replaced():
            package = importlib.import_module("stlpips_pytorch.stlpips")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "the judge of pictures is not here; type: pip install --no-deps stlpips-pytorch"
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
    """Empty modules in place of those that are not installed, for as long as this lasts."""
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
