"""FxSR: super-resolution with a style dial, from training to the engine that deploys.

This package holds what all parts share (models, images, style maps, metrics, errors) and the command line. Its
sub-packages are `fxsr.export`, `fxsr.runtime`, `fxsr.training` and `fxsr.benchmarks`; docs/architecture.md draws them.

    import fxsr
    up = fxsr.load()                 # the bundled model; or a path
    sr = up(image, t=0.8)            # t: a number, an (H, W) array or a fxsr.StyleMap
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxsr.errors import FxsrError

if TYPE_CHECKING:
    from fxsr.runtime.upscale.upscaler import Upscaler as Upscaler
    from fxsr.runtime.upscale.upscaler import load as load
    from fxsr.styles.style_map import StyleMap as StyleMap

__version__ = "0.1.0"
__all__ = ["FxsrError", "StyleMap", "Upscaler", "__version__", "load"]

# Imported at first use, so that `import fxsr` is fast.
_LAZY = {
    "load": "fxsr.runtime.upscale.upscaler",
    "Upscaler": "fxsr.runtime.upscale.upscaler",
    "StyleMap": "fxsr.styles.style_map",
}


_HERE = Path(__file__).resolve().parent
if not (_HERE / "runtime").is_dir():  # a checkout: the sub-packages lie next to this folder
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'fxsr' has no attribute {name!r}")
