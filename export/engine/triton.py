"""Writes exported files as a model repository for NVIDIA's Triton Inference Server.

    DIR/NAME/config.pbtxt      what the model takes, and how Triton should run it
    DIR/NAME/1/model.plan      the engine, or model.onnx

The configuration is Triton's `ModelConfig` as text (`model_config.proto` of triton-inference-server/common).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from fxsr.errors import FxsrError, UsageError
from fxsr.export.lock import alone_in
from fxsr.models.manifest import EngineFacts, Manifest, ModelFacts, TensorFacts

VERSION = "1"
_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "uint8": "TYPE_UINT8"}
_ONNX_BATCH = 8
"""Largest batch that Triton may form for ONNX Runtime, which itself has no limit."""
_DELAY_US = 1000
"""How long a request may wait for others to share its batch, in microseconds: little compared to its own time."""
_WARM_SIDE = 64
"""Side of the warm-up images if the model takes any size, in LR pixels."""


@dataclass(frozen=True)
class _Identifier:
    """A value that is written without quotes."""

    text: str


_Value = str | int | bool | _Identifier | Mapping[str, "_Value"] | list["_Value"]


def write_repository(manifest: Manifest, folder: Path, repository: Path, engine: Path | None = None) -> Path:
    """Write a model to a repository, as a whole or not at all. A model of the same name is replaced.

    Args:
        manifest: the export's manifest.
        folder: the folder of the export's files.
        repository: the repository's folder. It is created if needed; other models in it stay.
        engine: the export's TensorRT engine. None, or a TensorRT-RTX engine, which Triton can't run: use the ONNX file.

    Returns:
        The model's folder. Its name is the model name for clients.

    Raises:
        UsageError: the engine does not take single images.
        FxsrError: the repository can't be written to.
    """
    name = Path(manifest.onnx.file).stem
    facts = served_engine(manifest, engine)
    source = folder / (facts.file.file if facts else manifest.onnx.file)
    target = repository / name
    try:
        with alone_in(repository):
            for stale in repository.iterdir():
                if stale.name.startswith(f".{name}."):  # of an export that was killed: this one is alone
                    shutil.rmtree(stale, ignore_errors=True)
            staged = Path(mkdtemp(prefix=f".{name}.", dir=repository))
            try:
                made = staged / "new"
                (made / VERSION).mkdir(parents=True)
                shutil.copyfile(source, made / VERSION / ("model.plan" if facts else "model.onnx"))
                (made / "config.pbtxt").write_text(to_text(configure(manifest.model, name, facts)), encoding="utf-8")
                if target.exists():
                    target.rename(staged / "old")
                made.rename(target)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise FxsrError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def served_engine(manifest: Manifest, engine: Path | None) -> EngineFacts | None:
    """The engine that Triton would run. None: there is none, or TensorRT-RTX built it."""
    found = (each for each in manifest.engines if engine and each.file.file == engine.name)
    return next((each for each in found if each.flavour == "tensorrt"), None)


def configure(model: ModelFacts, name: str, engine: EngineFacts | None) -> dict[str, _Value]:
    """A model's `ModelConfig`.

    Triton adds the same batch axis to all inputs, so a request has as many style maps as images. It batches requests of
    equal shapes, so those with a map and those with a single style stay apart.

    Raises:
        UsageError: the engine does not take single images.
    """
    if engine and engine.profiles[0].inputs[model.inputs[0].name].min[0] > 1:
        raise UsageError("Triton does not pad batches: export the engine with --batch 1,OPT,MAX for --triton")
    images, *maps = model.inputs
    number, height, width = (images.layout.index(axis) for axis in "NHW")
    sizes = engine.profiles[0].inputs[images.name] if engine else None
    batch = sizes.max[number] if sizes else _ONNX_BATCH
    side = (sizes.opt[height], sizes.opt[width]) if sizes else (_WARM_SIDE, _WARM_SIDE)
    config: dict[str, _Value] = {
        "name": name,
        "platform": "tensorrt_plan" if engine else "onnxruntime_onnx",
        "max_batch_size": batch,
        "input": [_tensor(tensor) for tensor in model.inputs],
        "output": [_tensor(tensor) for tensor in model.outputs],
        "version_policy": {"latest": {"num_versions": 1}},
        "model_warmup": [_warm_up(model.inputs, side, style) for style in (("map", "uniform") if maps else ("image",))],
        "parameters": [
            {"key": key, "value": {"string_value": value}}
            for key, value in {
                "fxsr_model": model.name,
                "scale": str(model.scale),
                "t_range": f"{model.t_range[0]:g},{model.t_range[1]:g}",
                "licence": model.licence,
            }.items()
        ],
    }
    if batch > 1:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": _DELAY_US}
    if engine:  # one for maps, one for single styles: Triton picks the one that fits a request
        profiles: list[_Value] = [str(index) for index in range(len(engine.profiles))]
        config["instance_group"] = [{"count": 1, "kind": _Identifier("KIND_GPU"), "profile": profiles}]
    return config


def to_text(message: Mapping[str, _Value], indent: str = "") -> str:
    """Write a message in protobuf's text format."""
    return "".join(_field(name, value, indent) for name, value in message.items())


def _field(name: str, value: _Value, indent: str) -> str:
    match value:
        case list():
            return "".join(_field(name, each, indent) for each in value)
        case Mapping():
            return f"{indent}{name} {{\n{to_text(value, indent + '  ')}{indent}}}\n"
        case _Identifier():
            return f"{indent}{name}: {value.text}\n"
        case _:
            return f"{indent}{name}: {json.dumps(value)}\n"


def _tensor(tensor: TensorFacts) -> dict[str, _Value]:
    return {"name": tensor.name, "data_type": _Identifier(_TYPES[tensor.dtype]), "dims": [*_dims(tensor)]}


def _dims(tensor: TensorFacts) -> list[int]:
    """The shape without the batch axis; -1 is any size."""
    return [size if isinstance(size, int) else -1 for size in tensor.shape[1:]]


def _warm_up(inputs: Iterable[TensorFacts], side: tuple[int, int], style: str) -> dict[str, _Value]:
    """A request with one blank image, so that the first real request is not slow."""
    sizes: dict[str, _Value] = {}
    for tensor in inputs:
        one = style == "uniform" and tensor.name == "t_map"
        known = dict(zip("HW", (1, 1) if one else side, strict=True))
        dims: list[_Value] = [
            known.get(axis) or int(size) for axis, size in zip(tensor.layout, tensor.shape, strict=True) if axis != "N"
        ]
        sizes[tensor.name] = {"data_type": _Identifier(_TYPES[tensor.dtype]), "dims": dims, "zero_data": True}
    inputs_text: list[_Value] = [{"key": name, "value": value} for name, value in sizes.items()]
    return {"name": style, "batch_size": 1, "inputs": inputs_text}
