"""The models that come with the package, and those that their authors publish elsewhere.

Each bundled model is three files of one name: `.safetensors` (the checkpoint), `.onnx` (for `fxsr run`) and `.md` (its
model card). A model of full size has no `.onnx`, for the size of the package: it runs from its checkpoint, in PyTorch,
or from what `fxsr export` makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fxsr.errors import foreign_name

DEFAULT_MODEL = "fxsr-photo-x4-small"
_HISTORY = "\n## History\n"
"""Heading of a card's last part."""


@dataclass(frozen=True)
class PublishedModel:
    """A model whose weights its authors host. Nothing here downloads them, since we may not redistribute them."""

    name: str
    scale: int
    page: str
    """Where the authors link the file."""
    recipe: str
    """The recipe that trains such a model; see `fxsr train --list`."""


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
    """Names of the bundled models, the default first."""
    names = (path.stem for path in _folder().glob("*.safetensors"))
    return tuple(sorted(names, key=lambda name: (name != DEFAULT_MODEL, name)))


def how_to_get(name: str) -> str:
    """What to do to get a model and use it, in a sentence.

    Args:
        name: any name; unknown ones get the names that there are.
    """
    if name in bundled_models():
        return f"{name} is part of this package; type: fxsr run --engine {name} PHOTO"
    for model in PUBLISHED_MODELS:
        if model.name == name:
            return (
                f"{name} has to be downloaded with a browser: its authors link the file on {model.page}; "
                "then type: fxsr export --checkpoint FILE.pth"
            )
    known = ", ".join([*bundled_models(), *(model.name for model in PUBLISHED_MODELS)])
    return f"there is no model called {foreign_name(name)!r}; choose of {known}"


def bundled_file(name: str, ending: str) -> Path:
    """One of a bundled model's files.

    Args:
        name: one of `bundled_models()`.
        ending: ".onnx", ".safetensors" or ".md".
    """
    return _folder() / f"{name}{ending}"


def model_card(name: str, history: bool = True) -> str:
    """A bundled model's card, Markdown.

    Args:
        name: one of `bundled_models()`.
        history: include the last part, which tells how the model was made.
    """
    card = bundled_file(name, ".md").read_text(encoding="utf-8")
    return card if history else card.partition(_HISTORY)[0]


def _folder() -> Path:
    return Path(__file__).parents[1] / "weights"
