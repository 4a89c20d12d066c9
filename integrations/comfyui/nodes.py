"""The node: images and a mask in, upscaled images out. ComfyUI's images are (B, H, W, C) tensors in 0..1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from fxsr.runtime import Upscaler


class FxsrUpscale:
    """Upscales images; a mask chooses the style of each pixel."""

    CATEGORY = "image/upscaling"
    DESCRIPTION = (
        "Upscales by the model's factor. Style 0 is faithful, 1 is crisp; a mask may differ from pixel to pixel."
    )
    FUNCTION = "upscale"
    RETURN_TYPES = ("IMAGE",)

    def __init__(self) -> None:
        self._choice: tuple[str, str, int] | None = None
        self._upscaler: Upscaler | None = None

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """What the node takes, as ComfyUI asks for it."""
        from fxsr.models.bundled import DEFAULT_MODEL
        from fxsr.styles.style_map import DEFAULT_T

        style = {"min": 0.0, "max": 1.0, "step": 0.05}
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (
                    "STRING",
                    {"default": DEFAULT_MODEL, "tooltip": "A bundled name, or a file: .onnx, .plan, ..."},
                ),
                "t": ("FLOAT", {"default": DEFAULT_T, **style, "tooltip": "Style; with a mask, that of white."}),
            },
            "optional": {
                "mask": ("MASK",),
                "t_black": ("FLOAT", {"default": 0.0, **style, "tooltip": "Style where the mask is black."}),
                "feather": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 512.0, "step": 1.0, "tooltip": "Softens the mask, in pixels."},
                ),
                "tile": (
                    "INT",
                    {"default": 0, "min": 0, "max": 4096, "tooltip": "Side of tiles; 0 lets the model choose."},
                ),
                "device": ("STRING", {"default": "auto", "tooltip": "auto, cpu, cuda or cuda:N"}),
            },
        }

    def upscale(
        self,
        image: Tensor,
        model: str,
        t: float,
        mask: Tensor | None = None,
        t_black: float = 0.0,
        feather: float = 0.0,
        tile: int = 0,
        device: str = "auto",
    ) -> tuple[Tensor]:
        """Upscale a batch of images.

        Args:
            image: (B, H, W, C) in 0..1, C being 3 or 4.
            model: see `fxsr.load`, as `device`.
            t: style in 0..1; with a mask, that of white.
            mask: (B, H', W'), (1, H', W') or (H', W') in 0..1; it is resized to the images.
            t_black: style in 0..1 where the mask is black.
            feather: pixels by which the mask's borders are softened, to either side.
            tile: largest side of a tile; 0: the model's usual one.

        Returns:
            (B, scale*H, scale*W, C) in 0..1, float32, on the CPU.

        Raises:
            ValueError: there are neither one mask nor as many as images.
            FxsrError: see `fxsr.load` and `fxsr.Upscaler`.
        """
        import torch

        from fxsr.styles.options import StyleOptions
        from fxsr.styles.style_map import StyleMap

        masks = [None] if mask is None else list(mask.reshape(-1, *mask.shape[-2:]))
        if len(masks) not in (1, len(image)):
            raise ValueError(f"there are {len(masks)} masks for {len(image)} images; give one, or one for each")
        upscaler = self._open(model, device, tile)
        style = StyleOptions(t) if mask is None else StyleOptions(scale=1, range=(t_black, t), feather=feather)
        advance = _progress_bar(len(image))
        made = []
        for index, one in enumerate(image):
            own = masks[index % len(masks)]
            pixels = one.detach().cpu().float().contiguous().numpy()
            height, width = pixels.shape[:2]
            t_map = None if own is None else StyleMap.from_array(own.detach().cpu().float().clamp(0, 1).numpy())
            rows = style.over(t_map, height, width)
            made.append(torch.from_numpy(_upscale(upscaler, pixels, rows, advance)).clamp(0, 1))
        return (torch.stack(made),)

    def _open(self, model: str, device: str, tile: int) -> Upscaler:
        """The upscaler of the last run if it is the same."""
        import fxsr

        choice = (model, device, tile)
        if self._upscaler is None or choice != self._choice:
            if self._upscaler is not None:
                self._upscaler.close()
                self._upscaler = None
            self._upscaler, self._choice = fxsr.load(model, device, tile or None), choice
        return self._upscaler


def _upscale(upscaler: Upscaler, pixels: Any, style: Any, advance: Callable[[float], None]) -> Any:
    from fxsr.images.rows import Rows

    before = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal before
        advance(done / total - before)
        before = done / total

    return upscaler.stream(Rows.of(pixels), style, progress).whole()


def _progress_bar(count: int) -> Callable[[float], None]:
    """A function to call with how much of an image was just done. It shows this in ComfyUI, and ends the work by an
    exception if the user interrupts it."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted
        from comfy.utils import ProgressBar
    except ModuleNotFoundError:  # outside ComfyUI
        return lambda part: None
    bar, done = ProgressBar(count * 100), 0.0

    def advance(part: float) -> None:
        nonlocal done
        throw_exception_if_processing_interrupted()
        done += part
        bar.update_absolute(round(done * 100))

    return advance
