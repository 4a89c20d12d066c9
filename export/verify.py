"""Does the exported graph compute what its checkpoint computes? On real photos, over t, with a map, in two sizes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.image import read_image
from fxsr.manifest import Check, Precision, Verification
from fxsr.metrics import psnr
from fxsr.runtime.session import Session

Array = NDArray[np.float32]

RELATIVE_LIMIT = {"fp32": 1e-5}
"""Largest norm of the difference over the norm of the reference, where arithmetic is float32."""
PSNR_LIMIT = {"fp16": 50.0, "compact": 50.0}
"""Smallest PSNR in dB, where weights or arithmetic are halves."""

_SIZES = ((48, 64), (37, 29))
_STYLES = (0.0, 0.5, 1.0)


def verify(reference: Session, exported: Session, precision: Precision, compact: bool = False) -> Verification:
    """Compare an exported graph with the network that it came from.

    Args:
        reference: a session of the checkpoint, in float32.
        exported: a session of what was exported.
        precision: of the exported graph.
        compact: whether its weights are stored as halves.

    Returns:
        One check per photo, size and style, and whether all passed.
    """
    kind = "compact" if compact else precision
    checks = tuple(_check(reference, exported, kind, *case) for case in _cases())
    limit = RELATIVE_LIMIT.get(kind)
    threshold = f"relative difference <= {limit:g}" if limit else f"PSNR >= {PSNR_LIMIT[kind]:g} dB"
    return Verification(all(check.passed for check in checks), threshold, checks)


def photos() -> dict[str, Array]:
    """The bundled photos, (H, W, 3) float32 in 0..1, by name."""
    found = {}
    for entry in sorted(files("fxsr.export").joinpath("photos").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".png"):
            with as_file(entry) as path:
                found[path.stem] = read_image(Path(path)).pixels.astype(np.float32) / np.float32(255)
    return found


def _cases() -> Iterator[tuple[str, Array, Array]]:
    """Name, lr and t_map of each check."""
    for name, photo in photos().items():
        for height, width in _SIZES:
            lr = np.ascontiguousarray(photo[:height, :width].transpose(2, 0, 1))[None]
            for t in _STYLES:
                yield f"{name} {width}x{height} t={t:g}", lr, np.full((1, 1, 1, 1), t, np.float32)
            ramp = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width)).astype(np.float32)
            yield f"{name} {width}x{height} t=map", lr, ramp[None, None]
    pair = np.stack([photo[:32, :32].transpose(2, 0, 1) for photo in photos().values()][:2])
    yield "batch of 2, t=0.5", pair, np.full((1, 1, 1, 1), 0.5, np.float32)
    maps = np.random.default_rng(0).random((len(pair), 1, 32, 32), np.float32)
    yield "batch of 2, t=map", pair, maps


def _check(reference: Session, exported: Session, kind: str, case: str, lr: Array, t_map: Array) -> Check:
    expected = reference.run(lr, t_map)
    dtype = exported.info.dtype
    actual = exported.run(lr.astype(dtype), t_map.astype(dtype)).astype(np.float32)
    if not np.isfinite(actual).all():  # half precision overflowed
        return Check(case, False, None, None, None)
    difference = np.abs(actual - expected)
    relative = float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
    decibel = psnr(actual, expected, peak=max(1.0, float(np.ptp(expected))))
    passed = relative <= RELATIVE_LIMIT[kind] if kind in RELATIVE_LIMIT else decibel >= PSNR_LIMIT[kind]
    return Check(case, passed, decibel if np.isfinite(decibel) else None, float(difference.max()), relative)
