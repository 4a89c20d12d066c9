"""What kind of model file a path is. Only this module decides that; it goes by the ending of the file's name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fxsr.errors import UsageError
from fxsr.models.bundled import bundled_file, bundled_models
from fxsr.models.manifest import Flavour


class ModelFileKind(Enum):
    """A kind of model file."""

    CHECKPOINT = "checkpoint"
    """Weights, as torch or safetensors stores them."""
    ONNX = "ONNX graph"
    ENGINE = "engine"
    """Built by TensorRT or TensorRT-RTX from an ONNX graph; see `engine_flavour`."""
    MANIFEST = "manifest"
    """`NAME.json`, which describes the other files of one export."""

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of names of such files, in lower case."""
        return _ENDINGS[self]


_ENDINGS = {
    ModelFileKind.CHECKPOINT: (".pth", ".pt", ".safetensors"),
    ModelFileKind.ONNX: (".onnx",),
    ModelFileKind.ENGINE: (".plan", ".engine"),
    ModelFileKind.MANIFEST: (".json",),
}
_BUNDLED_ENDINGS = {ModelFileKind.CHECKPOINT: ".safetensors", ModelFileKind.ONNX: ".onnx"}
_RTX = ".rtx"
"""Stands before the ending of engines that TensorRT-RTX built."""


@dataclass(frozen=True)
class ModelFile:
    """An existing model file."""

    path: Path
    kind: ModelFileKind


def find_model(model: str | Path, *accepted: ModelFileKind) -> ModelFile:
    """The file that a model argument means.

    Args:
        model: a path, or the name of a bundled model.
        accepted: the kinds of files that the caller can use. Of a bundled model's files, the first of these kinds is
            found.

    Raises:
        UsageError: neither a file nor a bundled name, a folder, or a file of another kind.
    """
    if str(model) in bundled_models():
        for kind in accepted:
            if kind in _BUNDLED_ENDINGS and (file := bundled_file(str(model), _BUNDLED_ENDINGS[kind])).exists():
                return ModelFile(file, kind)
        raise UsageError(f"{model} comes as a checkpoint alone; make a file for this: fxsr export --model {model}")
    path = Path(model)
    if not path.exists():
        raise UsageError(f"{model}: no such file, and not a bundled model ({', '.join(bundled_models())})")
    wanted = ", ".join(ending for kind in accepted for ending in kind.endings)
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder; give a model file ({wanted})")
    kind_found = next((kind for kind in accepted if path.suffix.lower() in kind.endings), None)
    if kind_found is None:
        raise UsageError(f"{path}: this kind of file can't be used here; give a model file ({wanted})")
    return ModelFile(path, kind_found)


def engine_ending(flavour: Flavour) -> str:
    """The ending that engines of this flavour are written with."""
    return f"{_RTX if flavour == 'tensorrt-rtx' else ''}.plan"


def engine_flavour(path: Path) -> Flavour:
    """What built an engine, according to its name."""
    return "tensorrt-rtx" if path.name.removesuffix(path.suffix).endswith(_RTX) else "tensorrt"


def model_name(path: Path) -> str:
    """A model file's name without its ending: "x" for x.onnx, x.plan and x.rtx.plan."""
    return path.name.removesuffix(path.suffix).removesuffix(_RTX)


def manifest_path(path: Path) -> Path:
    """Where the manifest of an ONNX file or engine is: next to it, `NAME.json`."""
    return path.with_name(f"{model_name(path)}.json")
