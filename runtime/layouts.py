"""Conversion between a session's arrays, planes of floats, and the form in which a graph was exported to take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import ModelFileError, UsageError, foreign_name
from fxsr.models.manifest import ModelFacts

Array = NDArray[Any]


def session_dtype(facts: ModelFacts) -> np.dtype[Any]:
    """Type of a session's arrays: the graph's own, or float32 for a graph of integers."""
    return np.dtype(np.float32 if facts.io == "uint8" else facts.dtype)


def to_graph(facts: ModelFacts, lr: Array, t_map: Array) -> dict[str, Array]:
    """A graph's inputs by name.

    Args:
        facts: what the graph is.
        lr: (N, 3, H, W), 0..1.
        t_map: (N or 1, 1, H or 1, W or 1), 0..1.

    Raises:
        UsageError: one of them has another shape.
    """
    check_shapes(lr, t_map)
    if facts.packed:
        style = np.broadcast_to(t_map, (lr.shape[0], 1, *lr.shape[2:]))
        return {"lr_t": _picture(facts, np.concatenate([lr, style], 1))}
    if facts.baked_t is not None:
        return {"lr": _picture(facts, lr)}
    return {"lr": _picture(facts, lr), "t_map": to_bytes(t_map) if facts.io == "uint8" else t_map}


def to_engine(facts: ModelFacts, lr: Array, t_map: Array) -> dict[str, Array]:
    """As `to_graph`, with as many maps as images, as the profiles of engines require."""
    check_shapes(lr, t_map)
    return to_graph(facts, lr, np.broadcast_to(t_map, (len(lr), *t_map.shape[1:])))


def check_shapes(lr: Array, t_map: Array) -> None:
    """Refuse arrays that are no images and their style maps.

    Raises:
        UsageError: `lr` is not (N, 3, H, W), or `t_map` not (N or 1, 1, H or 1, W or 1).
    """
    if lr.ndim != 4 or lr.shape[1] != 3:
        raise UsageError(f"lr has the shape {lr.shape}; it must be (N, 3, H, W)")
    count, _, height, width = lr.shape
    allowed = ((1, count), (1,), (1, height), (1, width))
    if t_map.ndim != 4 or any(side not in sides for side, sides in zip(t_map.shape, allowed, strict=True)):
        raise UsageError(
            f"t_map has the shape {t_map.shape}; for lr of {lr.shape} it must be (1, 1, 1, 1) for one style, or "
            f"{(count, 1, height, width)} for one style per pixel"
        )


def check_output(facts: ModelFacts, image: Sequence[int], sr: Sequence[int]) -> None:
    """Compare the shape of a graph's output with what its facts promise.

    Args:
        facts: what the graph is.
        image: the shape of its first input.
        sr: the shape of its output.

    Raises:
        ModelFileError: it has another shape.
    """
    (output,) = facts.outputs
    sides = dict(zip(facts.inputs[0].layout, image, strict=True))
    scale = facts.scale
    known = {"N": sides["N"], "C": 3, "H": sides["H"] * scale, "W": sides["W"] * scale}
    wanted = tuple(known[axis] for axis in output.layout)
    if tuple(sr) != wanted:
        raise ModelFileError(
            f"{foreign_name(facts.name)}: its output has the shape {tuple(sr)}, not {wanted}: this is not the "
            f"x{scale} model that its description says; export it again"
        )


def from_graph(facts: ModelFacts, sr: Array) -> Array:
    """A graph's output as (N, 3, scale*H, scale*W) of `session_dtype`."""
    if facts.io == "uint8":
        return np.divide(sr.transpose(0, 3, 1, 2), 255, dtype=np.float32)
    return sr


def _picture(facts: ModelFacts, planes: Array) -> Array:
    return np.ascontiguousarray(to_bytes(planes).transpose(0, 2, 3, 1)) if facts.io == "uint8" else planes


def to_bytes(values: Array) -> Array:
    """Values in 0..1, clamped and rounded to uint8, 0..255."""
    return np.asarray(np.clip(values, 0, 1) * 255 + 0.5, np.uint8)
