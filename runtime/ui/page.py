"""The page: its parts, and what happens when they change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

from fxsr.errors import FxsrError
from fxsr.extras import needs
from fxsr.runtime.serve.images import FORMAT_NAMES
from fxsr.runtime.serve.photos import OpenPhoto
from fxsr.runtime.ui.gradio_settings import prepare_gradio
from fxsr.runtime.ui.guard import PageGuard
from fxsr.runtime.ui.painting import Painting
from fxsr.runtime.ui.studio import AUTOMATIC, WINDOW, Studio, StyleChoice
from fxsr.styles.style_map import DEFAULT_T

with needs("ui"):
    import gradio as gr
    from fastapi import FastAPI

_TITLE = "# FxSR\nUpscale a photo. The dial goes from faithful (0) to crisp (1); paint where the style should differ."
SAME_FORMAT = "same format"
FORMATS = (SAME_FORMAT, *FORMAT_NAMES)
_SESSIONS = 100
"""Number of pages whose state is kept, in memory: a small picture of the photo and the last computed map."""
_WAITING = 64
"""Largest number of a page's events that wait; further ones are refused."""
_CSS = """
.gradio-container { max-width: 1400px !important; margin: 0 auto; }
footer { display: none !important; }
#title p { margin: 0; color: var(--body-text-color-subdued); }
"""


def make_page(studio: Studio) -> PageGuard:
    """The page as an ASGI app. Call `prepare_gradio` first, and import this module after that."""
    prepare_gradio(studio.folder)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    font = ["system-ui", "sans-serif"]  # names only: the themes' own fonts are loaded from other servers
    theme = gr.themes.Soft(primary_hue="orange", font=font, font_mono=["ui-monospace", "monospace"])
    blocks = _blocks(studio)
    blocks.state_session_capacity = _SESSIONS
    blocks.has_launched = (
        True  # otherwise Gradio accepts, and then serves, any file of this machine that a client names
    )
    gr.mount_gradio_app(
        app,
        blocks,
        "/",
        footer_links=[],
        run_history=False,
        theme=theme,
        css=_CSS,
        max_file_size=studio.settings.max_bytes,
        ssr_mode=False,
    )
    return PageGuard(app, studio.settings)


def _blocks(studio: Studio) -> Any:
    source = files("fxsr.runtime.ui")
    html, css, script = (source.joinpath(f"painter.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    names = list(studio.service.models)
    numbers = count()

    with gr.Blocks(title="FxSR", analytics_enabled=False) as blocks:
        photo = gr.State(None)
        gr.Markdown(_TITLE, elem_id="title")
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                upload = gr.File(label="Photo", file_count="single", type="filepath", height=110, elem_id="photo")
                painter = gr.HTML(
                    html_template=html,
                    css_template=css,
                    js_on_load=script,
                    elem_id="painter",
                    photo="",
                    given=None,
                    window=[0, 0],
                )
                with gr.Accordion("Style maps", open=False):
                    with gr.Row():
                        kind = gr.Dropdown(list(AUTOMATIC), label="Automatic map", min_width=160)
                        make = gr.Button("Make it", min_width=90)
                    with gr.Row():
                        load = gr.UploadButton("Load a map", min_width=120)
                        save = gr.Button("Save the map", min_width=120)
                    saved = gr.DownloadButton("Download the map", visible=False, elem_id="saved-map")
            with gr.Column(scale=2, min_width=320):
                t = _dial(studio, names[0])
                model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
                preview = gr.ImageSlider(
                    label="Preview at 100 %: bicubic | FxSR", interactive=False, max_height=420, elem_id="preview"
                )
                with gr.Row():
                    kept = gr.Dropdown(list(FORMATS), value=FORMATS[0], label="Save as", min_width=160)
                    start = gr.Button("Upscale", variant="primary", min_width=120, elem_id="upscale")
                    halt = gr.Button("Stop", min_width=80)
                result = gr.ImageSlider(
                    label="Result, scaled down: bicubic | FxSR", interactive=False, max_height=520, elem_id="result"
                )
                download = gr.DownloadButton("Download the result", visible=False, elem_id="download")

        def open_photo(file: str | None) -> Any:
            if not file:
                return close_photo()
            with _shown_errors():
                photo = studio.open(Path(file))
                size = [min(WINDOW, side) / side for side in photo.size]
                return photo, gr.HTML(photo=studio.shown(photo), given=None, window=size)

        def close_photo() -> Any:
            return None, gr.HTML(photo="", given=None, window=[0, 0])

        def give_painting(painting: Painting) -> Any:
            # numbered, since the page reacts to changes only, and the same painting may be given twice
            return gr.HTML(given={**painting.for_browser(), "number": next(numbers)})

        def make_map(kind: str, chosen: str | None, photo: OpenPhoto | None) -> Any:
            with _shown_errors():
                return give_painting(studio.make_map(kind, _current(chosen, photo)))

        def load_map(file: str, chosen: str | None, photo: OpenPhoto | None) -> Any:
            with _shown_errors():
                return give_painting(studio.read_map(Path(file), _current(chosen, photo)))

        def save_map(chosen: str | None, photo: OpenPhoto | None, t: float, painted: Any) -> Any:
            with _shown_errors():
                file = studio.save_map(StyleChoice(t, Painting.from_browser(painted)), _current(chosen, photo))
                return gr.DownloadButton(value=str(file), visible=True)

        def show_preview(model: str, photo: OpenPhoto | None, t: float, painted: Any) -> Any:
            if photo is None:
                return None
            with _shown_errors():
                x, y = (painted or {}).get("look") or (0.5, 0.5)
                return studio.preview(
                    model, photo, StyleChoice(t, Painting.from_browser(painted)), (float(x), float(y))
                )

        def upscale(
            model: str,
            photo: OpenPhoto | None,
            t: float,
            painted: Any,
            kept: str,
            chosen: str | None,
            request: gr.Request,
            progress: Any = gr.Progress(),  # noqa: B008 # this is how Gradio provides one
        ) -> Any:
            with _shown_errors():
                style = StyleChoice(t, Painting.from_browser(painted))
                file, before, after = studio.run(
                    str(request.session_hash),
                    model,
                    _current(chosen, photo),
                    style,
                    None if kept == SAME_FORMAT else kept,
                    lambda done, total: progress((done, total), unit="tiles"),
                )
                return (before, after), gr.DownloadButton(value=str(file), visible=True)

        def stop_run(request: gr.Request) -> None:
            studio.stop(str(request.session_hash))

        seen = [model, photo, t, painter]
        opening = upload.change(open_photo, upload, [photo, painter], show_progress="hidden")
        opening.failure(close_photo, None, [photo, painter], show_progress="hidden")
        model.change(lambda model: _dial(studio, model), model, t, show_progress="hidden")
        make.click(make_map, [kind, upload, photo], painter)
        load.upload(load_map, [load, upload, photo], painter)
        save.click(save_map, [upload, photo, t, painter], saved)
        for change in (t.input, painter.change, model.change):
            change(show_preview, seen, preview, show_progress="hidden", trigger_mode="always_last")
        start.click(upscale, [*seen, kept, upload], [result, download], concurrency_limit=studio.settings.at_once)
        halt.click(stop_run, show_progress="hidden")
        blocks.unload(stop_run)
    return blocks.queue(default_concurrency_limit=4, max_size=_WAITING)


def _dial(studio: Studio, model: str) -> Any:
    fixed = studio.fixed_style(model)
    if fixed is not None:
        return gr.Slider(0, 1, fixed, label="Style t: fixed in this model", interactive=False, elem_id="dial")
    label = "Style t: 0 faithful, 1 crisp"
    return gr.Slider(0, 1, DEFAULT_T, step=0.01, label=label, interactive=True, elem_id="dial")


def _current(chosen: str | None, photo: OpenPhoto | None) -> OpenPhoto:
    """The photo, if it is the chosen file: the page keeps an earlier photo until the next one is read.

    Raises:
        FxsrError: it is not.
    """
    if photo is None or chosen is None or photo.file.path != Path(chosen):
        raise FxsrError("no photo is open yet")
    return photo


@contextmanager
def _shown_errors() -> Iterator[None]:
    """Errors raised in the block become messages on the page."""
    try:
        yield
    except (FxsrError, MemoryError, OSError) as error:
        raise gr.Error(str(error) or type(error).__name__, print_exception=False) from error
