"""Training runs of the smallest network in this process, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fxsr.models.checkpoint import load_checkpoint
from fxsr.training.loop import Outcome, train
from fxsr.training.rrdb import RRDBNet
from tests.support import SilentMonitor, tiny_recipe


def run(photos: Path, out: Path, *overrides: str, stop_after: int | None = None, resume: bool = False) -> Outcome:
    steps = 0

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_after

    return train(tiny_recipe(photos, *overrides), out, SilentMonitor(), resume, should_stop, "cpu")


def check_resuming(photos: Path, folder: Path, *overrides: str, stop_after: int = 5) -> None:
    """Require that a run that was stopped and resumed ends as one that was not: same losses, same weights."""
    straight = run(photos, folder / "straight", *overrides)
    first = run(photos, folder / "parts", *overrides, stop_after=stop_after)
    second = run(photos, folder / "parts", *overrides, resume=True)
    assert straight.finished
    assert second.finished
    assert first.losses + second.losses == straight.losses
    for key, value in weights(straight).items():
        assert np.array_equal(value, weights(second)[key]), key


def weights(outcome: Outcome) -> Mapping[str, Any]:
    return load_checkpoint(outcome.weights).weights


def write_ncnn(path: Path, nb: int = 1, nf: int = 4, gc: int = 2) -> RRDBNet:
    """A random RRDB network as ncnn stores one, and the same network in torch."""
    torch.manual_seed(0)
    network = RRDBNet(nf, gc, nb).eval().requires_grad_(False)
    lines, content = ["7767517", "3 3", "Input input 0 1 data"], b""
    for name, conv in ((n, m) for n, m in network.named_modules() if isinstance(m, torch.nn.Conv2d)):
        weight = conv.weight.half()
        conv.weight.copy_(weight)
        assert conv.bias is not None
        lines.append(
            f"Convolution {name} 1 1 a b 0={conv.out_channels} 1=3 4=1 5=1 6={weight.numel()} 9=2 -23310=1,0.2"
        )
        data = weight.numpy().tobytes()
        content += struct.pack("<I", 0x01306B47) + data + b"\0" * (-len(data) % 4) + conv.bias.numpy().tobytes()
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".bin").write_bytes(content)
    return network
