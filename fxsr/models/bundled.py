"""The bundled models, and how a model argument becomes a file.

Each model is three files of one name: `.safetensors` (the checkpoint), `.onnx` (what `fxsr run` uses) and `.md`
(its model card).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fxsr.errors import UsageError

DEFAULT_MODEL = "fxsr-pd-x4-small"


@dataclass(frozen=True)
class PublishedModel:
    """A model whose weights its authors host. Nothing here downloads them: they are not ours to pass on."""

    name: str
    scale: int
    page: str
    """Where the authors link the file."""
    recipe: str
    """What trains its like; see `fxsr train --list`."""


_FXSR = "https://github.com/seungho-snu/FxSR"
_SROT = "https://github.com/seungho-snu/SROT"
PUBLISHED_MODELS = (
    PublishedModel("FxSR-PD 4x", 4, _FXSR, "fxsr-pd-x4"),
    PublishedModel("FxSR-PD 8x", 8, _FXSR, "fxsr-pd-x8"),
    PublishedModel("FxSR-DS 4x", 4, _FXSR, "fxsr-ds-x4"),
    PublishedModel("FxSR-DS 8x", 8, _FXSR, "fxsr-ds-x8"),
    PublishedModel("ESRGAN-SROT-M1234-v2-4x", 4, _SROT, "srot-x4"),
)


def bundled_models() -> tuple[str, ...]:
    """Names of the bundled models."""
    return tuple(sorted(path.stem for path in _folder().glob("*.safetensors")))


def model_path(model: str | Path, suffix: str) -> Path:
    """The file that a model argument means.

    Args:
        model: a path, or the name of a bundled model.
        suffix: which of a bundled model's files: ".onnx", ".safetensors" or ".md".

    Raises:
        UsageError: neither a file nor a bundled name.
    """
    if str(model) in bundled_models():
        return _folder() / f"{model}{suffix}"
    path = Path(model)
    if not path.exists():
        raise UsageError(f"{model}: no such file, and not a bundled model ({', '.join(bundled_models())})")
    return path


def _folder() -> Path:
    return Path(__file__).parents[1] / "weights"
