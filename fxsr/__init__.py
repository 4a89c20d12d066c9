"""FxSR: super-resolution with a style dial, from training to the engine that deploys.

What every part shares lives here: the network and its checkpoints, style maps, images, metrics, errors and the
command line. Training, export, runtime and benchmarks are the sub-packages beside it.

    import fxsr
    up = fxsr.load()                 # the bundled model, or the path of one
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

# Imported when first used, so that `import fxsr` costs next to nothing.
_LAZY = {
    "load": "fxsr.runtime.upscale.upscaler",
    "Upscaler": "fxsr.runtime.upscale.upscaler",
    "StyleMap": "fxsr.styles.style_map",
}


_HERE = Path(__file__).resolve().parent
if not (_HERE / "runtime").is_dir():  # a checkout, where the sub-packages lie beside this folder
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'fxsr' has no attribute {name!r}")
