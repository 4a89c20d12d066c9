"""The page as an ASGI app: its files, and the routes that they call. Their contract is with the page alone.

Everything that a client sends lies in the body, as bytes: a photo, a map, or a painting (see
`fxsr.runtime.ui.painting`). Nothing names a file or an address of another machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import fxsr
from fxsr.extras import needs
from fxsr.runtime.serve.failures import answer_failures
from fxsr.runtime.serve.guard import Guard
from fxsr.runtime.serve.images import FORMAT_NAMES, ClientFile
from fxsr.runtime.serve.photos import OpenPhoto
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.ui.maps import offered_maps, suggestion
from fxsr.runtime.ui.painting import Painting, painting_size
from fxsr.runtime.ui.static import FilesOfPage
from fxsr.runtime.ui.studio import Studio, StyleChoice
from fxsr.runtime.ui.views import Part
from fxsr.styles.style_map import DEFAULT_T

with needs("ui"):
    from fastapi import FastAPI, Query, Request, Response
    from fastapi.responses import FileResponse
    from starlette.requests import ClientDisconnect

T = TypeVar("T")
Style = Annotated[float, Query(ge=0, le=1)]
Name = Annotated[str, Query(max_length=400)]
Pixel = Annotated[int, Query(ge=0)]

_MOST_PAINTING = 3 << 20
"""Largest size of a deflated painting, in bytes: two planes of a megapixel that can't be compressed fit."""
_FILE_POLICY = "default-src 'none'; sandbox"
_PNG, _WEBP, _BYTES = "image/png", "image/webp", "application/octet-stream"


def make_page(studio: Studio) -> Guard:
    """The page as an ASGI app, for requests of its own origin."""
    routes = _Routes(studio)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        routes.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    answer_failures(app)
    routes.add_to(app)
    return Guard(app, studio.settings, lambda method, route, status, seconds: None)


class _Routes:
    """What the server does at each path."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._files = FilesOfPage()
        self._pool = ThreadPoolExecutor(studio.settings.at_once, "page")

    def close(self) -> None:
        self._pool.shutdown()

    def add_to(self, app: FastAPI) -> None:
        """Add all routes to an app."""
        for method, path, answer in (
            ("GET", "/", self.index),
            ("GET", "/page/{name}", self.file),
            ("GET", "/api/setup", self.setup),
            ("POST", "/api/photos", self.open),
            ("GET", "/api/photos/{photo}/overview", self.overview),
            ("GET", "/api/photos/{photo}/before", self.before),
            ("POST", "/api/photos/{photo}/preview", self.preview),
            ("GET", "/api/photos/{photo}/maps/{kind}", self.make_map),
            ("POST", "/api/photos/{photo}/read-map", self.read_map),
            ("POST", "/api/photos/{photo}/save-map", self.save_map),
            ("POST", "/api/photos/{photo}/runs", self.start),
            ("GET", "/api/runs/{run}", self.report),
            ("POST", "/api/runs/{run}/stop", self.stop),
            ("GET", "/api/runs/{run}/part", self.part),
            ("GET", "/api/runs/{run}/file", self.download),
        ):
            app.add_api_route(path, answer, methods=[method], response_model=None)

    async def index(self, request: Request) -> Response:
        return self._files.answer("index.html", request)

    async def file(self, request: Request, name: str) -> Response:
        return self._files.answer(name, request)

    async def setup(self) -> dict[str, Any]:
        """What the page needs to know before a photo is open."""
        models = self._studio.service.models
        return {
            "version": fxsr.__version__,
            "t": DEFAULT_T,
            "models": [
                {
                    "name": name,
                    "scale": model.info.scale,
                    "fixed": self._studio.fixed_style(name),
                    "preview": self._studio.preview_limit(name),
                }
                for name, model in models.items()
            ],
            "suggestion": suggestion(),
            "maps": offered_maps(),
            "formats": FORMAT_NAMES,
            "limits": {"bytes": self._studio.settings.max_bytes, "pixels": self._studio.settings.max_pixels},
        }

    async def open(self, request: Request, name: Name) -> dict[str, Any]:
        file = await self._receive(request, name)

        def work() -> tuple[str, OpenPhoto, tuple[float, float]]:
            try:
                number, photo = self._studio.open(file)
            except BaseException:
                file.path.unlink(missing_ok=True)
                raise
            return number, photo, self._studio.detail(photo)

        number, photo, detail = await self._do(work)
        return {
            "id": number,
            "name": file.name,
            "format": photo.suffix[1:],
            "width": photo.size[0],
            "height": photo.size[1],
            "bits": photo.dtype.itemsize * 8,
            "alpha": photo.has_alpha,
            "bytes": file.path.stat().st_size,
            "notes": photo.notes,
            "detail": detail,
            "painting": painting_size(*photo.size),
        }

    async def overview(self, photo: str) -> Response:
        found = self._studio.find(photo)
        return _shown(await self._do(lambda: self._studio.overview(found)), _WEBP)

    async def before(
        self, photo: str, x: Pixel, y: Pixel, w: Pixel, h: Pixel, factor: Annotated[float, Query(gt=0, le=16)]
    ) -> Response:
        found = self._studio.find(photo)
        return _shown(await self._do(lambda: self._studio.before(found, Part(x, y, w, h), factor)), _PNG)

    async def preview(
        self, request: Request, photo: str, model: Name, t: Style, x: Pixel, y: Pixel, w: Pixel, h: Pixel
    ) -> Response:
        found, part = self._studio.find(photo), Part(x, y, w, h)
        self._check_model(model)
        style = await self._style(request, found, t)
        served = self._studio.service.models[model]
        png = await self._studio.service.attend(
            served, request.receive, lambda flow: self._studio.preview(flow, model, found, style, part)
        )
        return _shown(png, _PNG)

    async def make_map(self, photo: str, kind: str) -> Response:
        found = self._studio.find(photo)
        return _shown(await self._do(lambda: self._studio.make_map(kind, found)), _BYTES)

    async def read_map(self, request: Request, photo: str, name: Name) -> Response:
        found = self._studio.find(photo)
        file = await self._receive(request, name)
        return _shown(await self._do(lambda: self._studio.read_map(file, found)), _BYTES)

    async def save_map(self, request: Request, photo: str, t: Style) -> Response:
        found = self._studio.find(photo)
        style = await self._style(request, found, t)
        path = await self._do(lambda: self._studio.save_map(style, found))
        return FileResponse(path, media_type=_PNG, filename=path.name, headers=_file_headers())

    async def start(
        self, request: Request, photo: str, model: Name, t: Style, format: Name | None = None
    ) -> dict[str, Any]:
        found = self._studio.find(photo)
        self._check_model(model)
        style = await self._style(request, found, t)
        return (await self._do(lambda: self._studio.start_run(model, found, style, format))).report()

    async def report(self, run: str) -> dict[str, Any]:
        return self._studio.runs.find(run).report()

    async def stop(self, run: str) -> dict[str, Any]:
        found = self._studio.runs.find(run)
        found.stop()
        return found.report()

    async def part(self, run: str, x: Pixel, y: Pixel, w: Pixel, h: Pixel, level: Pixel) -> Response:
        result = self._studio.runs.find(run).result
        if result is None or result.view is None or not result.view.path.exists():
            raise ProblemError(HTTPStatus.NOT_FOUND, "there is no result to show")
        view = result.view
        return _shown(await self._do(lambda: view.part(Part(x, y, w, h), level)), _PNG)

    async def download(self, run: str) -> Response:
        result = self._studio.runs.find(run).result
        if result is None or not result.file.exists():
            raise ProblemError(HTTPStatus.NOT_FOUND, "this result is not here any more; upscale again")
        return FileResponse(
            result.file, media_type=result.media_type, filename=result.file.name, headers=_file_headers()
        )

    async def _do(self, work: Callable[[], T]) -> T:
        """Work in a thread, of which there are a few, so that the memory of all requests is bounded."""
        return await asyncio.wrap_future(self._pool.submit(work))

    async def _receive(self, request: Request, name: str) -> ClientFile:
        """The body as a file. The guard bounds its size."""
        file = self._studio.new_file(name)
        try:
            with file.path.open("wb") as target:
                async for chunk in request.stream():
                    target.write(chunk)
        except BaseException as error:
            file.path.unlink(missing_ok=True)
            if isinstance(error, ClientDisconnect):
                raise _gone() from error
            raise
        return file

    async def _style(self, request: Request, photo: OpenPhoto, t: float) -> StyleChoice:
        """The dial and the painting in the body."""
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_PAINTING:
                    raise ProblemError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a painting may have {_MOST_PAINTING} bytes"
                    )
        except ClientDisconnect as error:
            raise _gone() from error
        return StyleChoice(t, Painting.from_browser(bytes(body), photo.size))

    def _check_model(self, name: str) -> None:
        if name not in self._studio.service.models:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"no such model; there are {', '.join(self._studio.service.models)}"
            )


def _gone() -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "the connection was closed")


def _shown(body: bytes, media_type: str) -> Response:
    """What the page's script reads; opened by itself, it is a download."""
    return Response(body, media_type=media_type, headers=_file_headers() | {"Content-Disposition": "attachment"})


def _file_headers() -> dict[str, str]:
    return {"Content-Security-Policy": _FILE_POLICY, "Cache-Control": "no-store"}
