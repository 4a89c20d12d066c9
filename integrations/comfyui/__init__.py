"""FxSR in ComfyUI: copy this folder into `custom_nodes`. fxsr must be installed in ComfyUI's Python."""

from .nodes import FxsrUpscale

NODE_CLASS_MAPPINGS = {"FxsrUpscale": FxsrUpscale}
NODE_DISPLAY_NAME_MAPPINGS = {"FxsrUpscale": "Upscale with a style (FxSR)"}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
