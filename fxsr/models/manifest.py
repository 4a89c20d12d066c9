"""Describes exported models: the facts inside an ONNX file, and the manifest next to the files of one export.

The JSON follows the dataclasses below, field by field; `schema` increases when a field changes its meaning.
`fxsr info FILE` prints it. The ONNX file's metadata holds `ModelFacts` under the key `fxsr`, so that a single
`.onnx` can be run without its manifest; `NAME.json` holds the whole `Manifest`. Values that can't be true are refused
when they are read, since anyone can edit these files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from fxsr.errors import ModelFileError, UsageError, first_line, foreign_name
from fxsr.files import atomic_path, sha256
from fxsr.models.config import NetworkConfig

SCHEMA = 1
METADATA_KEY = "fxsr"
"""Key of `ModelFacts` in an ONNX file's metadata."""

_CHANNELS = {"lr": 3, "t_map": 1, "lr_t": 4, "sr": 3}

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
    """As numpy names it: "float32", "float16" or "uint8"."""
    layout: str
    """"NCHW" or "NHWC"."""
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "float16", "uint8"):
            raise ValueError(f"{self.name} is of type {self.dtype!r}; it must be float32, float16 or uint8")
        if self.layout not in ("NCHW", "NHWC") or len(self.shape) != 4:
            raise ValueError(f"{self.name} has the layout {self.layout!r} of {len(self.shape)} axes")
        if self.shape[self.layout.index("C")] != _CHANNELS.get(self.name):
            raise ValueError(f"{self.name} has the shape {list(self.shape)}; it is no tensor of fxsr")


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

    def __post_init__(self) -> None:
        wanted = ["lr_t"] if self.packed else ["lr", "t_map"] if self.baked_t is None else ["lr"]
        if [tensor.name for tensor in self.inputs] != wanted or [tensor.name for tensor in self.outputs] != ["sr"]:
            raise ValueError(f"the graph must have the inputs {', '.join(wanted)} and the output sr")
        if len({tensor.dtype for tensor in (*self.inputs, *self.outputs)}) != 1:
            raise ValueError("all inputs and outputs must be of one type")
        pictures = {tensor.layout for tensor in (*self.inputs, *self.outputs) if tensor.name != "t_map"}
        if (self.io == "uint8") != (self.dtype == "uint8") or pictures != {"NHWC" if self.io == "uint8" else "NCHW"}:
            raise ValueError(f"types and layouts of inputs and outputs are not those of io {self.io}")
        if self.baked_t is not None and (self.packed or not 0 <= self.baked_t <= 1):
            raise ValueError(f"baked_t is {self.baked_t:g}; it must be 0 to 1, and without packed")

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
    """A name without folder. Empty: unknown."""
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if self.file in (".", "..") or re.search(r"[/\\:\x00-\x1f\x7f]", self.file):
            raise ValueError(f"{foreign_name(self.file)!r} must be the name of a file in the manifest's own folder")


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input that a profile takes."""

    min: Shape
    opt: Shape
    """What the engine is tuned for."""
    max: Shape

    def __post_init__(self) -> None:
        if {len(self.min), len(self.opt), len(self.max)} != {4}:
            raise ValueError("min, opt and max must have four axes each")
        for low, usual, high in zip(self.min, self.opt, self.max, strict=True):
            if not 1 <= low <= usual <= high < 2**31:
                raise ValueError("min, opt and max must be 1 or more, in ascending order")


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

    def __post_init__(self) -> None:
        if not self.profiles:
            raise ValueError("an engine must have a profile")

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

    def __post_init__(self) -> None:
        wanted = {tensor.name for tensor in self.model.inputs}
        if any(profile.inputs.keys() != wanted for engine in self.engines for profile in engine.profiles):
            raise ValueError(f"the profiles of engines must be for {', '.join(sorted(wanted))}")


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
    except (ValueError, RecursionError, UsageError) as error:  # msgspec's errors are ValueErrors
        raise ModelFileError(f"{source}: not a manifest of fxsr ({foreign_name(first_line(error), 300)})") from error
