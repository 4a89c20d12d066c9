"""The page's work without a page: paintings, previews, whole images."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.errors import FxsrError, ImageError, StyleError, UsageError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.serve.images import ClientFile
from fxsr.runtime.serve.photos import OpenPhoto
from fxsr.runtime.serve.problems import ProblemError
from fxsr.runtime.serve.settings import Settings
from fxsr.runtime.ui.maps import AUTOMATIC, AutomaticMap
from fxsr.runtime.ui.painting import SIDE, Painting, painting_size, plane_for_browser
from fxsr.runtime.ui.runs import Run, RunState
from fxsr.runtime.ui.studio import Studio, StyleChoice
from fxsr.runtime.ui.views import Part
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.style_map import StyleMap
from tests.support import NearestSession, wait_until

RNG = np.random.default_rng(4)
PIXELS = RNG.integers(0, 200, (150, 260, 3), np.uint8)
ALL = Part(0, 0, 260, 150)


@pytest.fixture
def studio() -> Iterator[Studio]:
    with Studio(lambda: {"m": Upscaler(NearestSession(gain=0.2), 64, 8)}, Settings(max_pixels=100_000)) as studio:
        yield studio
    assert not studio.folder.exists()


def opened(studio: Studio, pixels: Any = PIXELS, name: str = "photo.png") -> OpenPhoto:
    file = studio.new_file(name)
    write_image(file.path.with_suffix(Path(name).suffix), Picture(pixels))
    file.path.with_suffix(Path(name).suffix).rename(file.path)
    return studio.open(file)[1]


@pytest.fixture
def photo(studio: Studio) -> OpenPhoto:
    return opened(studio)


def left_half() -> Painting:
    """t = 0 on the left, nothing on the right."""
    cover = np.zeros((150, 260), np.uint8)
    cover[:, :130] = 255
    return Painting(np.zeros_like(cover), cover)


def ended(run: Run) -> Run:
    wait_until(lambda: run.state in (RunState.DONE, RunState.FAILED, RunState.STOPPED))
    return run


def preview(studio: Studio, photo: OpenPhoto, style: StyleChoice, part: Part, model: str = "m") -> Any:
    png = studio.preview(studio.service.scheduler.flow(model), model, photo, style, part)
    (studio.folder / "preview.png").write_bytes(png)
    return read_image(studio.folder / "preview.png").pixels


def packed(painting: Painting) -> bytes:
    return zlib.compress(painting.style.tobytes() + painting.cover.tobytes())


def test_a_painting_arrives_from_the_browser_as_it_was() -> None:
    painting = Painting(RNG.integers(0, 255, (7, 5), np.uint8), RNG.integers(0, 255, (7, 5), np.uint8))
    back = Painting.from_browser(packed(painting), (5, 7))
    assert back is not None
    assert np.array_equal(back.style, painting.style)
    assert np.array_equal(back.cover, painting.cover)
    assert Painting.from_browser(b"", (5, 7)) is None


@pytest.mark.parametrize(
    "body",
    [b"not deflated", zlib.compress(b"1234567"), zlib.compress(bytes(69)), zlib.compress(bytes(range(70)))[:-20]],
)
def test_what_is_no_painting_is_refused(body: bytes) -> None:
    with pytest.raises(StyleError, match="not a painting"):
        Painting.from_browser(body, (5, 7))


def test_a_painting_that_would_unpack_to_more_takes_no_more_memory() -> None:
    bomb = zlib.compress(bytes(50 << 20))
    painting = Painting.from_browser(bomb, (5, 7))
    assert painting is not None
    assert painting.cover.shape == (7, 5)


def test_a_painting_covers_the_dial_as_far_as_it_reaches() -> None:
    painting = Painting(np.array([[255, 0, 255]], np.uint8), np.array([[0, 255, 51]], np.uint8))
    assert painting.over(0.5).values == pytest.approx(np.array([[0.5, 0, 0.2 + 0.8 * 0.5]]))


@pytest.mark.parametrize(
    ("size", "expected"), [((800, 600), (800, 600)), ((4096, 2048), (1024, 512)), ((9000, 1), (1024, 1))]
)
def test_paintings_are_of_bounded_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert painting_size(*size) == expected
    assert max(expected) <= SIDE


def test_a_map_reaches_the_browser_in_the_size_of_a_painting() -> None:
    plane = np.tile(np.linspace(0, 1, 2048, dtype=np.float32), (1024, 1))
    sent = np.frombuffer(plane_for_browser(plane, (2048, 1024)), np.uint8).reshape(512, 1024)
    assert (sent[:, 0].max(), sent[:, -1].min()) == (0, 255)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("photo.png", "photo"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\p.png", "p"),
        ("a\r\nSet-Cookie: x.png", "aSet-Cookie: x"),
        ("", "photo"),
        ("été.jpeg", "été"),
        ("x" * 400 + ".png", "x" * 116),
    ],
)
def test_names_of_clients_are_names_and_no_paths(studio: Studio, name: str, stem: str) -> None:
    file = studio.new_file(name)
    assert file.path.parent.parent == studio.folder
    assert Path(file.name).stem == stem


def test_a_run_is_that_of_a_map_and_the_preview_is_a_piece_of_it(studio: Studio, photo: OpenPhoto) -> None:
    style = StyleChoice(1, left_half())
    run = ended(studio.start_run("m", photo, style, None))
    report = run.report()
    assert json.loads(json.dumps(report))["state"] == "done"
    assert report["done"] == report["total"] > 1
    assert report["result"]["name"] == "photo_x4.png"
    assert (report["result"]["width"], report["result"]["height"]) == (1040, 600)
    assert run.result
    result = read_image(run.result.file).pixels
    assert np.array_equal(result[:, :500], PIXELS.repeat(4, 0).repeat(4, 1)[:, :500])
    assert np.array_equal(result[:, 540:], (PIXELS + np.uint8(51)).repeat(4, 0).repeat(4, 1)[:, 540:])
    saved = StyleMap.read(studio.save_map(style, photo))
    assert saved.values.shape == (150, 260)
    assert np.array_equal(Upscaler(NearestSession(gain=0.2), 64, 8)(PIXELS, saved), result)
    part = preview(studio, photo, style, Part(100, 30, 90, 60))
    assert np.array_equal(part, result[120:360, 400:760])


def test_a_uniform_style_needs_no_map(studio: Studio, photo: OpenPhoto) -> None:
    run = ended(studio.start_run("m", photo, StyleChoice(0.5), "webp"))
    assert run.result
    assert run.result.file.suffix == ".webp"
    assert run.result.media_type == "image/webp"
    assert np.unique(StyleMap.read(studio.save_map(StyleChoice(0.25), photo)).values) == pytest.approx([0.25], abs=1e-4)


@pytest.mark.parametrize("kind", ["gif", "avif", "tif"])
def test_other_formats_are_opened_too(studio: Studio, kind: str) -> None:
    import pyvips

    file = studio.new_file(f"photo.{kind}")
    options = {"lossless": True} if kind == "avif" else {}
    file.path.write_bytes(
        pyvips.Image.new_from_array(PIXELS).copy(interpretation="srgb").write_to_buffer(f".{kind}", **options)
    )
    _, photo = studio.open(file)
    assert (photo.suffix, photo.size, photo.name) == (f".{kind}", (260, 150), "photo")
    run = ended(studio.start_run("m", photo, StyleChoice(0), None))
    assert run.result
    assert run.result.file.suffix == (".tif" if kind == "tif" else ".png")


def test_a_stopped_run_ends(studio: Studio, photo: OpenPhoto) -> None:
    stopped = Run(lambda reason: None)
    stopped.stop()
    stopped.do(lambda progress: pytest.fail("it was stopped"))
    assert stopped.state is RunState.STOPPED
    run = studio.start_run("m", photo, StyleChoice(0), None)
    run.stop()
    assert ended(run).report()["state"] in ("stopped", "done")


def test_a_run_that_no_page_asks_about_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsr.runtime.ui.runs._FORGOTTEN", -1.0)
    reasons: list[str] = []

    def work(progress: Any) -> Any:
        progress(1, 9)
        raise FxsrError(reasons[0])

    run = Run(reasons.append)
    run.do(work)
    assert reasons == ["stopped"]
    assert run.state is RunState.STOPPED


def test_why_a_run_failed_is_one_sentence_without_paths() -> None:
    def work(progress: Any) -> Any:
        raise OSError(28, "No space left on device", "/tmp/fxsr-files-1/x")

    run = Run(lambda reason: None)
    run.do(work)
    assert run.report()["state"] == "failed"
    assert run.report()["error"] == "the server could not do this request"


def test_a_fixed_style_is_not_painted_over() -> None:
    fixed = NearestSession(gain=0.2, baked_t=0.5)
    with Studio(lambda: {"f": Upscaler(fixed, 64, 8)}, Settings(max_pixels=100_000)) as studio:
        photo = opened(studio)
        assert studio.fixed_style("f") == 0.5
        preview(studio, photo, StyleChoice(0.8), Part(0, 0, 50, 50), "f")
        with pytest.raises(UsageError, match="f was exported with t fixed at 0\\.5; leave out"):
            preview(studio, photo, StyleChoice(0.8, left_half()), Part(0, 0, 50, 50), "f")
        with pytest.raises(UsageError, match="f was exported with t fixed at 0\\.5; leave out"):
            studio.start_run("f", photo, StyleChoice(0.8, left_half()), None)


@pytest.mark.parametrize(
    "part", [Part(0, 0, 261, 10), Part(250, 0, 11, 10), Part(0, 149, 10, 2), Part(0, 0, 0, 10), Part(-1, 0, 10, 10)]
)
def test_a_part_lies_inside_the_photo(studio: Studio, photo: OpenPhoto, part: Part) -> None:
    with pytest.raises(UsageError, match="are no part of 260x150"):
        preview(studio, photo, StyleChoice(0.8), part)
    with pytest.raises(UsageError, match="are no part of 260x150"):
        studio.before(photo, part, 1)


@pytest.mark.parametrize("kind", AUTOMATIC)
def test_automatic_maps_are_made_by_name(kind: str, studio: Studio, photo: OpenPhoto) -> None:
    assert AUTOMATIC[kind].description.endswith(".")
    assert len(studio.make_map(kind, photo)) == 150 * 260


def test_maps_of_large_photos_are_made_from_smaller_ones(
    studio: Studio, photo: OpenPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def make(pixels: Any) -> Any:
        seen.append(pixels.shape)
        return np.ones(pixels.shape[:2], np.float32)

    monkeypatch.setattr("fxsr.runtime.ui.studio._MOST_MAPPED", 150 * 260 // 4)
    monkeypatch.setattr("fxsr.runtime.ui.studio.AUTOMATIC", {"all": AutomaticMap("Crisp.", make)})
    assert set(studio.make_map("all", photo)) == {255}
    assert seen == [(75, 130, 3)]


def test_an_unknown_map_is_named(studio: Studio, photo: OpenPhoto) -> None:
    with pytest.raises(UsageError, match="no style map called 'clouds'; there are auto, faces, "):
        studio.make_map("clouds", photo)


def test_a_map_of_a_file_is_laid_over_the_photo(studio: Studio, photo: OpenPhoto, tmp_path: Path) -> None:
    write_image(tmp_path / "map.png", Picture(np.array([[[0], [255]]], np.uint8)))
    file = ClientFile(tmp_path / "map.png", "map.png")
    plane = np.frombuffer(studio.read_map(file, photo), np.uint8).reshape(150, 260)
    assert (plane[0, 0], plane[0, -1]) == (0, 255)
    assert not file.path.exists()
    file.path.write_bytes(b"no map")
    with pytest.raises(StyleError, match="map\\.png"):
        studio.read_map(file, photo)


@pytest.mark.parametrize("data", [b"no image", b"", b"<svg/>", b"\x89PNG\r\n\x1a\nmore"])
def test_what_is_no_photo_is_named_without_its_folder(data: bytes, studio: Studio) -> None:
    file = studio.new_file("notes.png")
    file.path.write_bytes(data)
    with pytest.raises(ImageError, match=r"^notes\.png: ") as caught:
        studio.open(file)
    assert str(studio.folder) not in str(caught.value)


def test_a_photo_that_is_too_large_is_refused(studio: Studio) -> None:
    with pytest.raises(ImageError, match=r"large\.png: 300x400 has more than the 100000 pixels"):
        opened(studio, np.zeros((400, 300, 1), np.uint8), "large.png")


def test_a_photo_whose_file_had_to_go_is_opened_again(studio: Studio) -> None:
    file = studio.new_file("photo.png")
    write_image(file.path.with_suffix(".png"), Picture(PIXELS))
    file.path.with_suffix(".png").rename(file.path)
    number, photo = studio.open(file)
    assert studio.find(number) is photo
    file.path.unlink()
    for unknown in (number, "something else"):
        with pytest.raises(ProblemError, match="open it again"):
            studio.find(unknown)
