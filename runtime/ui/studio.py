"""What the page does, without the page: photos, previews, style maps, whole images."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from fxsr.errors import ImageError, StyleError, TooLargeError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.reading import open_rows
from fxsr.images.rows import Pixels, check_pixels, dtype_peak
from fxsr.runtime.jobs.jobs import RunOptions
from fxsr.runtime.serve.images import file_kind, upscale_file
from fxsr.runtime.serve.service import Service
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import Closable
from fxsr.runtime.ui.painting import Painting, painting_size
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles import maps as tmap
from fxsr.styles.style_map import StyleMap
from fxsr.styles.texture import texture

WINDOW, MARGIN = 96, 16
"""LR pixels of a preview's sides, and what is upscaled around them so that they are as in the whole image."""
SHOWN = 1600
"""Longer side of a whole result as the page shows it."""

AUTOMATIC: Mapping[str, Callable[[Pixels], NDArray[np.float32]]] = {
    "Texture": texture,
    "Gradient to the right": lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1]),
    "Gradient downwards": lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1], 90),
    "Gradient outwards": lambda pixels: tmap.radial_gradient(pixels.shape[0], pixels.shape[1]),
}
"""Style maps that are made of a photo, by name."""


@dataclass(frozen=True)
class OpenPhoto:
    """An image that was opened."""

    file: Path
    name: str
    """Of the file as its owner calls it, without suffix."""
    pixels: Pixels
    """(H, W, C)."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class StyleChoice:
    """The dial, and what is painted over it."""

    t: float
    painting: Painting | None = None

    @property
    def map(self) -> StyleMap:
        """Both as one."""
        return self.painting.over(self.t) if self.painting else StyleMap.uniform(self.t)


class Studio(Closable):
    """Models that are open, and a folder for files that is gone when it is closed.

    Args:
        open_upscalers: see `Service`.
        settings: `max_pixels` of a photo, and at once.

    Raises:
        FxsrError: a model can't be opened.
    """

    def __init__(self, open_upscalers: Callable[[], Mapping[str, Upscaler]], settings: Settings) -> None:
        self.settings = settings
        self.service = Service(open_upscalers, settings)
        self._folder = tempfile.TemporaryDirectory(prefix="fxsr-ui-")
        self._running: dict[str, Callable[[str], None]] = {}

    @property
    def folder(self) -> Path:
        """Where files of this studio lie."""
        return Path(self._folder.name)

    def close(self) -> None:
        """Close the models; the files are gone."""
        self.service.close()
        self._folder.cleanup()

    def open(self, file: Path) -> OpenPhoto:
        """Read a photo.

        Raises:
            ImageError: it is none, or too large.
        """
        with _by_name(file):
            file_kind(file, ImageError)
            rows = open_rows(file, self.settings.max_pixels)
            check_pixels(file, rows.width, rows.height, self.settings.max_pixels)
            return OpenPhoto(file, file.stem, read_image(file).pixels)

    def read_map(self, file: Path, photo: OpenPhoto) -> Painting:
        """A style map from an image file, as a painting over a photo.

        Raises:
            StyleError: it is none.
        """
        with _by_name(file):
            file_kind(file, StyleError)
            values = StyleMap.read(file, self.settings.max_pixels).values
        return Painting.of_map(values, *painting_size(*photo.size))

    def make_map(self, kind: str, photo: OpenPhoto) -> Painting:
        """A style map made of a photo; `kind` is one of `AUTOMATIC`."""
        return Painting.of_map(AUTOMATIC[kind](photo.pixels), *painting_size(*photo.size))

    def save_map(self, style: StyleChoice, photo: OpenPhoto) -> Path:
        """The style as a PNG file of the photo's size, that `fxsr run --t-map` takes."""
        width, height = photo.size
        values = style.map.over(height, width).rows(slice(0, height))
        plane = np.broadcast_to(values, (height, width))[..., None]
        return self._write(np.rint(plane * 65535).clip(0, 65535).astype(np.uint16), f"{photo.name}_t.png")

    def fixed_style(self, model: str) -> float | None:
        """The t that a model was exported with for good. None: it takes any."""
        return self.service.models[model].info.baked_t

    def preview(
        self, model: str, photo: OpenPhoto, style: StyleChoice, look: tuple[float, float]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A piece of the photo around a point, enlarged by bicubic interpolation and by the model, at 100 %.

        Args:
            look: of the photo's width and height.

        Returns:
            Two (h, w, 3) images of one size.

        Raises:
            StyleError: something is painted, and the model's style is fixed.
        """
        self._check_style(model, style)
        width, height = photo.size
        columns, rows = (window(part, side) for part, side in zip(look, (width, height), strict=True))
        outer_rows, outer_columns = (slice(max(0, part.start - MARGIN), part.stop + MARGIN) for part in (rows, columns))
        piece = photo.pixels[outer_rows, outer_columns]
        values = style.map.over(height, width).rows(slice(outer_rows.start, min(height, outer_rows.stop)))
        t_map = StyleMap(values if values.shape == (1, 1) else values[:, outer_columns])
        served = self.service.models[model]
        flow = self.service.scheduler.flow(model)
        enlarged = Upscaler(flow, served.tile, served.overlap)(piece, t_map)
        before = _image(piece).resize(served.info.scale, kernel="cubic").numpy()
        top, left = rows.start - outer_rows.start, columns.start - outer_columns.start
        inner = tuple(
            slice(start * served.info.scale, (start + part.stop - part.start) * served.info.scale)
            for start, part in ((top, rows), (left, columns))
        )
        return before[inner], shown(enlarged)[inner]

    def run(
        self, who: str, model: str, photo: OpenPhoto, style: StyleChoice, format_name: str | None, progress: Progress
    ) -> tuple[Path, NDArray[np.uint8], NDArray[np.uint8]]:
        """Upscale a photo as `fxsr run` does.

        Args:
            who: asks; see `stop`.

        Returns:
            The file, and bicubic interpolation and the result as the page shows them.

        Raises:
            FxsrError: it could not be done, or was stopped.
        """
        self._check_style(model, style)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copyfile(photo.file, folder / "image")
        if style.painting:
            plane = np.rint(style.map.values * 65535).astype(np.uint16)[..., None]
            write_image(folder / "t_map.png", Picture(plane))
            (folder / "t_map.png").rename(folder / "t_map")
        options = RunOptions(1 if style.painting else style.t, max_pixels=self.settings.max_pixels)
        flow = self.service.scheduler.flow(model)
        self.stop(who)
        self._running[who] = flow.abandon
        try:
            made = upscale_file(self.service.models[model], flow, folder, options, format_name, progress)
        finally:
            if self._running.get(who) == flow.abandon:
                del self._running[who]
        target = made.file.rename(folder / f"{photo.name}_x{self.service.models[model].info.scale}{made.file.suffix}")
        after = pyvips.Image.thumbnail(str(target), SHOWN, height=SHOWN, size="down", no_rotate=True)
        after = _image(after.numpy())
        before = _image(photo.pixels).thumbnail_image(after.width, height=after.height, size="force")
        return target, before.numpy(), after.numpy()

    def stop(self, who: str) -> None:
        """Give up what somebody's last `run` still does."""
        abandon = self._running.pop(who, None)
        if abandon:
            abandon("stopped")

    def _check_style(self, model: str, style: StyleChoice) -> None:
        fixed = self.fixed_style(model)
        if fixed is not None and style.painting:
            raise StyleError(f"{model} was exported with t fixed at {fixed:g}; clear the painting")

    def _write(self, pixels: Pixels, name: str) -> Path:
        path = Path(tempfile.mkdtemp(dir=self.folder)) / name
        write_image(path, Picture(pixels))
        return path


def window(part: float, side: int) -> slice:
    """The pixels of a preview along an axis, as many as there are up to `WINDOW`, with `part` of the axis in the middle
    where the border lets it."""
    length = min(WINDOW, side)
    start = min(max(round(part * side - length / 2), 0), side - length)
    return slice(start, start + length)


def shown(pixels: Pixels) -> NDArray[np.uint8]:
    """(H, W, C) of any kind to (H, W, 3) of bytes, without alpha."""
    colours = pixels[..., :1].repeat(3, 2) if pixels.shape[2] < 3 else pixels[..., :3]
    if colours.dtype != np.uint8:
        colours = np.rint(colours.astype(np.float32) / dtype_peak(pixels.dtype) * 255).clip(0, 255)
    return np.ascontiguousarray(colours, np.uint8)


def data_url(photo: OpenPhoto) -> str:
    """The photo at the size at which it is painted on, as a JPEG in a URL."""
    width, height = painting_size(*photo.size)
    data = _image(photo.pixels).thumbnail_image(width, height=height, size="force").jpegsave_buffer(Q=88)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


@contextmanager
def _by_name(file: Path) -> Iterator[None]:
    """Errors about an uploaded file call it by its name: its folder is nobody's business."""
    try:
        yield
    except (ImageError, StyleError, TooLargeError) as error:
        raise type(error)(str(error).replace(str(file), file.name)) from error


def _image(pixels: Pixels) -> pyvips.Image:
    return pyvips.Image.new_from_array(shown(pixels)).copy(interpretation="srgb")
