"""All routes as one ASGI app; `fxsr.runtime.serve.server` runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
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
from fxsr.runtime.serve.background import JobQueue, JobRequest, JobState
from fxsr.runtime.serve.failures import answer_failures
from fxsr.runtime.serve.folder import OwnFolder
from fxsr.runtime.serve.guard import Guard
from fxsr.runtime.serve.images import ClientFile, UpscaledFile, format_suffix, parse_automatic, upscale_file
from fxsr.runtime.serve.job_routes import JobRoutes, job_accepted, wants_job
from fxsr.runtime.serve.metrics import Metrics
from fxsr.runtime.serve.model_routes import ModelRoutes
from fxsr.runtime.serve.openapi import IMAGES, INFER, METRICS, TENSORS, bearer_token, problems
from fxsr.runtime.serve.pace import TileWork
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.protocol import EXTENSIONS, VERSION, image_sizes, infer
from fxsr.runtime.serve.scheduler import Flow
from fxsr.runtime.serve.sending import file_response
from fxsr.runtime.serve.service import ImageSizes, Service
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.serve.tensors import InferRequest, decode_request, encode_response, inflate
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.options import StyleOptions, check_style_is_free
from fxsr.styles.style_map import StyleMap

with needs("serve"):
    from fastapi import APIRouter, FastAPI, File, Form, Header, Request, Response, UploadFile
    from fastapi.params import Depends
    from fastapi.responses import RedirectResponse
    from fastapi_offline import FastAPIOffline
    from starlette.requests import ClientDisconnect

_SWEEP = 30
"""Seconds between two looks for results of jobs whose time is over."""


def create_app(
    open_upscalers: Callable[[], Mapping[str, Upscaler]],
    settings: Settings | None = None,
    batch: int | None = None,
    on_device_lost: Callable[[DeviceLostError], None] = lambda error: None,
    log: Callable[[str], None] | None = None,
) -> Guard:
    """An ASGI app that serves models. They are opened here, and closed when the app's lifespan ends.

    Args:
        open_upscalers: returns upscalers by name, the default model first; called in the thread that uses their
            sessions.
        settings: limits; None means the defaults.
        batch, on_device_lost: see `fxsr.runtime.serve.scheduler.Scheduler`.
        log: called with a line about each request; see `fxsr.runtime.serve.access_log`.

    Raises:
        FxsrError: a model can't be opened.
    """
    settings = settings or Settings()
    metrics = Metrics(
        in_flight=lambda: guard.in_flight,
        waiting=lambda: service.scheduler.waiting,
        backlog=lambda: service.backlog.seconds,
        jobs={state.value: partial(lambda state: jobs.count(state), state) for state in JobState},
        stored=lambda: jobs.stored,
    )
    service = Service(open_upscalers, settings, batch, metrics.batch, on_device_lost)
    folder = OwnFolder(settings.max_stored)
    jobs = JobQueue(service, metrics.job)

    async def sweep() -> None:
        while True:
            await asyncio.sleep(min(_SWEEP, settings.keep_seconds))
            jobs.forget_old()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.ensure_future(sweep())
        yield
        sweeping.cancel()
        jobs.close()
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
    _Routes(service, jobs, metrics, folder).add_to(app, bearer_token() if settings.token else ())
    guard = Guard(app, settings, metrics.request, log)
    return guard


class _Routes:
    """What the server does at each path."""

    def __init__(self, service: Service, jobs: JobQueue, metrics: Metrics, folder: OwnFolder) -> None:
        self._service = service
        self._jobs = jobs
        self._folder = folder
        self._metrics = metrics
        self._mapping = Lock()
        """Held while an automatic style map is made, which takes up to half a gigabyte."""

    def add_to(self, app: FastAPI, token: Sequence[Depends]) -> None:
        """Add all routes to an app.

        Args:
            token: what those routes depend on that need a token; for the page about them, since `Guard` checks it.
        """
        app.add_api_route("/", self.root, include_in_schema=False)
        for path, answer in (("/v2/health/live", self.live), ("/v2/health/ready", self.ready)):
            app.add_api_route(path, answer, responses=problems(403, 421, 503))
        router = APIRouter(dependencies=[*token])
        router.add_api_route("/v1/upscale", self.upscale, methods=["POST"], response_class=Response, responses=IMAGES)
        JobRoutes(self._jobs, self._folder).add_to(router)
        router.add_api_route("/metrics", self.metrics, response_class=Response, responses=METRICS)
        router.add_api_route("/v2", self.server, responses=problems(401, 403, 421))
        ModelRoutes(self._service).add_to(router)
        for path in ("/v2/models/{name}", f"/v2/models/{{name}}/versions/{VERSION}"):
            router.add_api_route(
                f"{path}/infer",
                self.infer,
                methods=["POST"],
                response_class=Response,
                responses=TENSORS,
                openapi_extra=INFER,
            )
        app.include_router(router)

    async def root(self) -> Response:
        """Lead people to the page about the API."""
        return RedirectResponse("/docs")

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
        prefer: Annotated[
            str | None, Header(description="respond-async: answer at once, with the address of a job.")
        ] = None,
    ) -> Response:
        """Upscale an image. The header `Fxsr-Notes` lists what the output format could not keep."""
        service = self._service
        served_model = service.find(model, HTTPStatus.UNPROCESSABLE_ENTITY) if model else service.default
        check_style_is_free(served_model.name, served_model.info.baked_t, t, t_map)
        if format is not None:
            format_suffix(format)  # before the image is stored
        if lossless and quality is not None:
            raise UsageError("lossless and quality contradict each other; set one of them")
        map_choice = parse_automatic(t_map) if isinstance(t_map, str) else t_map
        limit = self._service.settings.max_pixels
        style_options = StyleOptions(t, feather=t_feather)
        options = RunOptions(style_options, quality, outscale=outscale, lossless=lossless, max_pixels=limit)
        folder = TemporaryDirectory(dir=self._folder.path, ignore_cleanup_errors=True)
        place = Path(folder.name)

        def measure() -> TileWork:
            photo = ClientFile.store(image.file, place, "image")
            if map_choice and not isinstance(map_choice, AutomaticStyle):
                ClientFile.store(map_choice.file, place, "t_map")
            return service.tile_work(served_model, ImageSizes(*photo.size(limit), uniform=not map_choice))

        def work(flow: Flow, progress: Progress) -> UpscaledFile:
            photo = ClientFile(place / "image", "image")
            style = self._style_map(map_choice, photo, flow)
            upscaled = upscale_file(served_model.upscaler(flow), photo, style, place, options, format, progress)
            more = map_choice.notes if isinstance(map_choice, AutomaticStyle) else ()
            return replace(upscaled, notes=(*more, *upscaled.notes))

        if wants_job(prefer):
            tile_work = await service.prepare(request.receive, measure, folder.cleanup)
            return job_accepted(self._jobs, self._jobs.submit(JobRequest(tile_work, folder, work)))
        sent = sum(each.size or 0 for each in (image, t_map) if not isinstance(each, str | None))
        return await service.attend(
            served_model,
            request.receive,
            lambda flow: file_response(folder, work(flow, lambda done, total: None)),
            sent,
            folder.cleanup,
            measure,
        )

    def _style_map(self, choice: UploadFile | AutomaticStyle | None, photo: ClientFile, flow: Flow) -> StyleMap | None:
        """The style map of a request: read from the client's file, or made from its photo."""
        limit = self._service.settings.max_pixels
        if isinstance(choice, AutomaticStyle):
            with self._mapping:
                flow.check()  # the client may have gone while others' maps were made
                return photo.make_style(choice, limit)
        if choice is None:
            return None
        return ClientFile(photo.path.with_name("t_map"), "t_map").read_style(limit)

    async def server(self) -> dict[str, Any]:
        """Name, version and protocol extensions of this server."""
        return {"name": "fxsr", "version": fxsr.__version__, "extensions": EXTENSIONS}

    async def live(self) -> dict[str, bool]:
        """Whether the server is running."""
        return {"live": True}

    async def ready(self) -> dict[str, bool]:
        """Whether at least one model works."""
        self._service.check_ready(*self._service.models)
        return {"ready": True}

    async def infer(self, request: Request, name: str) -> Response:
        """Upscale tensors, as JSON or with the binary tensor extension."""
        served_model = self._service.find(name)
        settings = self._service.settings
        head, encoding = (request.headers.get(key) for key in ("Inference-Header-Content-Length", "Content-Encoding"))
        try:
            body = await request.body()
        except ClientDisconnect as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "the connection was closed") from error

        decoded: list[InferRequest] = []

        def measure() -> TileWork | None:
            decoded.append(decode_request(inflate(body, encoding, settings.max_bytes) if encoding else body, head))
            sizes = image_sizes(served_model, decoded[0])
            return self._service.tile_work(served_model, sizes) if sizes else None

        def work(flow: Flow) -> tuple[bytes, Mapping[str, str]]:
            tensors = decoded.pop()
            return encode_response(
                served_model.name, VERSION, tensors, infer(served_model, flow, tensors, settings.max_pixels)
            )

        answer, headers = await self._service.attend(served_model, request.receive, work, len(body), measure=measure)
        return Response(answer, headers=dict(headers))

    async def metrics(self) -> Response:
        """Counters for Prometheus."""
        body, media_type = self._metrics.text()
        return Response(body, media_type=media_type)
