"""Describes an engine without a manifest, from what a loaded engine reports about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxsr.errors import ModelFileError
from fxsr.files import sha256
from fxsr.models.config import NetworkConfig
from fxsr.models.file import engine_flavour, model_name
from fxsr.models.manifest import (
    BuildOptions,
    EngineFacts,
    FileFacts,
    Manifest,
    ModelFacts,
    Profile,
    ShapeRange,
    TensorFacts,
)
from fxsr.runtime.backends.tensorrt.engine_file import EngineFile
from fxsr.runtime.backends.tensorrt.library import type_name

_INPUTS = (["lr", "t_map"], ["lr"], ["lr_t"])
_AXES = {"N": "n", "H": "h", "W": "w"}


def describe_engine(trt: Any, engine: Any, path: Path) -> EngineFile:
    """Derive names, types, profiles and the scale from an engine. The checkpoint that it was made from stays unknown.

    Args:
        trt: the module `tensorrt` or `tensorrt_rtx`, as the engine's flavour says.
        engine: a `trt.ICudaEngine`.
        path: the engine's file.

    Raises:
        ModelFileError: its tensors are not those of a graph that fxsr exports.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = sorted(name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
    if inputs not in _INPUTS or [name for name in names if name not in inputs] != ["sr"]:
        raise ModelFileError(
            f"{path}: it has the tensors {', '.join(names)}; it must have lr, lr and t_map, or lr_t, and sr"
        )
    profiles = tuple(_profile(engine, inputs, index) for index in range(engine.num_optimization_profiles))
    image = profiles[0].inputs[inputs[0]].opt
    output = _output_shape(trt, engine, path, profiles[0])
    last = image[-1] in (3, 4)
    scale = output[1] // image[1] if last else output[2] // image[2]
    if scale not in (2, 4, 8):
        raise ModelFileError(f"{path}: it upscales by {scale}; models of fxsr upscale by 2, 4 or 8")
    tensors = {name: type_name(engine.get_tensor_dtype(name)) for name in names}
    try:
        model = _model(path, scale, last, tensors, inputs)
    except ValueError as error:
        raise ModelFileError(f"{path}: no engine of an fxsr graph ({error})") from error
    file = FileFacts(path.name, sha256(path), path.stat().st_size)
    facts = EngineFacts(file, engine_flavour(path), trt.__version__, profiles, tensors, BuildOptions(), onnx_sha256="")
    return EngineFile(path, Manifest(model, FileFacts("", "", 0), engines=(facts,)), facts)


def _model(path: Path, scale: int, last: bool, tensors: dict[str, str], inputs: list[str]) -> ModelFacts:
    """What the graph of an engine must have been.

    Raises:
        ValueError: types or layouts are not those of a graph of fxsr.
    """

    def tensor_facts(name: str) -> TensorFacts:
        layout = "NHWC" if last and name != "t_map" else "NCHW"
        channels = {"t_map": 1, "lr_t": 4}.get(name, 3)
        return TensorFacts(name, tensors[name], layout, tuple(_AXES.get(axis, channels) for axis in layout))

    return ModelFacts(
        name=model_name(path),
        variant="unknown",
        config=NetworkConfig(scale=scale),
        precision="fp16" if tensors["sr"] == "float16" else "fp32",
        opset=0,
        inputs=tuple(map(tensor_facts, inputs)),
        outputs=(tensor_facts("sr"),),
        rewrites=(),
        checkpoint_sha256="",
        io="uint8" if tensors["sr"] == "uint8" else "float",
        packed=inputs == ["lr_t"],
        baked_t=0.0 if inputs == ["lr"] else None,
    )


def _profile(engine: Any, inputs: list[str], index: int) -> Profile:
    ranges = {
        name: ShapeRange(*(tuple(map(int, shape)) for shape in engine.get_tensor_profile_shape(name, index)))
        for name in inputs
    }
    if "t_map" not in ranges:
        return Profile("image", ranges)
    return Profile("uniform" if ranges["t_map"].max[2:] == (1, 1) else "map", ranges)


def _output_shape(trt: Any, engine: Any, path: Path, profile: Profile) -> tuple[int, ...]:
    context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if context is None:
        raise ModelFileError(f"{path}: {trt.__name__} can't create an execution context for it")
    for name, sizes in profile.inputs.items():
        context.set_input_shape(name, sizes.opt)
    return tuple(int(size) for size in context.get_tensor_shape("sr"))
