"""Arrays of other libraries (torch, CuPy, PyCUDA, numba) on a device, used in place, without a copy.

Two protocols: `__cuda_array_interface__` (version 3, numba's documentation) and DLPack (the Python array API standard).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxsr.errors import DeviceError, UsageError, first_line
from fxsr.models.manifest import ModelFacts
from fxsr.runtime.device.protocols import DLPACK_CUDA, DeviceMemory, Stream

_KINDS = {0: "i", 1: "u", 2: "f"}
"""DLPack's type codes as numpy's kinds. bfloat16 (4) has none."""
_DEVICES = {1: "the CPU", DLPACK_CUDA: "cuda"}


@dataclass(frozen=True)
class DeviceArray:
    """Where another library's array lies."""

    ptr: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: Any
    """Keeps the memory alive."""


def view_array(array: Any, name: str, memory: DeviceMemory, stream: Stream, *, written: bool = False) -> DeviceArray:
    """Find where an array lies, and make `stream` wait for the work that its owner still has queued for it.

    Args:
        array: an object with `__dlpack__` or `__cuda_array_interface__`. `__dlpack__` is preferred, since only it
            always passes the stream to the owner.
        name: the tensor's name, for messages.
        memory: the device on which the array must be.
        stream: the stream on which the array will be used.
        written: whether the array will be written to.

    Raises:
        UsageError: not such an array, not contiguous, or read-only although it will be written to.
        DeviceError: the array is on another device.
    """
    if hasattr(array, "__dlpack__"):
        return _from_dlpack(array, name, memory, stream)
    if hasattr(array, "__cuda_array_interface__"):
        return _from_interface(array, name, memory, stream, written)
    raise UsageError(
        f"{name} is a {type(array).__name__}; give an array with __dlpack__ or __cuda_array_interface__, such as a "
        f"torch tensor on {memory.name}"
    )


def check_array(array: DeviceArray, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check an array's shape and type.

    Raises:
        UsageError: one of them differs.
    """
    if array.dtype != dtype:
        raise UsageError(f"{name} is {array.dtype}; this model takes {dtype}")
    if array.shape != shape:
        raise UsageError(f"{name} has the shape {array.shape}; it must be {shape}")


def device_inputs(facts: ModelFacts, lr: Any, t_map: Any) -> dict[str, Any]:
    """The caller's arrays, by the names of the graph's inputs.

    Raises:
        UsageError: there is a `t_map`, but the graph has none.
    """
    first, *second = (tensor.name for tensor in facts.inputs)
    if not second and t_map is not None:
        raise UsageError(f"this model's only input is {first}; pass None as t_map")
    return {first: lr} | dict.fromkeys(second, t_map)


def _from_interface(array: Any, name: str, memory: DeviceMemory, stream: Stream, written: bool) -> DeviceArray:
    kind, index = memory.dlpack_device
    if kind != DLPACK_CUDA:
        raise DeviceError(f"{name} is on a GPU; this session runs on {memory.name}")
    found = array.__cuda_array_interface__
    here = getattr(array, "device", None)  # of torch and CuPy; the protocol itself has no device
    where = getattr(here, "index", None) if not isinstance(here, int) else here
    where = getattr(here, "id", where)
    if isinstance(where, int) and where != index:
        raise DeviceError(f"{name} is on cuda:{where}; this session runs on {memory.name}")
    dtype, shape = np.dtype(found["typestr"]), tuple(found["shape"])
    if found.get("mask") is not None:
        raise UsageError(f"{name} is a masked array; give a plain one")
    pointer, read_only = found["data"]
    if written and read_only:
        raise UsageError(f"{name} is read-only; give an array that can be written to")
    _check_strides(name, shape, found.get("strides"), dtype.itemsize)
    producer = found.get("stream")
    if producer is not None and producer != stream.handle:
        stream.wait(memory.foreign_stream(producer).record())
    return DeviceArray(int(pointer or 0), shape, dtype, array)


def _from_dlpack(array: Any, name: str, memory: DeviceMemory, stream: Stream) -> DeviceArray:
    kind, index = (int(each) for each in array.__dlpack_device__())
    if (kind, index) != memory.dlpack_device:
        where = f"cuda:{index}" if kind == DLPACK_CUDA else _DEVICES.get(kind, f"a device of DLPack's type {kind}")
        raise DeviceError(f"{name} is on {where}; this session runs on {memory.name}")
    on_gpu = kind == DLPACK_CUDA
    # the owner makes this stream wait for its own queued work; 1 is the default stream
    try:
        capsule = array.__dlpack__(stream=(stream.handle or 1) if on_gpu else None)
    except (BufferError, RuntimeError) as error:  # such as a torch tensor that requires a gradient
        raise UsageError(f"{name} can't be used in place ({first_line(error)})") from error
    tensor = _Managed.from_address(_capsule_pointer(capsule, b"dltensor")).tensor
    number, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
    if number not in _KINDS or lanes != 1 or bits % 8:
        raise UsageError(f"{name} has a type that no model takes (DLPack code {number}, {bits} bits)")
    dtype = np.dtype(f"{_KINDS[number]}{bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = None
    if tensor.strides:
        strides = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
    _check_strides(name, shape, strides, dtype.itemsize)
    return DeviceArray(int(tensor.data or 0) + tensor.byte_offset, shape, dtype, (array, capsule))


def _check_strides(name: str, shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int) -> None:
    expected = itemsize
    for size, stride in zip(reversed(shape), reversed(strides or ()), strict=False):
        if size > 1 and stride != expected:
            raise UsageError(f"{name} of shape {shape} is not contiguous; pass a contiguous array")
        expected *= size


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    """DLTensor (dlpack.h)."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """The beginning of DLManagedTensor; the rest belongs to its owner."""

    _fields_ = (("tensor", _Tensor),)


def _capsule_pointer(capsule: Any, name: bytes) -> int:
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    return int(prototype(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, name))
