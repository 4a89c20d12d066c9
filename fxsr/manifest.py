"""What an exported model is: the facts inside an ONNX file, and the manifest beside the files of one export.

The JSON follows the dataclasses below, field by field; `schema` is raised when one of them changes its meaning.
`fxsr info FILE` prints it. The ONNX file's metadata holds `ModelFacts` under the key `fxsr`, so that a lone
`.onnx` can be run; `NAME.json` holds the whole `Manifest`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from fxsr.config import NetworkConfig
from fxsr.errors import ModelFileError, UsageError
from fxsr.files import atomic_path

SCHEMA = 1
METADATA_KEY = "fxsr"
"""Key of `ModelFacts` in an ONNX file's metadata."""

T = TypeVar("T")
Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class TensorFacts:
    """One input or output. A dimension is a number, or the name of an axis that is free."""

    name: str
    dtype: str
    layout: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ModelFacts:
    """One graph: what it computes, and how it is called."""

    name: str
    variant: str
    config: NetworkConfig
    precision: Precision
    opset: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    rewrites: tuple[str, ...]
    """Exact rewrites that the graph has: "folded-condition", "phase-upsampling"."""
    checkpoint_sha256: str
    recipe: str = ""
    licence: str = "unknown"
    t_range: tuple[float, float] = (0.0, 1.0)
    producer: str = ""
    schema: int = SCHEMA

    @property
    def scale(self) -> int:
        return self.config.scale

    @property
    def dtype(self) -> str:
        """Type of `lr`, `t_map` and `sr`, as numpy names it."""
        return self.inputs[0].dtype


@dataclass(frozen=True)
class Check:
    """One comparison of a graph with its checkpoint's torch network."""

    case: str
    passed: bool
    psnr_db: float | None
    """Peak 1, or the reference's range where larger. None: the two are equal, or the graph gave NaN or infinity."""
    max_abs: float | None
    relative: float | None
    """Norm of the difference over the norm of the reference. None: NaN or infinity."""


@dataclass(frozen=True)
class Verification:
    """What `fxsr.export.verify` measured."""

    passed: bool
    threshold: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class FileFacts:
    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """`NAME.json`: everything one export wrote, and what it measured."""

    model: ModelFacts
    onnx: FileFacts
    verification: Verification | None = None
    """None: exported with --no-verify."""
    schema: int = SCHEMA


def model_stem(facts: ModelFacts) -> str:
    """File name without suffix, `<model>-x<scale>-<precision>`; a scale already in the model's name is not repeated."""
    scale = f"x{facts.scale}"
    name = facts.name if scale in facts.name.split("-") else f"{facts.name}-{scale}"
    return f"{name}-{facts.precision}"


def encode_facts(facts: ModelFacts) -> str:
    return msgspec.json.encode(facts).decode()


def decode_facts(text: str, source: str) -> ModelFacts:
    """Facts from an ONNX file's metadata; `source` names it in errors.

    Raises:
        ModelFileError: damaged, or written by a newer version.
    """
    return _decode(text.encode(), ModelFacts, source)


def write_manifest(path: Path, manifest: Manifest) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(path: Path) -> Manifest:
    """Read and validate `NAME.json`.

    Raises:
        ModelFileError: unreadable, damaged, or written by a newer version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error
    return _decode(data, Manifest, str(path))


class _Versioned(msgspec.Struct):
    schema: int = 0


def _decode(data: bytes, kind: type[T], source: str) -> T:
    try:
        schema = msgspec.json.decode(data, type=_Versioned).schema
        if schema != SCHEMA:
            raise ModelFileError(f"{source}: written with schema {schema}, this fxsr reads {SCHEMA}; export it again")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
        raise ModelFileError(f"{source}: not a manifest of fxsr ({error})") from error
