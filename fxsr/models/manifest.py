"""Describes exported models: the facts inside an ONNX file, and the manifest next to the files of one export.

The JSON follows the dataclasses below, field by field; `schema` increases when a field changes its meaning.
`fxsr info FILE` prints it. The ONNX file's metadata holds `ModelFacts` under the key `fxsr`, so that a single
`.onnx` can be run without its manifest; `NAME.json` holds the whole `Manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from fxsr.errors import ModelFileError, UsageError
from fxsr.files import atomic_path, sha256
from fxsr.models.config import NetworkConfig

SCHEMA = 1
METADATA_KEY = "fxsr"
"""Key of `ModelFacts` in an ONNX file's metadata."""

T = TypeVar("T")
Precision = Literal["fp32", "fp16", "bf16"]
Io = Literal["float", "uint8"]
Flavour = Literal["tensorrt", "tensorrt-rtx"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorFacts:
    """One input or output. A dimension is a number, or the name of an axis of any length."""

    name: str
    dtype: str
    layout: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ModelFacts:
    """One graph: what it computes, and what its inputs and outputs are."""

    name: str
    variant: str
    config: NetworkConfig
    precision: Precision
    opset: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    rewrites: tuple[str, ...]
    """Exact rewrites in the graph: "folded-styles", "baked-style", "blocked-layout" (of ONNX Runtime's CPU provider),
    "phase-upsampling", "depth-to-space" (how phases are interleaved), "strips"."""
    checkpoint_sha256: str
    compact: bool = False
    """Weights are stored in half precision, arithmetic is in float32."""
    io: Io = "float"
    packed: bool = False
    """The only input is `lr_t`, four channels: RGB and t."""
    baked_t: float | None = None
    """The style that the graph is fixed at; it then has no `t_map`. None: it takes any style."""
    kept_float32: tuple[str, ...] = ()
    """Layers that compute in float32 whatever the precision."""
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
    """One comparison of a model with its reference."""

    case: str
    passed: bool
    psnr_db: float | None
    """The peak is the reference's range, at least 1. None: both are equal, or the model gave NaN or infinity."""
    max_abs: float | None
    relative: float | None
    """Norm of the difference over the norm of the reference. None: NaN or infinity."""


@dataclass(frozen=True)
class Verification:
    """What `fxsr.export.verify.verify` measured."""

    passed: bool
    threshold: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class FileFacts:
    """A file of an export, by name and contents."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input that a profile takes."""

    min: Shape
    opt: Shape
    """What the engine is tuned for."""
    max: Shape


@dataclass(frozen=True)
class Profile:
    """Shapes that an engine takes together. An engine has one profile for style maps and one for a single style."""

    name: Literal["map", "uniform", "image"]
    """What `t_map` is: as large as `lr` ("map"), 1x1 ("uniform"), or no separate input ("image")."""
    inputs: dict[str, ShapeRange]
    activation_bytes: int | None = None
    """Memory for activations, as the builder reports it. None: the builder does not report it."""

    def takes(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether the profile takes inputs of these shapes, by name."""
        return shapes.keys() == self.inputs.keys() and all(
            len(shape) == len(self.inputs[name].min)
            and all(
                low <= size <= high
                for low, size, high in zip(self.inputs[name].min, shape, self.inputs[name].max, strict=True)
            )
            for name, shape in shapes.items()
        )


@dataclass(frozen=True)
class BuildOptions:
    """Options for a builder, apart from the profiles. Not every flavour supports all of them."""

    compute_capabilities: tuple[str, ...] = ()
    """For TensorRT-RTX, such as "8.6"; empty means all that its version runs on. TensorRT builds for its own GPU."""
    opt_level: int | None = None
    """0 to 5: how long to search for fast kernels. None: the builder's default, 3."""
    workspace_mb: int | None = None
    """Most memory that a layer may use, in MB. None: all of it."""
    version_compatible: bool = False
    hardware_compatible: bool = False
    strip_weights: bool = False
    refit: bool = False


@dataclass(frozen=True)
class EngineFacts:
    """A TensorRT engine, and what it depends on."""

    file: FileFacts
    flavour: Flavour
    builder_version: str
    profiles: tuple[Profile, ...]
    """In the engine's order."""
    tensors: dict[str, str]
    """Types of inputs and output, as the builder reports them and numpy names them."""
    options: BuildOptions
    onnx_sha256: str
    weight_bytes: int | None = None
    gpu: str | None = None
    """The GPU that it was built on. None: built without one, for `options.compute_capabilities`."""
    driver: str | None = None
    seconds: float = 0.0
    """Duration of the build."""
    verification: Verification | None = None
    """None: not verified, because there was no GPU or because of --no-verify."""

    def profile_for(self, shapes: Mapping[str, Shape]) -> int | None:
        """Index of the profile for inputs of these shapes; a profile for a single style is preferred. None: none
        fits."""
        fitting = [index for index, profile in enumerate(self.profiles) if profile.takes(shapes)]
        return fitting[-1] if fitting else None


@dataclass(frozen=True)
class EsrganFacts:
    """The network at one style as a plain ESRGAN, and how it differs from the network, on photos."""

    file: FileFacts
    psnr_db: float
    max_abs: float
    """Largest difference of pixel values in 0..1, which occurs at the borders."""
    inside_max_abs: float
    """Largest difference at 16 LR pixels or more from the borders."""


@dataclass(frozen=True)
class Manifest:
    """`NAME.json`: everything one export wrote, and what it measured."""

    model: ModelFacts
    onnx: FileFacts
    verification: Verification | None = None
    """None: not verified, because of --no-verify."""
    engines: tuple[EngineFacts, ...] = ()
    esrgan: EsrganFacts | None = None
    kept_because: dict[str, str] = field(default_factory=dict)
    """Why each layer of `model.kept_float32` is kept in float32."""
    schema: int = SCHEMA


def model_stem(facts: ModelFacts) -> str:
    """File name without ending: `<model>-x<scale>-<precision>`, then unusual properties, such as `-t0.8-uint8`.

    A scale that is already in the model's name is not repeated.
    """
    scale = f"x{facts.scale}"
    name = facts.name if scale in facts.name.split("-") else f"{facts.name}-{scale}"
    baked = "" if facts.baked_t is None else f"t{facts.baked_t:g}"
    parts = (name, facts.precision, baked, "uint8" if facts.io == "uint8" else "", "packed" if facts.packed else "")
    return "-".join(filter(None, parts))


def encode_facts(facts: ModelFacts) -> str:
    """Facts as the text that an ONNX file's metadata holds."""
    return msgspec.json.encode(facts).decode()


def decode_facts(text: str, source: str) -> ModelFacts:
    """Read facts from an ONNX file's metadata.

    Args:
        text: the value of `METADATA_KEY`.
        source: the file, for messages.

    Raises:
        ModelFileError: the facts are damaged, or have another schema.
    """
    return _decode(text.encode(), ModelFacts, source)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, as a whole or not at all.

    Raises:
        FxsrError: the file can't be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(path: Path) -> Manifest:
    """Read and validate `NAME.json`.

    Raises:
        ModelFileError: the file is unreadable or damaged, or has another schema.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: it can't be read ({error.strerror})") from error
    return _decode(data, Manifest, str(path))


def is_intact(folder: Path, facts: FileFacts) -> bool:
    """Whether the file that `facts` describes is in `folder`, unchanged."""
    path = folder / facts.file
    return path.is_file() and path.stat().st_size == facts.bytes and sha256(path) == facts.sha256


class _Versioned(msgspec.Struct):
    schema: int = 0


def _decode(data: bytes, kind: type[T], source: str) -> T:
    try:
        schema = msgspec.json.decode(data, type=_Versioned).schema
        if schema != SCHEMA:
            raise ModelFileError(
                f"{source}: written with schema {schema}, but this fxsr reads {SCHEMA}; export it again"
            )
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise ModelFileError(f"{source}: not a manifest of fxsr ({error})") from error
