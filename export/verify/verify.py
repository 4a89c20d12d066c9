"""Compares the outputs of two sessions case by case, and defines how much they may differ."""

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
"""Largest relative difference (norm of the difference over norm of the reference) if everything is float32."""
HALF_LIMIT = 50.0
"""Smallest PSNR in dB if weights or arithmetic are in 16 bits, or pixels are integers."""


@dataclass(frozen=True)
class Threshold:
    """The limit for agreement: a relative difference or a PSNR."""

    relative: float | None = None
    psnr: float | None = None

    def __str__(self) -> str:
        if self.relative is not None:
            return f"relative difference <= {self.relative:g}"
        return f"PSNR >= {self.psnr:g} dB"


def threshold(*graphs: ModelFacts, engine: bool = False) -> Threshold:
    """The threshold for comparing two graphs, or a graph and its checkpoint.

    Args:
        graphs: facts of the graphs that are compared.
        engine: whether one of them runs as an engine, whose kernels may use TF32.
    """
    exact = all(facts.precision == "fp32" and not facts.compact and facts.io == "float" for facts in graphs)
    return Threshold(relative=RELATIVE_LIMIT) if exact and not engine else Threshold(psnr=HALF_LIMIT)


class ByteSession(Session):
    """Makes a session compute as a graph of integers does: t in steps of 1/255, and pixels clamped to 0..1."""

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
    """Compare an exported model with its reference.

    Args:
        reference: a session of the reference, such as the checkpoint in float32.
        other: a session of the exported model.
        limit: how much they may differ.
        cases: the inputs to compare them on.

    Returns:
        One check per case, and whether all passed.
    """
    checks = tuple(_check(reference, other, limit, case) for case in cases)
    return Verification(all(check.passed for check in checks), str(limit), checks)


def agreement(actual: Array, expected: Array, min_peak: float = 1.0) -> float:
    """PSNR in dB; the peak is the range of `expected`, at least `min_peak`. Infinite if both are equal."""
    return psnr(actual, expected, peak=max(min_peak, float(np.ptp(expected))))


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
