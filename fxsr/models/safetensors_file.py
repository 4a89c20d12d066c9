"""Reads safetensors files: a header of types, shapes and offsets as JSON, then the values.

The package `safetensors` maps files, which ends the process if a file shrinks meanwhile, and gives no bfloat16 to
numpy. The format is simple (https://huggingface.co/docs/safetensors), so it is read here; that package writes it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, foreign_name
from fxsr.models.foreign import explain_content
from fxsr.models.stored import StoredTensor, WeightsFile, item_size

_MAX_HEADER = 100_000_000
"""Bytes; the format's own limit."""
_METADATA = "__metadata__"
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "F6_E2M3": "float6_e2m3",
    "F6_E3M2": "float6_e3m2",
    "C64": "complex64",
    "BOOL": "bool",
} | {f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
"""The format's names of types, as PyTorch names them."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Entry(msgspec.Struct):
    dtype: str
    shape: Annotated[tuple[_Count, ...], msgspec.Meta(max_length=64)]
    data_offsets: tuple[_Count, _Count]


def read_safetensors(path: Path) -> WeightsFile:
    """Read the header of a safetensors file. Values are read later, one tensor at a time.

    Raises:
        CheckpointError: the file can't be read, is of another kind or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise ValueError("its header is cut off" if length <= _MAX_HEADER else "it has no header")
            header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(header.pop(_METADATA, b"{}"), type=dict[str, str])
        begin = 8 + length
        entries = {key: msgspec.json.decode(entry, type=_Entry) for key, entry in header.items()}
        tensors = {key: _tensor(path, key, entry, begin, size) for key, entry in entries.items()}
        if sum(last - first for first, last in (entry.data_offsets for entry in entries.values())) > size - begin:
            raise ValueError("tensors overlap in it")
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise CheckpointError(explain_content(path, "a readable safetensors file", error)) from error
    return WeightsFile(tensors, metadata)


def _tensor(path: Path, key: str, entry: _Entry, begin: int, size: int) -> StoredTensor:
    dtype = _TYPES.get(entry.dtype, entry.dtype.lower())
    first, last = entry.data_offsets
    item = item_size(dtype)
    if not first <= last <= size - begin:
        raise ValueError(f"it is cut off: the values of {foreign_name(key)} lie beyond its end")
    if item is not None and last - first != math.prod(entry.shape) * item:
        raise ValueError(
            f"{foreign_name(key)} has {last - first} bytes, which is not {foreign_name(entry.dtype)} of "
            f"{list(entry.shape)}"
        )

    def read(kind: str) -> NDArray[Any]:
        data = bytearray(last - first)
        with path.open("rb") as file:
            file.seek(begin + first)
            if file.readinto(data) != len(data):
                raise CheckpointError(f"{path}: it became shorter while it was read")
        return np.frombuffer(data, f"<{kind}").reshape(entry.shape)

    return StoredTensor(dtype, entry.shape, read)
