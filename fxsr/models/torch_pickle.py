"""Interprets the pickles of PyTorch's files without running anything.

Of pickle's instructions, only those that build numbers, text, lists, dictionaries and tensors are carried out. A call
is looked up by name in the tables below; nothing is imported, and any other name is refused. So a file can neither run
code nor ask for more memory than it has bytes. `torch.load(weights_only=True)` is less strict: it lets a file of a few
bytes ask for gigabytes, and trusts the sizes that tensors state.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from fxsr.errors import CheckpointError, foreign_name
from fxsr.models.stored import StoredTensor

MAX_STEPS = 1_000_000
"""Instructions of a pickle. A state dict of the published size has 60,000, with Adam's state 200,000."""
_LITERALS = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 SHORT_BINSTRING BINSTRING "
    "SHORT_BINBYTES BINBYTES BINBYTES8 INT FLOAT UNICODE"
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
_ODD = {
    "_rebuild_qtensor": "quantised",
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "without values (on the meta device)",
    "_rebuild_wrapper_subclass": "of a class of its own",
    "_rebuild_device_tensor_from_cpu_tensor": "of another device",
    "_rebuild_device_tensor_from_numpy": "of another device",
    "_rebuild_xla_tensor": "of another device",
}
"""Functions of torch._utils that make tensors which are no plain arrays, and what these are."""
_INERT = (
    "collections.Counter collections.defaultdict torch.Size torch.device torch.Tensor torch.nn.parameter.Parameter "
    "_codecs.encode builtins.bytearray builtins.set builtins.frozenset builtins.complex builtins.list builtins.dict "
    "builtins.int builtins.float torch.serialization._get_layout torch._tensor._rebuild_from_type_v2"
)
"""Names that may occur next to weights. Calls of them are not carried out: their results are no weights."""


@dataclass(frozen=True)
class StorageRef:
    """A run of values in the file, as a tensor refers to it."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Name:
    """A name of a class, function or type; never looked up."""

    text: str


@dataclass(frozen=True)
class Inert:
    """A value that is no part of weights, and was not made."""

    kind: str


class Tensors(Protocol):
    """Checks storages, and makes tensors of them."""

    def storage(self, ref: StorageRef) -> None:
        """Called for each storage. Raises `DamagedPickleError` if the file does not hold it."""
        ...

    def tensor(self, ref: StorageRef, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> StoredTensor:
        """A plain tensor of a storage. Offset and strides are counted in values."""
        ...


class DamagedPickleError(ValueError):
    """A pickle that no `torch.save` writes."""


def interpret(data: BytesIO, tensors: Tensors, max_steps: int = MAX_STEPS) -> Any:
    """The value of the pickle at the current position of `data`, which is then behind it.

    Values are dict, list, tuple, int, float, str, bytes, bool, None, `StoredTensor` and `Inert`.

    Args:
        data: pickles.
        tensors: called for each storage and each plain tensor.
        max_steps: largest number of instructions.

    Raises:
        CheckpointError: it holds other objects, or code; the message begins with "refused".
        DamagedPickleError: it is cut off, or makes no sense.
    """
    machine = _Machine(tensors)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if step > max_steps:
                raise CheckpointError(f"refused, since its description has more than {max_steps:,} steps")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except DamagedPickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DamagedPickleError("its description makes no sense") from error
    raise DamagedPickleError("its description is cut off")


class _Machine:
    """Pickle's stack, marks and memo."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._literals = frozenset(_LITERALS.split())
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self._stack.pop()

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        stack = self._stack
        if name in self._literals:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            pass
        elif (method := getattr(self, f"_{name.lower()}", None)) is not None:
            method(argument)
        else:
            raise _refusal(f"the instruction {name}")

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _mark(self, _: None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        """The values above the last mark."""
        values, self._stack = self._stack, self._below.pop()
        return values

    def _pop(self, _: None) -> None:
        self._stack.pop()

    def _pop_mark(self, _: None) -> None:
        self._marked()

    def _empty_dict(self, _: None) -> None:
        self._stack.append({})

    def _empty_list(self, _: None) -> None:
        self._stack.append([])

    def _empty_tuple(self, _: None) -> None:
        self._stack.append(())

    def _empty_set(self, _: None) -> None:
        self._stack.append(Inert("set"))

    def _dict(self, _: None) -> None:
        values = self._marked()
        self._stack.append({})
        self._set(values)

    def _list(self, _: None) -> None:
        values = self._marked()
        self._stack.append(values)

    def _tuple(self, _: None) -> None:
        values = self._marked()
        self._stack.append(tuple(values))

    def _tuple1(self, _: None) -> None:
        self._stack[-1:] = [(self._stack[-1],)]

    def _tuple2(self, _: None) -> None:
        self._stack[-2:] = [(self._stack[-2], self._stack[-1])]

    def _tuple3(self, _: None) -> None:
        self._stack[-3:] = [(self._stack[-3], self._stack[-2], self._stack[-1])]

    def _append(self, _: None) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: None) -> None:
        self._extend(self._marked())

    _additems = _appends

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, Inert):
            target.extend(values)

    def _setitem(self, _: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self, _: None) -> None:
        self._set(self._marked())

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Inert):
            return
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | None):  # a tuple nested very deep can't be hashed
                raise DamagedPickleError("a key is neither text nor a number")
            target[key] = value

    def _global(self, text: str) -> None:
        self._stack.append(_name(*text.split(" ", 1)))

    def _stack_global(self, _: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(_name(module, name))

    def _binpersid(self, _: None) -> None:
        kind, storage, key, _place, count, *view = self._stack.pop()
        dtype = _STORAGES.get(storage.text.rpartition(".")[2])
        if kind != "storage" or dtype is None or not isinstance(count, int) or count < 0 or any(view):
            raise DamagedPickleError("a storage makes no sense")
        ref = StorageRef(str(key), dtype, count)
        self._tensors.storage(ref)
        self._stack.append(ref)

    def _reduce(self, _: None) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(self._call(function.text, arguments))

    def _newobj(self, _: None) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        self._stack.append(self._call(kind.text, arguments))

    def _build(self, _: None) -> None:
        self._stack.pop()  # attributes, such as the versions of a state dict's modules

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        module, _, function = name.rpartition(".")
        if name == "collections.OrderedDict":
            pairs = arguments[0] if arguments else []
            self._stack.append({})
            self._set([each for pair in pairs for each in pair])
            return self._stack.pop()
        if name == "torch._tensor._rebuild_from_type_v2":
            return self._call(arguments[0].text, arguments[2])
        if module != "torch._utils":
            return Inert(name)
        if function in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return arguments[0]
        if function in _ODD:
            return odd_tensor(_ODD[function])
        return self._tensor(function, arguments)

    def _tensor(self, function: str, arguments: tuple[Any, ...]) -> StoredTensor:
        """A plain tensor: `_rebuild_tensor` and its later versions, which have more arguments."""
        storage, offset, shape, strides, *more = arguments
        if not isinstance(storage, StorageRef):
            raise DamagedPickleError("a tensor has no storage")
        if any(isinstance(each, Mapping) and each.get("neg") for each in more):
            return odd_tensor("a negated view")
        if any(isinstance(each, Mapping) and each.get("conj") for each in more):
            return odd_tensor("a conjugated view")
        if function == "_rebuild_tensor_v3":
            dtype = more[2].text.removeprefix("torch.")
            if dtype not in _STORAGES.values():
                return StoredTensor(dtype, tuple(shape), _unread)
            raise DamagedPickleError("a tensor makes no sense")
        whole = (offset, *shape, *strides)
        if len(shape) != len(strides) or len(shape) > 64 or not all(isinstance(n, int) and n >= 0 for n in whole):
            raise DamagedPickleError("a tensor's shape makes no sense")
        return self._tensors.tensor(storage, offset, tuple(shape), tuple(strides))


def _name(module: Any, name: Any) -> _Name:
    """A name, if it may occur in a file of weights."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise DamagedPickleError("a name is no text")
    module = {"__builtin__": "builtins", "torch.cuda": "torch"}.get(module, module)
    text = f"{module}.{name}"
    known = (
        text in _INERT.split()
        or text == "collections.OrderedDict"
        or (module == "torch._utils" and (name in _ODD or name.startswith(("_rebuild_tensor", "_rebuild_parameter"))))
        or (module in ("torch", "torch.storage") and name in _STORAGES)
        or (module == "torch" and name.isidentifier() and name.islower())  # types, such as torch.float32
    )
    if not known:
        raise _refusal(foreign_name(text))
    return _Name(text)


def _refusal(what: str) -> CheckpointError:
    return CheckpointError(
        f"refused, since it holds code or objects other than tensors ({what}), which are never run; "
        "ask its maker for the bare state dict"
    )


def odd_tensor(what: str) -> StoredTensor:
    """A tensor that is no plain array; the caller refuses it if it is a weight."""
    return StoredTensor("", (), _unread, odd=what)


def _unread(kind: str) -> Any:
    raise AssertionError("refused before it is read")
