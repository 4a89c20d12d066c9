"""Do two sessions compute the same? What counts as the same, and how far from it they are, case by case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fxsr.export.verify.cases import Case
from fxsr.metrics import psnr
from fxsr.models.manifest import Check, ModelFacts, Verification
from fxsr.runtime.layouts import to_bytes
from fxsr.runtime.session import Session, SessionInfo

Array = NDArray[np.float32]

RELATIVE_LIMIT = 1e-5
"""Largest norm of the difference over the norm of the reference, where all is in float32."""
HALF_LIMIT = 50.0
"""Smallest PSNR in dB, where weights or arithmetic are halves, or pixels are integers."""


@dataclass(frozen=True)
class Threshold:
    """What counts as agreement."""

    relative: float | None = None
    psnr: float | None = None

    def __str__(self) -> str:
        if self.relative is not None:
            return f"relative difference <= {self.relative:g}"
        return f"PSNR >= {self.psnr:g} dB"


def threshold(*graphs: ModelFacts, engine: bool = False) -> Threshold:
    """What must hold between two of these, or between one and the checkpoint.

    Args:
        graphs: facts of the graphs that are compared.
        engine: whether one of them runs as an engine, whose kernels may multiply in TF32.
    """
    exact = all(facts.precision == "fp32" and not facts.compact and facts.io == "float" for facts in graphs)
    return Threshold(relative=RELATIVE_LIMIT) if exact and not engine else Threshold(psnr=HALF_LIMIT)


class ByteSession(Session):
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


def agreement(found: Array, wanted: Array, least: float = 1.0) -> float:
    """PSNR in dB, of the reference's range as peak, or `least` where that is larger; infinite if the two are equal."""
    return psnr(found, wanted, peak=max(least, float(np.ptp(wanted))))


def _check(reference: Session, other: Session, limit: Threshold, case: Case) -> Check:
    expected, actual = _upscale(reference, case), _upscale(other, case)
    if not np.isfinite(actual).all():  # half precision overflowed
        return Check(case.name, False, None, None, None)
    difference = np.abs(actual - expected)
    relative = float(np.linalg.norm(actual - expected) / (np.linalg.norm(expected) or 1))
    decibel = agreement(actual, expected)
    passed = relative <= limit.relative if limit.relative is not None else decibel >= (limit.psnr or 0)
    finite = decibel if np.isfinite(decibel) else None
    return Check(case.name, passed, finite, float(difference.max()), relative)


def _upscale(session: Session, case: Case) -> Array:
    dtype = session.info.dtype
    return session.run(case.lr.astype(dtype), case.t_map.astype(dtype)).astype(np.float32)
