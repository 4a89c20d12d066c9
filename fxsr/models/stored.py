"""Tensors as they are stored in a file: their types and shapes are known before any values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, foreign_name

_FLOATS = {"float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "u2"}
"""Types of weights, and how numpy reads them. numpy lacks bfloat16, the upper half of a float32."""
_SIZES = {"int64": 8, "int32": 4, "int16": 2, "int8": 1, "bool": 1, "complex64": 8, "complex128": 16}
_SIZES |= {"uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "qint8": 1, "quint8": 1, "qint32": 4}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file."""

    dtype: str
    """As PyTorch names it: "float32", "bfloat16", "float8_e4m3fn", ..."""
    shape: tuple[int, ...]
    read: Callable[[str], NDArray[Any]] = field(repr=False)
    """Reads the values, given numpy's name of the type."""
    odd: str = ""
    """Why this is no plain array, such as "sparse". Empty: it is one."""


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds."""

    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def item_size(dtype: str) -> int | None:
    """Bytes of one value. None: unknown, as for types of 8 bits or fewer, which are refused anyway."""
    return int(_FLOATS[dtype][1:]) if dtype in _FLOATS else _SIZES.get(dtype)


def check_plain(tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse tensors whose values are not simply their numbers.

    Raises:
        CheckpointError: one is sparse, quantised, complex, of 8-bit floats, ...
    """
    for key, tensor in tensors.items():
        if tensor.odd or tensor.dtype.startswith("complex"):
            kind = tensor.odd or f"of type {tensor.dtype}"
            raise CheckpointError(f"{foreign_name(key)} is not a plain array of real numbers: it is {kind}")
        if tensor.dtype.startswith(("float8_", "float6_", "float4_")):
            raise CheckpointError(
                f"{foreign_name(key)} is of type {foreign_name(tensor.dtype)}, whose values need scales kept "
                "elsewhere; give the weights in float32, float16 or bfloat16"
            )


def read_floats(tensors: Mapping[str, StoredTensor]) -> dict[str, NDArray[np.float32]]:
    """The values of tensors, as float32.

    Raises:
        CheckpointError: one is not of floats.
    """
    return {key: _floats(key, tensor) for key, tensor in tensors.items()}


def _floats(key: str, tensor: StoredTensor) -> NDArray[np.float32]:
    if tensor.dtype not in _FLOATS:
        raise CheckpointError(
            f"{foreign_name(key)} is of type {foreign_name(tensor.dtype)}; "
            "weights are float32, float16, bfloat16 or float64"
        )
    values = tensor.read(_FLOATS[tensor.dtype])
    if tensor.dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # of a double: the caller refuses infinity
        return np.ascontiguousarray(values, np.float32)
