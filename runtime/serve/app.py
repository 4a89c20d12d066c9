"""All routes as one ASGI app; `fxsr.runtime.serve.server` runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Annotated, Any

import fxsr
from fxsr.errors import DeviceLostError, UsageError
from fxsr.extras import needs
from fxsr.images.formats import FORMATS
from fxsr.runtime.jobs.jobs import RunOptions
from fxsr.runtime.serve.exchange import Message, Receive, Send
from fxsr.runtime.serve.failures import answer_failures
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.guard import Guard
from fxsr.runtime.serve.images import ClientFile, UpscaledFile, format_suffix, parse_automatic, upscale_file
from fxsr.runtime.serve.metrics import Metrics
from fxsr.runtime.serve.openapi import IMAGES, INFER, METRICS, TENSORS, problems
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.protocol import VERSION, describe_model, infer
from fxsr.runtime.serve.scheduler import Flow
from fxsr.runtime.serve.service import ServedModel, Service
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.serve.tensors import decode_request, encode_response, inflate
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.options import StyleOptions, check_style_is_free
from fxsr.styles.style_map import StyleMap

with needs("serve"):
    from fastapi import FastAPI, File, Form, Request, Response, UploadFile
    from fastapi.responses import FileResponse
    from fastapi_offline import FastAPIOffline
    from starlette.requests import ClientDisconnect

_SMALL = 1 << 20
"""Files up to this size, in bytes, are sent from memory."""


def create_app(
    open_upscalers: Callable[[], Mapping[str, Upscaler]],
    settings: Settings | None = None,
    batch: int | None = None,
    on_device_lost: Callable[[DeviceLostError], None] = lambda error: None,
) -> Guard:
    """An ASGI app that serves models. They are opened here, and closed when the app's lifespan ends.

    Args:
        open_upscalers: returns upscalers by name, the default model first; called in the thread that uses their
            sessions.
        settings: limits; None means the defaults.
        batch, on_device_lost: see `fxsr.runtime.serve.scheduler.Scheduler`.

    Raises:
        FxsrError: a model can't be opened.
    """
    settings = settings or Settings()
    metrics = Metrics(lambda: guard.in_flight, lambda: service.scheduler.waiting)
    service = Service(open_upscalers, settings, batch, metrics.batch, on_device_lost)
    folder = OwnFolder(settings.max_stored)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()
        folder.close()

    app = FastAPIOffline(
        redoc_url=None,
        title="FxSR",
        version=fxsr.__version__,
        summary="Super-resolution with a style dial.",
        lifespan=lifespan,
    )
    answer_failures(app)
    _Routes(service, metrics, folder).add_to(app)
    guard = Guard(app, settings, metrics.request)
    return guard


class _Routes:
    """What the server does at each path."""

    def __init__(self, service: Service, metrics: Metrics, folder: OwnFolder) -> None:
        self._service = service
        self._folder = folder
        self._metrics = metrics
        self._mapping = Lock()
        """Held while an automatic style map is made, which takes up to half a gigabyte."""

    def add_to(self, app: FastAPI) -> None:
        """Add all routes to an app."""
        app.add_api_route("/v1/upscale", self.upscale, methods=["POST"], response_class=Response, responses=IMAGES)
        app.add_api_route("/metrics", self.metrics, response_class=Response, responses=METRICS)
        for path, answer in (
            ("/v2", self.server),
            ("/v2/health/live", self.live),
            ("/v2/health/ready", self.ready),
        ):
            app.add_api_route(path, answer, responses=problems(401, 403, 421, 503))
        for path in ("/v2/models/{name}", f"/v2/models/{{name}}/versions/{VERSION}"):
            app.add_api_route(path, self.model, responses=problems(401, 403, 421, 404))
            app.add_api_route(f"{path}/ready", self.model_ready, responses=problems(401, 403, 421, 404, 503))
            app.add_api_route(
                f"{path}/infer",
                self.infer,
                methods=["POST"],
                response_class=Response,
                responses=TENSORS,
                openapi_extra=INFER,
            )

    async def upscale(
        self,
        request: Request,
        image: UploadFile,
        t: Annotated[
            float | None, Form(ge=0, le=1, description="Style; with a t_map, a factor for its values.")
        ] = None,
        t_map: Annotated[
            UploadFile | str | None,
            File(
                description="Style per pixel, as an image: black is t = 0, white is t = 1. Or the word auto, for a map "
                "that is made from the image; or its parts by name, as in auto:faces+focus."
            ),
        ] = None,
        t_feather: Annotated[
            float, Form(ge=0, le=1000, description="Pixels by which hard borders in the map are softened.")
        ] = 0,
        format: Annotated[
            str | None,
            Form(
                description="In upper or lower case. Default: the image's format.",
                json_schema_extra={"enum": [*FORMATS]},
            ),
        ] = None,
        quality: Annotated[
            int | None,
            Form(ge=1, le=100, description="Quality of JPEG and WebP. Default: 95; lossless WebP stays lossless."),
        ] = None,
        lossless: Annotated[bool, Form(description="WebP without loss. Excludes quality and the format JPEG.")] = False,
        outscale: Annotated[
            float | None, Form(gt=0, le=64, description="Size relative to the image. Default: the model's scale.")
        ] = None,
        model: Annotated[str | None, Form(description="Name of a model. Default: the first.")] = None,
    ) -> Response:
        """Upscale an image. The header `Fxsr-Notes` lists what the output format could not keep."""
        served_model = self._find(model, HTTPStatus.UNPROCESSABLE_ENTITY) if model else self._service.default
        check_style_is_free(served_model.name, served_model.info.baked_t, t, t_map)
        if format is not None:
            format_suffix(format)  # before the image is stored
        if lossless and quality is not None:
            raise UsageError("lossless and quality contradict each other; set one of them")
        map_choice = parse_automatic(t_map) if isinstance(t_map, str) else t_map
        limit = self._service.settings.max_pixels
        style_options = StyleOptions(t, feather=t_feather)
        options = RunOptions(style_options, quality, outscale=outscale, lossless=lossless, max_pixels=limit)
        folders: list[TemporaryDirectory[str]] = []

        def work(flow: Flow) -> Response:
            folder = TemporaryDirectory(dir=self._folder.path, ignore_cleanup_errors=True)
            folders.append(folder)
            place = Path(folder.name)
            photo = ClientFile.store(image.file, place, "image")
            style = self._style_map(map_choice, photo, flow)
            upscaled = upscale_file(served_model.upscaler(flow), photo, style, place, options, format)
            if isinstance(map_choice, AutomaticStyle):
                upscaled = replace(upscaled, notes=(*map_choice.notes, *upscaled.notes))
            return _file_response(folder, upscaled)

        def release() -> None:
            for folder in folders:
                folder.cleanup()

        sent = sum(each.size or 0 for each in (image, t_map) if not isinstance(each, str | None))
        return await self._service.attend(served_model, request.receive, work, sent, release)

    def _style_map(self, choice: UploadFile | AutomaticStyle | None, photo: ClientFile, flow: Flow) -> StyleMap | None:
        """The style map of a request: read from the client's file, or made from its photo."""
        limit = self._service.settings.max_pixels
        if isinstance(choice, AutomaticStyle):
            with self._mapping:
                flow.check()  # the client may have gone while others' maps were made
                return photo.make_style(choice, limit)
        if choice is None:
            return None
        return ClientFile.store(choice.file, photo.path.parent, "t_map").read_style(limit)

    async def server(self) -> dict[str, Any]:
        """Name, version and protocol extensions of this server."""
        return {"name": "fxsr", "version": fxsr.__version__, "extensions": ["binary_tensor_data"]}

    async def live(self) -> dict[str, bool]:
        """Whether the server is running."""
        return {"live": True}

    async def ready(self) -> dict[str, bool]:
        """Whether at least one model works."""
        self._check_ready(*self._service.models)
        return {"ready": True}

    async def model(self, name: str) -> dict[str, Any]:
        """Inputs and outputs of a model."""
        return describe_model(self._find(name))

    async def model_ready(self, name: str) -> dict[str, Any]:
        """Whether a model exists and works."""
        served_model = self._find(name)
        self._check_ready(served_model.name)
        return {"name": served_model.name, "ready": True}

    async def infer(self, request: Request, name: str) -> Response:
        """Upscale tensors, as JSON or with the binary tensor extension."""
        served_model = self._find(name)
        settings = self._service.settings
        head, encoding = (request.headers.get(key) for key in ("Inference-Header-Content-Length", "Content-Encoding"))
        try:
            body = await request.body()
        except ClientDisconnect as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "the connection was closed") from error

        def work(flow: Flow) -> tuple[bytes, Mapping[str, str]]:
            tensors = decode_request(inflate(body, encoding, settings.max_bytes) if encoding else body, head)
            return encode_response(
                served_model.name, VERSION, tensors, infer(served_model, flow, tensors, settings.max_pixels)
            )

        answer, headers = await self._service.attend(served_model, request.receive, work, len(body))
        return Response(answer, headers=dict(headers))

    async def metrics(self) -> Response:
        """Counters for Prometheus."""
        body, media_type = self._metrics.text()
        return Response(body, media_type=media_type)

    def _find(self, name: str, status: int = HTTPStatus.NOT_FOUND) -> ServedModel:
        try:
            return self._service.models[name]
        except KeyError:
            raise ProblemError(status, f"no such model; there are {', '.join(self._service.models)}") from None

    def _check_ready(self, *models: str) -> None:
        """Refuse if none of these models works.

        Raises:
            ProblemError: the last batch of each failed recently.
        """
        failing = [self._service.scheduler.failing(name) for name in models]
        if all(failing):
            raise ProblemError.busy(HTTPStatus.SERVICE_UNAVAILABLE, f"the last batch failed: {failing[0]}")


def _file_response(folder: TemporaryDirectory[str], upscaled: UpscaledFile) -> Response:
    """A response that sends an image file. Its folder is removed when it was sent, or could not be."""
    headers = {"Content-Disposition": f'attachment; filename="{upscaled.file.name}"'}
    if upscaled.notes:
        headers["Fxsr-Notes"] = "; ".join(upscaled.notes).encode("ascii", "replace").decode()
    if upscaled.file.stat().st_size > _SMALL:
        return _TemporaryFileResponse(folder, upscaled, headers)
    with folder:
        return Response(upscaled.file.read_bytes(), headers=headers, media_type=upscaled.media_type)


class _TemporaryFileResponse(FileResponse):
    def __init__(self, folder: TemporaryDirectory[str], upscaled: UpscaledFile, headers: Mapping[str, str]) -> None:
        super().__init__(upscaled.file, media_type=upscaled.media_type, headers=dict(headers))
        self._folder = folder

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._folder.cleanup()
