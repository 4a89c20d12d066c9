"""The names under which weights of ESRGAN's generator are published."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import TypeVar

_T = TypeVar("_T")

# A name that tells each way of naming from the others.
_FIRST_MARK = "RRDB_trunk.0.RDB1.conv1.weight"
_BASICSR_MARK = "body.0.rdb1.conv1.weight"
_NUMBERED_MARK = "model.0.weight"

# Patterns and replacements. BasicSR's `RRDBNet`, as in Real-ESRGAN; and the network before ESRGAN's first release, in
# which layers have the numbers of `nn.Sequential` (x4).
_BASICSR = (
    (r"body\.(\d+)\.rdb([123])\.(conv[1-5])", r"RRDB_trunk.\1.RDB\2.\3"),
    (r"conv_body", "trunk_conv"),
    (r"conv_up([12])", r"upconv\1"),
    (r"conv_hr", "HRconv"),
)
_NUMBERED = (
    (r"model\.0", "conv_first"),
    (r"model\.1\.sub\.(\d+)\.RDB([123])\.(conv[1-5])\.0", r"RRDB_trunk.\1.RDB\2.\3"),
    (r"model\.1\.sub\.\d+", "trunk_conv"),
    (r"model\.3", "upconv1"),
    (r"model\.6", "upconv2"),
    (r"model\.8", "HRconv"),
    (r"model\.10", "conv_last"),
)


def is_esrgan(names: Container[str]) -> bool:
    """Whether weights of these names are an ESRGAN generator's, with style layers or without."""
    return any(mark in names for mark in (_FIRST_MARK, _BASICSR_MARK, _NUMBERED_MARK))


def first_release_names(state: Mapping[str, _T]) -> dict[str, _T]:
    """The same weights under the names of ESRGAN's first release, which FxSR's checkpoints have too.

    Args:
        state: weights by name. Names of other networks stay as they are.
    """
    rules = _NUMBERED if _NUMBERED_MARK in state else _BASICSR if _BASICSR_MARK in state else ()
    return {_renamed(key, rules): value for key, value in state.items()}


def _renamed(key: str, rules: tuple[tuple[str, str], ...]) -> str:
    name, dot, kind = key.rpartition(".")
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement) + dot + kind
    return key
