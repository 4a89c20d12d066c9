"""Weights of a plain RRDB network (ESRGAN's generator) from an ncnn model: a `.param` text and a `.bin` file.

Some published networks exist only in this form, such as those of RealSR and Real-ESRGAN in packages for ncnn. Only RRDB
networks are supported: their convolutions appear in the same order as in the authors' code.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import CheckpointError

Array = NDArray[np.float32]

_MAGIC = "7767517"
_HALVES = 0x01306B47
"""Flag before weights that are stored as float16."""
_BLOCK_CONVOLUTIONS = 15
"""Convolutions in one RRDB: three dense blocks of five."""
_REST = 6
"""Convolutions outside the blocks: the first, the last of the trunk, two for upsampling, two after them."""


@dataclass(frozen=True)
class Convolution:
    """One convolution layer of a `.param` file."""

    name: str
    outputs: int
    """Output channels."""
    kernel: int
    """Side of the square kernel, in pixels."""
    bias: bool
    weights: int
    """Number of weights, bias left out."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(outputs, inputs, kernel, kernel)."""
        return self.outputs, self.weights // (self.outputs * self.kernel**2), self.kernel, self.kernel


def load_ncnn_rrdb(param: Path) -> dict[str, Array]:
    """The weights of an x4 RRDB network, under the names of ESRGAN's first release (conv_first, RRDB_trunk.0...).

    Args:
        param: the `.param` file; the `.bin` file of the same name must lie next to it.

    Raises:
        CheckpointError: a file is missing or damaged, or the network is not one of RRDBs.
    """
    binary = param.with_suffix(".bin")
    try:
        text, content = param.read_text(encoding="ascii"), binary.read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{param}: cannot read this ncnn model and its {binary.name} ({error})") from error
    layers = read_param(text, str(param))
    names = _rrdb_names(len(layers), str(param))
    state: dict[str, Array] = {}
    for name, (weight, bias) in zip(names, _read_weights(layers, content, binary), strict=True):
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    _check_chain(state, str(param))
    return state


def read_param(text: str, name: str) -> list[Convolution]:
    """The convolutions of a `.param` file's text, in order.

    Raises:
        CheckpointError: the text is not a `.param` file.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != _MAGIC:
        raise CheckpointError(f"{name}: not an ncnn .param file: it does not begin with {_MAGIC}")
    found = []
    for line in lines[2:]:
        words = line.split()
        if not words or words[0] != "Convolution":
            continue
        try:
            inputs, outputs = int(words[2]), int(words[3])
            options = dict(word.split("=", 1) for word in words[4 + inputs + outputs :])
            layer = Convolution(
                words[1], int(options["0"]), int(options["1"]), options.get("5", "0") == "1", int(options["6"])
            )
        except (ValueError, KeyError, IndexError) as error:
            raise CheckpointError(f"{name}: cannot understand the layer {line.strip()[:60]!r}") from error
        if min(layer.outputs, layer.kernel, layer.weights) < 1 or math.prod(layer.shape) != layer.weights:
            raise CheckpointError(f"{name}: {layer.name} has {layer.weights} weights, which its shape does not allow")
        found.append(layer)
    return found


def _read_weights(layers: list[Convolution], content: bytes, binary: Path) -> Iterator[tuple[Array, Array]]:
    at = 0
    for layer in layers:
        size = -(-layer.weights * 2 // 4) * 4  # padded to 4 bytes
        end = at + 4 + size + (4 * layer.outputs if layer.bias else 0)
        if end > len(content):
            raise CheckpointError(f"{binary}: ends within {layer.name}; the file is cut short or of another .param")
        (flag,) = struct.unpack_from("<I", content, at)
        if flag != _HALVES:
            raise CheckpointError(f"{binary}: {layer.name} is not stored as float16; only such files are read")
        weight = np.frombuffer(content, "<f2", layer.weights, at + 4).astype(np.float32).reshape(layer.shape)
        bias = np.zeros(layer.outputs, np.float32)
        if layer.bias:
            bias = np.frombuffer(content, "<f4", layer.outputs, at + 4 + size).astype(np.float32)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise CheckpointError(f"{binary}: {layer.name} has weights that are not finite")
        yield weight, bias
        at = end
    if at != len(content):
        raise CheckpointError(f"{binary}: {len(content) - at} bytes are left after the last convolution")


def _rrdb_names(count: int, name: str) -> list[str]:
    blocks, rest = divmod(count - _REST, _BLOCK_CONVOLUTIONS)
    if blocks < 1 or rest:
        raise CheckpointError(
            f"{name}: {count} convolutions are not those of an x4 RRDB network (6, and 15 for each block)"
        )
    inner = [
        f"RRDB_trunk.{block}.RDB{dense}.conv{conv}"
        for block in range(blocks)
        for dense in (1, 2, 3)
        for conv in range(1, 6)
    ]
    return ["conv_first", *inner, "trunk_conv", "upconv1", "upconv2", "HRconv", "conv_last"]


def _check_chain(state: dict[str, Array], name: str) -> None:
    """Check that the shapes are those of an RRDB network; raises CheckpointError."""
    nf = state["conv_first.weight"].shape[0]
    gc = state["RRDB_trunk.0.RDB1.conv1.weight"].shape[0]
    for key, weight in state.items():
        if not key.endswith(".weight"):
            continue
        conv = key.split(".")[-2]
        number = int(conv[4]) if conv[:4] == "conv" and conv[4:].isdigit() else 0
        wide = {"conv_first": (nf, 3), "conv_last": (3, nf)}.get(conv, (nf, nf))
        if number:
            wide = (gc if number < 5 else nf, nf + (number - 1) * gc)
        if weight.shape != (*wide, 3, 3):
            raise CheckpointError(f"{name}: {conv} is {list(weight.shape)}, not {[*wide, 3, 3]} as in an RRDB network")
