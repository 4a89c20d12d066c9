"""A contact sheet: one row per photo with bicubic upscaling, a model at several t, and teachers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fxsr.errors import UsageError
from fxsr.files import atomic_path
from fxsr.runtime.upscale.upscaler import load
from fxsr.training.cache import Pixels, find_images, read_rgb
from fxsr.training.evaluate import STYLES
from fxsr.training.resize import bicubic_upscale

_GAP = 6
"""Pixels between pictures."""
_HEAD = 22
"""Height of a line of text, in pixels."""

Column = tuple[str, Callable[[Pixels], Pixels]]
"""Heading of a column, and a function from an input (H, W, 3) uint8 to its picture."""


def draw_sheet(
    folder: Path,
    out: Path,
    model: str,
    styles: Sequence[float] = STYLES,
    teachers: Sequence[str] = (),
    side: int = 64,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Write a contact sheet; returns the number of photos on it.

    Args:
        folder: folder of photos, which are upscaled as they are.
        out: picture file to write.
        model: model, as for `fxsr.load`.
        styles: values of t, one column each.
        teachers: networks to compare with; see `fxsr.training.recipe_data.Teacher.source`.
        side: side of the shown middle of each photo, in input pixels; the whole photo is upscaled.
        tell: receives progress messages.

    Raises:
        UsageError: the folder holds no images, or `out` has an unsupported suffix.
        FxsrError: a photo, the model or a teacher can't be read.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"{out}: contact sheets are written as .png, .jpg or .webp")
    paths = find_images(folder)
    rows = []
    with load(model) as upscaler:
        columns: list[Column] = [("bicubic", lambda lr: bicubic_upscale(lr, upscaler.scale))]
        columns += [(f"t = {t:g}", lambda lr, t=t: upscaler(lr, t=t)) for t in styles]  # type: ignore[misc]
        columns += [(Path(source).stem, open_teacher(source, upscaler.scale)) for source in teachers]
        for number, path in enumerate(paths, 1):
            tell(f"{number} of {len(paths)} photos")
            photo = read_rgb(path)
            rows.append([_middle(column(photo), side * upscaler.scale) for _, column in columns])
    sheet = _arrange(rows, [heading for heading, _ in columns], [path.stem for path in paths])
    with atomic_path(out) as temporary:
        sheet.save(temporary, format=Image.registered_extensions()[out.suffix.lower()])
    return len(paths)


def open_teacher(source: str, scale: int) -> Callable[[Pixels], Pixels]:
    """Load a network to compare with; `source` as in `fxsr.training.recipe_data.Teacher`."""
    import torch

    from fxsr.training.recipe_data import Teacher
    from fxsr.training.teachers import load_teacher

    return load_teacher(Teacher(source=source), Path(source).stem, scale, torch.device("cpu"))


def _middle(picture: Pixels, side: int) -> Pixels:
    height, width = (min(side, size) for size in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def _arrange(rows: Sequence[Sequence[Pixels]], headings: Sequence[str], names: Sequence[str]) -> Image.Image:
    widths = [max(row[number].shape[1] for row in rows) for number in range(len(headings))]
    heights = [row[0].shape[0] for row in rows]
    size = sum(widths) + _GAP * (len(widths) - 1), _HEAD + sum(heights) + (_HEAD + _GAP) * len(rows)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    lefts = np.cumsum([0, *(width + _GAP for width in widths[:-1])]).tolist()
    for left, heading in zip(lefts, headings, strict=True):
        pen.text((left, 2), heading, fill="black", font=font)
    y = _HEAD
    for row, name, height in zip(rows, names, heights, strict=True):
        for left, picture in zip(lefts, row, strict=True):
            sheet.paste(Image.fromarray(picture), (left, y))
        pen.text((0, y + height + 2), name, fill="black", font=font)
        y += height + _HEAD + _GAP
    return sheet
