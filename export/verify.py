"""Does what was exported compute what its checkpoint computes? On real photos, over t, with maps, in two sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.image import read_image
from fxsr.manifest import Check, ModelFacts, Verification
from fxsr.metrics import psnr
from fxsr.runtime.layouts import to_bytes
from fxsr.runtime.session import Session, SessionInfo

Array = NDArray[np.float32]

RELATIVE_LIMIT = 1e-5
"""Largest norm of the difference over the norm of the reference, where all is in float32."""
HALF_LIMIT = 50.0
"""Smallest PSNR in dB, where weights or arithmetic are halves, or pixels are integers."""

_SIZES = ((48, 64), (37, 29))
_STYLES = (0.0, 0.5, 1.0)
_CELL = 8
"""Pixels of a checkerboard's field."""


@dataclass(frozen=True)
class Case:
    """One thing to upscale."""

    name: str
    lr: Array
    """(N, 3, H, W)."""
    t_map: Array
    """(N or 1, 1, H or 1, W or 1)."""


@dataclass(frozen=True)
class Threshold:
    """What counts as agreement."""

    relative: float | None = None
    psnr: float | None = None

    def __str__(self) -> str:
        if self.relative is not None:
            return f"relative difference <= {self.relative:g}"
        return f"PSNR >= {self.psnr:g} dB"


def threshold(facts: ModelFacts) -> Threshold:
    """What a graph of these facts must reach."""
    exact = facts.precision == "fp32" and not facts.compact and facts.io == "float"
    return Threshold(relative=RELATIVE_LIMIT) if exact else Threshold(psnr=HALF_LIMIT)


class Rounded(Session):
    """A session as a graph of integers computes it: t in steps of 1/255, pixels clamped to 0..1."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def info(self) -> SessionInfo:
        return self._session.info

    def run(self, lr: Array, t_map: Array) -> Array:
        steps = to_bytes(t_map).astype(np.float32) / 255
        sr: Array = np.clip(self._session.run(lr, steps), 0, 1)
        return sr

    def close(self) -> None:
        self._session.close()


def verify(reference: Session, other: Session, limit: Threshold, cases: Iterable[Case]) -> Verification:
    """Compare what was exported with the network that it came from.

    Args:
        reference: a session of the checkpoint, in float32.
        other: a session of what was exported.
        limit: how far they may differ.
        cases: what to compare them on.

    Returns:
        One check per case, and whether all passed.
    """
    checks = tuple(_check(reference, other, limit, case) for case in cases)
    return Verification(all(check.passed for check in checks), str(limit), checks)


def agreement(found: Array, wanted: Array) -> float:
    """PSNR in dB, of peak 1 or the reference's range where that is larger; infinite if the two are equal."""
    return psnr(found, wanted, peak=max(1.0, float(np.ptp(wanted))))


def photos() -> dict[str, Array]:
    """The bundled photos, (H, W, 3) float32 in 0..1, by name."""
    found = {}
    for entry in sorted(files("fxsr.export").joinpath("photos").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".png"):
            with as_file(entry) as path:
                found[path.stem] = read_image(Path(path)).pixels.astype(np.float32) / np.float32(255)
    return found


def standard_cases(baked_t: float | None = None) -> Iterator[Case]:
    """Photos in two sizes, over t and with maps, and batches of two. Of a network at one style, that one."""
    yield from photo_cases(baked_t=baked_t)
    pair = np.stack([photo[:32, :32].transpose(2, 0, 1) for photo in photos().values()][:2])
    yield Case("batch of 2, t=0.5", pair, _uniform(0.5 if baked_t is None else baked_t))
    if baked_t is None:
        maps = np.random.default_rng(0).random((len(pair), 1, 32, 32), np.float32)
        yield Case("batch of 2, t=map", pair, maps)


def photo_cases(sizes: Sequence[tuple[int, int]] = _SIZES, baked_t: float | None = None) -> Iterator[Case]:
    """Every bundled photo in these sizes: at t = 0, 0.5, 1, with a ramp and with a checkerboard of 0 and 1."""
    for photo_name, photo in photos().items():
        for height, width in sizes:
            name = f"{photo_name} {width}x{height}"
            lr = np.ascontiguousarray(photo[:height, :width].transpose(2, 0, 1))[None]
            if baked_t is not None:
                yield Case(f"{name} t={baked_t:g}", lr, _uniform(baked_t))
                continue
            for t in _STYLES:
                yield Case(f"{name} t={t:g}", lr, _uniform(t))
            ramp = np.add.outer(np.linspace(0, 0.5, height), np.linspace(0, 0.5, width)).astype(np.float32)
            yield Case(f"{name} t=ramp", lr, ramp[None, None])
            fields = np.add.outer(np.arange(height) // _CELL, np.arange(width) // _CELL) % 2
            yield Case(f"{name} t=checkerboard", lr, fields[None, None].astype(np.float32))


def _uniform(t: float) -> Array:
    return np.full((1, 1, 1, 1), t, np.float32)


def _check(reference: Session, other: Session, limit: Threshold, case: Case) -> Check:
    expected = reference.run(case.lr, case.t_map)
    dtype = other.info.dtype
    actual = other.run(case.lr.astype(dtype), case.t_map.astype(dtype)).astype(np.float32)
    if not np.isfinite(actual).all():  # half precision overflowed
        return Check(case.name, False, None, None, None)
    difference = np.abs(actual - expected)
    relative = float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
    decibel = agreement(actual, expected)
    passed = relative <= limit.relative if limit.relative is not None else decibel >= (limit.psnr or 0)
    finite = decibel if np.isfinite(decibel) else None
    return Check(case.name, passed, finite, float(difference.max()), relative)
