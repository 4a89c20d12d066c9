"""The work behind the page, without HTTP: photos, previews, style maps, whole images."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
import pyvips

from fxsr.errors import ImageError, UsageError
from fxsr.images.image import Picture, write_image
from fxsr.images.rows import Pixels
from fxsr.runtime.jobs.jobs import RunOptions
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.images import ClientFile, format_suffix, upscale_file
from fxsr.runtime.serve.photos import OpenPhoto, PhotoStore
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.scheduler import Flow
from fxsr.runtime.serve.service import Service
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.session import Closable
from fxsr.runtime.ui.detail import find_detail
from fxsr.runtime.ui.maps import AUTOMATIC
from fxsr.runtime.ui.painting import Painting, plane_for_browser
from fxsr.runtime.ui.runs import Result, Run, Runs
from fxsr.runtime.ui.views import Part, ResultView, as_png, enlarged, overview, shrunk
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.options import check_style_is_free
from fxsr.styles.style_map import StyleMap

MARGIN = 16
"""LR pixels around a preview that are upscaled too, so that it equals that part of the whole image."""
_PREVIEW_ON_CPU, _PREVIEW = 256**2, 512**2
"""Largest number of LR pixels of a preview."""
_PHOTOS = 1000
"""Number of photos that are remembered. Their files may be gone before, and are then opened again."""
_MOST_MAPPED = 4_000_000
"""Largest number of pixels of a photo that a style map is made from; larger ones are made smaller first. A painting has
a quarter of them at most."""


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
    """Opened models and photos, and a folder for files that is removed when the studio is closed.

    Args:
        open_upscalers: see `Service`.
        settings: limits.

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
        self.runs = Runs(settings.at_once, settings.max_requests)
        self._store = PhotoStore(settings.max_pixels, settings.max_kept)
        self._lock = Lock()
        self._mapping = Lock()
        """Held while a style map is made, which takes up to half a gigabyte."""
        self._photos: OrderedDict[str, OpenPhoto] = OrderedDict()

    @property
    def folder(self) -> Path:
        """The folder for files of this studio."""
        return self._folder.path

    def close(self) -> None:
        """Stop the runs, close the models and remove the files."""
        self.runs.close()
        self.service.close()
        self._folder.close()

    def new_file(self, name: str) -> ClientFile:
        """A place for a file that a client sends.

        Args:
            name: what the client calls it. It is not trusted: messages and names of results use it, paths don't.
        """
        name = re.sub(r"[\x00-\x1f\x7f]", "", PurePosixPath(name.replace("\\", "/")).name)[-120:]
        return ClientFile(self._folder.subfolder() / "photo", name or "photo")

    def open(self, file: ClientFile) -> tuple[str, OpenPhoto]:
        """Read a photo.

        Returns:
            Its id, which is hard to guess, and the photo.

        Raises:
            ImageError: it is not an image, or too large.
        """
        self._folder.make_room()
        photo = self._store.open(file)
        number = secrets.token_urlsafe(16)
        with self._lock:
            self._photos[number] = photo
            while len(self._photos) > _PHOTOS:
                self._photos.popitem(last=False)
        return number, photo

    def find(self, number: str) -> OpenPhoto:
        """The photo with this id.

        Raises:
            ProblemError: there is none, or its file had to go.
        """
        with self._lock:
            photo = self._photos.get(number)
            if photo is not None:
                self._photos.move_to_end(number)
        if photo is None or not photo.file.path.exists():
            raise ProblemError(HTTPStatus.NOT_FOUND, "this photo is not known here any more; open it again")
        self._folder.touch(photo.file.path)
        return photo

    def pixels(self, photo: OpenPhoto) -> Pixels:
        """(H, W, C).

        Raises:
            ImageError: its file is gone.
        """
        return self._store.pixels(photo)

    def detail(self, photo: OpenPhoto) -> tuple[float, float]:
        """The place that is worth a first look, as shares of width and height."""
        return find_detail(self.pixels(photo))

    def overview(self, photo: OpenPhoto) -> bytes:
        """A WebP file of the whole photo, in a size for browsers."""
        return overview(self.pixels(photo))

    def before(self, photo: OpenPhoto, part: Part, factor: float) -> bytes:
        """A part of the photo by bicubic interpolation, as a PNG file.

        Args:
            factor: pixels of the answer per pixel of the photo.

        Raises:
            UsageError: there is no such part, or it is too large.
        """
        return enlarged(self.pixels(photo), part.within(photo.size), factor)

    def read_map(self, file: ClientFile, photo: OpenPhoto) -> bytes:
        """A style map from an image file, as `plane_for_browser` returns it.

        Raises:
            StyleError: it is not a style map.
            TooLargeError: it has too many pixels.
        """
        try:
            return plane_for_browser(file.read_style(self.settings.max_pixels).values, photo.size)
        finally:
            file.path.unlink(missing_ok=True)

    def make_map(self, kind: str, photo: OpenPhoto) -> bytes:
        """A style map that is made from a photo, as `plane_for_browser` returns it.

        Raises:
            UsageError: `kind` is none of `AUTOMATIC`.
        """
        if kind not in AUTOMATIC:
            raise UsageError(f"there is no style map called {kind[:40]!r}; there are {', '.join(AUTOMATIC)}")
        pixels = self.pixels(photo)
        factor = (_MOST_MAPPED / (photo.size[0] * photo.size[1])) ** 0.5
        if factor < 1:
            pixels = shrunk(pixels, factor)
        with self._mapping:
            plane = AUTOMATIC[kind].make(pixels)
        return plane_for_browser(plane, photo.size)

    def save_map(self, style: StyleChoice, photo: OpenPhoto) -> Path:
        """Write the style as a PNG file of the photo's size, for `fxsr run --t-map`."""
        width, height = photo.size
        values = style.map.over(height, width).rows(slice(0, height))
        plane = np.broadcast_to(values, (height, width))[..., None]
        path = self._folder.subfolder() / f"{photo.name}_t.png"
        write_image(path, Picture(np.rint(plane * 65535).clip(0, 65535).astype(np.uint16)))
        return path

    def fixed_style(self, model: str) -> float | None:
        """The t that a model was exported with. None: the model takes any."""
        return self.service.models[model].info.baked_t

    def preview_limit(self, model: str) -> int:
        """Largest number of pixels of the photo in a preview."""
        return _PREVIEW_ON_CPU if self.service.models[model].info.device.is_cpu else _PREVIEW

    def preview(self, flow: Flow, model: str, photo: OpenPhoto, style: StyleChoice, part: Part) -> bytes:
        """Upscale a part of the photo, as a PNG file.

        Raises:
            UsageError: there is no such part, it is too large, or something is painted and the model's style is fixed.
        """
        check_style_is_free(model, self.fixed_style(model), style.painting)
        if part.within(photo.size).width * part.height > self.preview_limit(model):
            raise UsageError(
                f"a preview may have {self.preview_limit(model)} pixels of the photo; ask for a smaller one"
            )
        width, height = photo.size
        outer = part.grown(MARGIN, photo.size)
        values = style.map.over(height, width).rows(outer.rows)
        t_map = StyleMap(values if values.shape == (1, 1) else values[:, outer.columns])
        served_model = self.service.models[model]
        after = served_model.upscaler(flow)(self.pixels(photo)[outer.rows, outer.columns], t_map)
        scale = served_model.info.scale
        top, left = (part.top - outer.top) * scale, (part.left - outer.left) * scale
        return as_png(after[top : top + part.height * scale, left : left + part.width * scale])

    def start_run(self, model: str, photo: OpenPhoto, style: StyleChoice, format_name: str | None) -> Run:
        """Begin to upscale a photo as `fxsr run` does.

        Args:
            format_name: one of `fxsr.images.formats.FORMATS`; None: the photo's own.

        Raises:
            UsageError: the model's style is fixed, and something is painted, or there is no such format.
            ProblemError: too many runs wait already.
        """
        check_style_is_free(model, self.fixed_style(model), style.painting)
        if format_name is not None:
            format_suffix(format_name)
        flow = self.service.scheduler.flow(model)
        run = Run(flow.abandon)
        self.runs.start(run, lambda progress: self._upscale(flow, model, photo, style, format_name, progress))
        return run

    def _upscale(
        self, flow: Flow, model: str, photo: OpenPhoto, style: StyleChoice, format_name: str | None, progress: Progress
    ) -> Result:
        self._folder.make_room()
        folder = self._folder.subfolder()
        served_model = self.service.models[model]
        options = RunOptions(max_pixels=self.settings.max_pixels)
        upscaled = upscale_file(
            served_model.upscaler(flow), photo.file, style.map, folder, options, format_name, progress
        )
        scale = served_model.info.scale
        target = upscaled.file.rename(folder / f"{photo.name}_x{scale}{upscaled.file.suffix}")
        try:
            view = ResultView.of(target, folder / "view", scale)
        except (ImageError, pyvips.Error, ImportError):  # such as EXR without its extra
            view = None
        size = photo.size[0] * scale, photo.size[1] * scale
        return Result(target, upscaled.media_type, size, upscaled.notes, view)
