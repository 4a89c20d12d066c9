"""The work behind the page, without the page: photos, previews, style maps, whole images."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from fxsr.images.image import Picture, three_channels, write_image
from fxsr.images.reading import open_rows
from fxsr.images.resample import resampled
from fxsr.images.rows import Pixels, dtype_peak
from fxsr.images.vips_pipe import through_vips
from fxsr.runtime.jobs.jobs import RunOptions, output_size
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.images import ClientFile, upscale_file
from fxsr.runtime.serve.photos import OpenPhoto, PhotoStore
from fxsr.runtime.serve.service import Service
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import Closable
from fxsr.runtime.ui.painting import Painting, painting_size
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles import maps as tmap
from fxsr.styles.options import check_style_is_free
from fxsr.styles.style_map import StyleMap
from fxsr.styles.texture import texture

WINDOW, MARGIN = 96, 16
"""Side of a preview in LR pixels, and the LR pixels around it that are upscaled too, so that it equals that part of the
whole image."""
SHOWN = 1600
"""Longer side in pixels of a whole result as the page shows it."""

AUTOMATIC: Mapping[str, Callable[[Pixels], NDArray[np.float32]]] = {
    "Texture": texture,
    "Gradient to the right": lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1]),
    "Gradient downwards": lambda pixels: tmap.linear_gradient(pixels.shape[0], pixels.shape[1], 90),
    "Gradient outwards": lambda pixels: tmap.radial_gradient(pixels.shape[0], pixels.shape[1]),
}
"""Functions that make a style map from a photo, by the name that the page shows."""


@dataclass(frozen=True)
class StyleChoice:
    """The dial, and the painting over it."""

    t: float
    painting: Painting | None = None

    @property
    def map(self) -> StyleMap:
        """Both as one style map."""
        return self.painting.over(self.t) if self.painting else StyleMap.uniform(self.t)


class Studio(Closable):
    """Opened models, and a folder for files that is removed when the studio is closed.

    Args:
        open_upscalers: see `Service`.
        settings: limits, of which all are used but those of requests in flight, and the token.

    Raises:
        FxsrError: a model can't be opened.
    """

    def __init__(self, open_upscalers: Callable[[], Mapping[str, Upscaler]], settings: Settings) -> None:
        self.settings = settings
        self._folder = OwnFolder(settings.max_stored)
        try:
            self.service = Service(open_upscalers, settings)
        except BaseException:
            self._folder.close()
            raise
        self._photos = PhotoStore(settings.max_pixels, settings.max_kept)
        self._running: dict[str, Callable[[str], None]] = {}

    @property
    def folder(self) -> Path:
        """The folder for files of this studio."""
        return self._folder.path

    def close(self) -> None:
        """Close the models and remove the files."""
        self.service.close()
        self._folder.close()

    def open(self, file: Path) -> OpenPhoto:
        """Read a photo.

        Raises:
            ImageError: it is not an image, or too large.
        """
        self._folder.make_room()
        return self._photos.open(file)

    def shown(self, photo: OpenPhoto) -> str:
        """The photo in the size of its painting, as a JPEG in a data URL."""
        width, height = painting_size(*photo.size)
        image = _image(self._photos.pixels(photo)).thumbnail_image(width, height=height, size="force")
        return "data:image/jpeg;base64," + base64.b64encode(image.jpegsave_buffer(Q=88)).decode()

    def read_map(self, file: Path, photo: OpenPhoto) -> Painting:
        """A style map from an image file, as a painting over a photo.

        Raises:
            StyleError: it is not a style map.
            TooLargeError: it has too many pixels.
        """
        style = ClientFile(file, file.name).read_style(self.settings.max_pixels)
        return Painting.of_map(style.values, *painting_size(*photo.size))

    def make_map(self, kind: str, photo: OpenPhoto) -> Painting:
        """Make a style map from a photo; `kind` is one of `AUTOMATIC`."""
        return Painting.of_map(AUTOMATIC[kind](self._photos.pixels(photo)), *painting_size(*photo.size))

    def save_map(self, style: StyleChoice, photo: OpenPhoto) -> Path:
        """Write the style as a PNG file of the photo's size, for `fxsr run --t-map`."""
        width, height = photo.size
        values = style.map.over(height, width).rows(slice(0, height))
        plane = np.broadcast_to(values, (height, width))[..., None]
        return self._write(np.rint(plane * 65535).clip(0, 65535).astype(np.uint16), f"{photo.name}_t.png")

    def fixed_style(self, model: str) -> float | None:
        """The t that a model was exported with. None: the model takes any."""
        return self.service.models[model].info.baked_t

    def preview(
        self, model: str, photo: OpenPhoto, style: StyleChoice, look: tuple[float, float]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Upscale a part of the photo, by bicubic interpolation and by the model.

        Args:
            look: the middle of the part, as fractions of the photo's width and height.

        Returns:
            Two (h, w, 3) images of one size.

        Raises:
            UsageError: something is painted, and the model's style is fixed.
        """
        check_style_is_free(model, self.fixed_style(model), style.painting)
        width, height = photo.size
        columns, rows = (window(middle, side) for middle, side in zip(look, (width, height), strict=True))
        outer_rows, outer_columns = (
            slice(max(0, inner.start - MARGIN), inner.stop + MARGIN) for inner in (rows, columns)
        )
        part = self._photos.pixels(photo)[outer_rows, outer_columns]
        values = style.map.over(height, width).rows(slice(outer_rows.start, min(height, outer_rows.stop)))
        t_map = StyleMap(values if values.shape == (1, 1) else values[:, outer_columns])
        served_model = self.service.models[model]
        flow = self.service.scheduler.flow(model)
        after = served_model.upscaler(flow)(part, t_map)
        before = _image(part).resize(served_model.info.scale, kernel="cubic").numpy()
        top, left = rows.start - outer_rows.start, columns.start - outer_columns.start
        inside = tuple(
            slice(start * served_model.info.scale, (start + inner.stop - inner.start) * served_model.info.scale)
            for start, inner in ((top, rows), (left, columns))
        )
        return before[inside], as_bytes(after)[inside]

    def run(
        self, who: str, model: str, photo: OpenPhoto, style: StyleChoice, format_name: str | None, progress: Progress
    ) -> tuple[Path, NDArray[np.uint8], NDArray[np.uint8]]:
        """Upscale a photo as `fxsr run` does.

        Args:
            who: the user; see `stop`.

        Returns:
            The file, and the bicubic interpolation and the result as the page shows them.

        Raises:
            FxsrError: it could not be done, or was stopped.
        """
        check_style_is_free(model, self.fixed_style(model), style.painting)
        self._folder.touch(photo.file.path)
        self._folder.make_room()
        folder = self._folder.subfolder()
        options = RunOptions(max_pixels=self.settings.max_pixels)
        served_model, flow = self.service.models[model], self.service.scheduler.flow(model)
        self.stop(who)
        self._running[who] = flow.abandon
        try:
            upscaled = upscale_file(
                served_model.upscaler(flow), photo.file, style.map, folder, options, format_name, progress
            )
        finally:
            if self._running.get(who) == flow.abandon:
                del self._running[who]
        target = upscaled.file.rename(folder / f"{photo.name}_x{served_model.info.scale}{upscaled.file.suffix}")
        after = _image(shown(target))
        before = _image(self._photos.pixels(photo)).thumbnail_image(after.width, height=after.height, size="force")
        return target, before.numpy(), after.numpy()

    def stop(self, who: str) -> None:
        """Abandon the rest of a user's last `run`."""
        abandon = self._running.pop(who, None)
        if abandon:
            abandon("stopped")

    def _write(self, pixels: Pixels, name: str) -> Path:
        path = self._folder.subfolder() / name
        write_image(path, Picture(pixels))
        return path


def window(middle: float, side: int) -> slice:
    """The pixels of a preview along an axis: up to `WINDOW` around `middle`, a fraction of the axis, moved inside where
    they would cross a border."""
    length = min(WINDOW, side)
    start = min(max(round(middle * side - length / 2), 0), side - length)
    return slice(start, start + length)


def shown(file: Path) -> Pixels:
    """(h, w, C): an image file that this studio has written, reduced to `SHOWN` while it is read."""
    rows = open_rows(file, srgb=True)
    factor = min(1, SHOWN / max(rows.width, rows.height))
    width, height = output_size(rows.width, rows.height, factor)
    found: list[Pixels] = []

    def use(image: pyvips.Image) -> None:
        pixels = resampled(image, width, height).numpy()
        found.append(pixels.reshape(height, width, rows.channels))

    through_vips(rows, use)
    return found[0]


def as_bytes(pixels: Pixels) -> NDArray[np.uint8]:
    """(H, W, C) of any type to (H, W, 3) uint8, without alpha."""
    colours = three_channels(pixels)
    if colours.dtype != np.uint8:
        colours = np.rint(colours.astype(np.float32) / dtype_peak(pixels.dtype) * 255).clip(0, 255)
    return np.ascontiguousarray(colours, np.uint8)


def _image(pixels: Pixels) -> pyvips.Image:
    return pyvips.Image.new_from_array(as_bytes(pixels)).copy(interpretation="srgb")
