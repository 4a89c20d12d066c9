"""Reads the files of `torch.save`, without torch: a zip archive since PyTorch 1.6, consecutive pickles before.

Sizes are checked against the file before anything of that size is made. See `torch_pickle` for what the pickles may do.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError, first_line, foreign_name
from fxsr.models.foreign import explain_content
from fxsr.models.stored import StoredTensor, WeightsFile, item_size
from fxsr.models.torch_pickle import MAX_STEPS, DamagedPickleError, StorageRef, interpret, odd_tensor

_KIND = "a PyTorch checkpoint"
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "generator", "model")
_MAX_PICKLE = 64 << 20
"""Bytes of the pickles, which hold names and shapes, not values."""
_EXPANSION = 10
"""How much larger than the file its unpacked contents may be. `torch.save` itself does not compress."""
_SHARED = 4
"""How many tensors may share a value on average, as weights and their moving average may."""
_MAGIC = 0x1950A86A20F9469CFC6C
"""The value of the first pickle before PyTorch 1.6."""
_FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError, MemoryError)
"""Errors of reading a damaged archive; `NotImplementedError` is a RuntimeError."""

_Storages = Callable[[StorageRef], bytearray]


def read_torch(path: Path) -> WeightsFile:
    """Read the names, types and shapes of a file's tensors. Values are read later.

    Raises:
        CheckpointError: the file can't be read, is of another kind, damaged, or holds no state dict.
    """
    content = read_content(path)
    try:
        return WeightsFile(_state(content))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_content(path: Path, max_steps: int = MAX_STEPS) -> Any:
    """What `torch.save` wrote: dict, list, tuple, numbers and text, with a `StoredTensor` in the place of each tensor.

    Args:
        path: the file.
        max_steps: largest number of instructions in its pickle.

    Raises:
        CheckpointError: the file can't be read, is of another kind, or damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PK\x03\x04":
            return _read_zip(path, max_steps)
        if head[:1] != b"\x80":
            raise ValueError("unknown contents")
        return _read_pickles(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except _FAULTS as error:
        raise CheckpointError(explain_content(path, _KIND, error)) from error


def _state(content: Any) -> dict[str, StoredTensor]:
    """The tensors of a state dict, by name."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        kind = "n empty dict" if content == {} else f" {_kind(content)}"
        raise CheckpointError(f"holds a{kind} instead of a state dict")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, StoredTensor)}
    if not tensors:
        names = ", ".join(foreign_name(key) for key in list(content)[:5] if isinstance(key, str))
        raise CheckpointError(f"holds no tensors; its entries are {names or 'not named'}")
    return tensors


def _kind(content: Any) -> str:
    if isinstance(content, StoredTensor):
        return f"{content.odd} tensor".strip()
    return getattr(content, "kind", None) or type(content).__name__


def _read_zip(path: Path, max_steps: int) -> Any:
    """What the pickle in an archive describes."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"not {_KIND}, or a truncated one ({first_line(error)}); download it again") from error
    with archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        unpacked, packed = sum(entry.file_size for entry in archive.infolist()), path.stat().st_size
        if unpacked > _EXPANSION * packed + (1 << 20):
            raise CheckpointError(f"refused, since its {packed:,} bytes unpack to {unpacked:,}")
        pickle = next((name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")), None)
        folder = (pickle or "").removesuffix("data.pkl")
        if pickle is None or f"{folder}constants.pkl" in entries:
            raise CheckpointError(_other_archive(list(entries)))
        if entries[pickle].file_size > _MAX_PICKLE:
            raise CheckpointError(
                f"refused, since its description of tensors takes {entries[pickle].file_size:,} bytes"
            )
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
        if order not in (b"little", b"big"):
            raise ValueError("its byte order makes no sense")
        data = BytesIO(archive.read(pickle))
    sizes = {name.removeprefix(f"{folder}data/"): entry.file_size for name, entry in entries.items()}
    read: dict[str, bytearray] = {}
    opened: list[zipfile.ZipFile] = []  # once for all values: opening it reads the list of all entries

    def storage(ref: StorageRef) -> bytearray:
        if not opened:
            opened.append(zipfile.ZipFile(path))
        if ref.key not in read:
            with opened[0].open(f"{folder}data/{ref.key}") as file:
                read[ref.key] = bytearray(file.read())
        return read[ref.key]

    tensors = _Tensors(sizes.get, storage, big=order == b"big")
    content = interpret(data, tensors, max_steps)
    tensors.check_total()
    return content


def _other_archive(names: list[str]) -> str:
    """What a zip archive is that no `torch.save` wrote."""
    inside = [name.rpartition("/")[2] for name in names]
    if "constants.pkl" in inside:
        return "this is a TorchScript program, which holds code; ask its maker for the state dict"
    if any(name.endswith(".npy") for name in inside):
        return "this is an archive of NumPy arrays; give a .pth or .safetensors file"
    if any("archive_format" in name or name.endswith((".pt2", "serialized_exported_program.json")) for name in inside):
        return "this is a program of torch.export; ask its maker for the state dict"
    if model := next((name for name in names if name.endswith((".pth", ".pt", ".safetensors", ".onnx"))), None):
        return f"this is a zip archive; unpack it, and give the file {foreign_name(model)} in it"
    some = ", ".join(foreign_name(name) for name in names[:3])
    return f"this is a zip archive of other files ({some or 'empty'}); give a .pth or .safetensors file"


def _read_pickles(path: Path) -> Any:
    """What the pickles of a file from before PyTorch 1.6 describe: magic number, version, system, content, storages."""
    size = path.stat().st_size
    with path.open("rb") as file:
        data = BytesIO(file.read(_MAX_PICKLE))
    places: dict[str, tuple[int, int]] = {}
    read: dict[str, bytearray] = {}

    def storage(ref: StorageRef) -> bytearray:
        if ref.key not in read:
            begin, length = places[ref.key]
            read[ref.key] = bytearray(length)
            with path.open("rb") as file:
                file.seek(begin)
                if file.readinto(read[ref.key]) != length:
                    raise CheckpointError("it became shorter while it was read")
        return read[ref.key]

    tensors = _Tensors(lambda key: size, storage)  # the sizes themselves come last, and are checked there
    first = interpret(data, tensors)
    if first != _MAGIC:
        raise CheckpointError(f"a pickle of a {_kind(first)}, not {_KIND}; write the state dict with torch.save")
    _version, system, content, keys = (interpret(data, tensors) for _ in range(4))
    tensors.big = isinstance(system, Mapping) and system.get("little_endian") is False
    at = data.tell()
    with path.open("rb") as file:
        for key in map(str, keys):
            file.seek(at)
            (count,) = struct.unpack(">q" if tensors.big else "<q", file.read(8))
            ref = tensors.seen.get(key)
            item = item_size(ref.dtype) if ref else None
            if ref is None or item is None or count != ref.count or at + 8 + count * item > size:
                raise DamagedPickleError("its values are cut off or damaged")
            places[key] = at + 8, count * item
            at += 8 + count * item
    if missing := tensors.seen.keys() - places.keys():
        raise DamagedPickleError(f"the values of {len(missing)} tensors are missing")
    tensors.check_total()
    return content


class _Tensors:
    """A `torch_pickle.Tensors` that checks that values lie in the file.

    Args:
        size_of: bytes of a storage. None: there is none of that name.
        read: reads one.
        big: whether the most significant byte comes first.
    """

    def __init__(self, size_of: Callable[[str], int | None], read: _Storages, *, big: bool = False) -> None:
        self.big = big
        self.seen: dict[str, StorageRef] = {}
        """All storages, by name."""
        self._size_of = size_of
        self._read = read
        self._count = 0
        """Values of all tensors."""

    def storage(self, ref: StorageRef) -> None:
        item, size = item_size(ref.dtype), self._size_of(ref.key)
        if item is None or size is None or ref.count * item > size:
            raise DamagedPickleError(f"the values of storage {foreign_name(ref.key)} are missing or cut off")
        self.seen[ref.key] = ref

    def tensor(self, ref: StorageRef, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> StoredTensor:
        count = math.prod(shape)
        if count > ref.count:
            return odd_tensor("an expanded view")
        last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        if count and last >= ref.count:
            raise DamagedPickleError("a tensor reaches beyond its values")
        self._count += count

        def read(kind: str) -> NDArray[Any]:
            if not count:
                return np.empty(shape, kind)
            values = np.frombuffer(self._read(ref), f"{'>' if self.big else '<'}{kind}", ref.count)
            steps = tuple(stride * values.itemsize for stride in strides)
            return np.lib.stride_tricks.as_strided(values[offset:], shape, steps)

        return StoredTensor(ref.dtype, shape, read)

    def check_total(self) -> None:
        """Refuse a file in which few values are shared by many tensors, which would take more memory than the file."""
        if self._count > _SHARED * sum(ref.count for ref in self.seen.values()):
            raise CheckpointError(
                "refused, since its tensors share values: together they are much larger than the file"
            )
