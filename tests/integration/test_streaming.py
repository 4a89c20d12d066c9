"""Files of any size from top to bottom: through decoder, session and encoder at once, in memory that stays the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from fxsr.errors import FxsrError, ImageError
from fxsr.images import writing as image_writing
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.reading import open_rows
from fxsr.images.rows import Rows
from fxsr.images.writing import write_rows
from fxsr.runtime.jobs.forecast import forecast_jobs
from fxsr.runtime.jobs.jobs import FAILURES, Done, Failure, Forecast, Job, RunOptions, job_failure
from fxsr.runtime.jobs.pipeline import do_job, run_jobs
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.options import StyleOptions
from fxsr.styles.style_map import StyleMap
from tests.support import ROOT, NearestSession

RNG = np.random.default_rng(3)
OPTIONS = RunOptions(StyleOptions(0))


def noise(channels: int, dtype: Any = np.uint8, size: tuple[int, int] = (50, 70)) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return (RNG.random((*size, channels)) * 3 - 0.5).astype(dtype)  # beyond 0..1
    return RNG.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


def nearest(image: NDArray[Any]) -> NDArray[Any]:
    return image.repeat(4, 0).repeat(4, 1)


def silent(job: Job) -> Progress:
    return lambda done, total: None


def run_one(source: Path, target: Path, options: RunOptions = OPTIONS) -> Done | Failure:
    """How a job ends in several threads, which is how it ends in one."""
    upscaler = Upscaler(NearestSession(), 32, 8)
    job = Job(source, target)
    (result,) = run_jobs([job], upscaler, options, silent)
    written = target.read_bytes() if target.exists() else None
    target.unlink(missing_ok=True)
    alone: Done | Failure
    try:
        alone = do_job(job, upscaler, options, silent(job))
    except FAILURES as error:
        alone = job_failure(job, error)
    match result, alone:
        case Done(), Done():
            assert (alone.size, alone.notes) == (result.size, result.notes)
            assert target.read_bytes() == written
        case _:
            assert alone == result
            assert written is None
            assert not target.exists()
    return result


_PEAK = "import sys, cli; from fxsr.benchmarks.memory import measure_memory as m; print(m({}, 1024, '{}').peak_mb)"


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_an_image_eight_times_as_high_takes_no_more_memory(suffix: str, figures: list[str]) -> None:
    def peak(height: int) -> float:
        command = [sys.executable, "-c", _PEAK.format(height, suffix)]
        return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    low, high = peak(1024), peak(8192)
    figures.append(f"peak memory, 1024 pixels wide, {suffix}: {low:.0f} MB at 1024 rows, {high:.0f} MB at 8192")
    # the larger output alone is 400 MB; on a busy machine queues fill up that were never full before
    assert high < low + 200


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_go_through_unchanged(suffix: str, channels: int, tmp_path: Path) -> None:
    pixels = noise(channels)
    write_image(tmp_path / f"a{suffix}", Picture(pixels))
    result = run_one(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert isinstance(result, Done), result
    assert result.size == (280, 200)
    assert np.array_equal(read_image(tmp_path / f"b{suffix}").pixels, nearest(pixels))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint16, 1), (np.float32, 1e-6)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_of_16_bit_and_of_floats_stays_so_and_floats_are_not_clamped(
    channels: int, dtype: Any, tolerance: float, tmp_path: Path
) -> None:
    pixels = noise(channels, dtype)
    if channels in (2, 4):
        pixels[..., -1] = 1 if dtype == np.float32 else 65535
    write_image(tmp_path / "a.tif", Picture(pixels))
    assert isinstance(run_one(tmp_path / "a.tif", tmp_path / "b.tif"), Done)
    read = read_image(tmp_path / "b.tif").pixels
    assert read.dtype == dtype
    assert np.abs(read.astype(np.float64) - nearest(pixels)).max() <= tolerance


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_exr_goes_through_and_is_not_clamped(channels: int, tmp_path: Path) -> None:
    pixels = noise(channels, np.float32)
    if channels in (2, 4):
        pixels[..., -1] = RNG.random(pixels.shape[:2]).clip(0.1, 1)
    write_image(tmp_path / "a.exr", Picture(pixels))
    assert np.allclose(read_image(tmp_path / "a.exr").pixels, pixels, atol=1e-5)
    result = run_one(tmp_path / "a.exr", tmp_path / "b.exr")
    assert isinstance(result, Done), result
    assert np.allclose(read_image(tmp_path / "b.exr").pixels, nearest(pixels), atol=1e-5)


@pytest.mark.parametrize("space", ["labs", "lab", "xyz"])
def test_other_colour_spaces_keep_their_depth(space: str, tmp_path: Path) -> None:
    pixels = np.linspace(0, 65535, 24 * 16 * 3).reshape(16, 24, 3).astype(np.uint16)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16")
    image.colourspace(space).write_to_file(str(tmp_path / "a.tif"))
    found = read_image(tmp_path / "a.tif").pixels
    assert found.dtype == np.uint16
    assert np.abs(found.astype(int) - pixels).max() < 512  # 2 of 255; gamuts differ near black in xyz


def test_exr_holds_linear_light_multiplied_by_alpha(tmp_path: Path) -> None:
    import OpenEXR

    write_image(tmp_path / "a.exr", Picture(np.full((20, 3, 4), [255, 188, 0, 128], np.uint8)))
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        light = file.channels()["RGBA"].pixels
    assert light.shape == (20, 3, 4)
    half = 128 / 255
    assert np.allclose(light, [half, 0.5029 * half, 0, half], atol=1e-4)  # sRGB's 188 is half as much light


def test_exr_of_numbers_is_taken_as_it_is(tmp_path: Path) -> None:
    import OpenEXR

    depth = np.linspace(1, 9, 20, dtype=np.float32).reshape(4, 5)
    depth[0, 0] = np.inf
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Z": depth}) as file:
        file.write(str(tmp_path / "z.exr"))
    depth[0, 0] = 9
    assert np.array_equal(read_image(tmp_path / "z.exr", as_data=True).pixels[..., 0], depth)
    with pytest.raises(ImageError, match="has the channels Z"):
        read_image(tmp_path / "z.exr")
    write_image(tmp_path / "half.exr", Picture(np.full((4, 5, 1), 0.5, np.float32)))  # as light, 0.21
    assert StyleMap.read(tmp_path / "half.exr").values == pytest.approx(0.214, abs=1e-3)


@pytest.mark.parametrize("suffix", [".bmp", ".exr"])
def test_metadata_that_a_format_cannot_hold_is_named(suffix: str, tmp_path: Path) -> None:
    profile = pyvips.Image.black(2, 2, bands=3).copy(interpretation="srgb").icc_export(output_profile="srgb")
    profile.write_to_file(str(tmp_path / "a.png"))
    picture = read_image(tmp_path / "a.png")
    assert "icc-profile-data" in picture.metadata
    (note,) = write_image(tmp_path / f"b{suffix}", picture)
    assert f"{suffix} holds no ICC profile" in note


def test_other_channels_of_exr_are_named(tmp_path: Path) -> None:
    import OpenEXR

    planes = {name: np.ones((4, 5), np.float16) for name in ("R", "G", "B", "depth")}
    header = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, planes) as file:
        file.write(str(tmp_path / "a.exr"))
    picture = read_image(tmp_path / "a.exr")
    assert picture.notes == ("channel depth is left out",)
    assert picture.pixels.shape == (4, 5, 3)
    with OpenEXR.File(header, {"depth": planes["depth"]}) as file:
        file.write(str(tmp_path / "b.exr"))
    with pytest.raises(ImageError, match=r"b\.exr: has the channels depth; R, G, B or Y, and A, can be upscaled"):
        read_image(tmp_path / "b.exr")


@pytest.mark.parametrize("part", [0.0005, 0.01, 0.5, 0.99])
def test_an_exr_file_that_is_cut_is_refused_in_one_line(
    part: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.exr", Picture(noise(3, np.float32, (300, 200))))
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(data[: max(5, int(len(data) * part))])
    with pytest.raises(ImageError, match=r"a\.exr: not an image that can be read, or a damaged one"):
        read_image(tmp_path / "a.exr")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA", "DWAB"])
def test_exr_is_read_in_any_compression(compression: str, tmp_path: Path) -> None:
    import OpenEXR

    light = np.linspace(0, 1, 300 * 40, dtype=np.float32).reshape(300, 40)
    header = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION"), "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Y": light}) as file:
        file.write(str(tmp_path / "a.exr"))
    assert read_image(tmp_path / "a.exr").pixels.shape == (300, 40, 1)


def test_large_tiff_is_tiled_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_writing, "_BIG", 1000)
    pixels = noise(3)
    write_image(tmp_path / "a.tif", Picture(pixels))
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    assert pyvips.Image.new_from_file(str(tmp_path / "a.tif")).get("tile-width") == 256
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize(("outscale", "size"), [(2.5, (175, 125)), (0.5, (35, 25)), (4, (280, 200)), (6, (420, 300))])
@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_outscale_resamples(outscale: float, size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    ramp = np.linspace(0.2, 0.8, 70, dtype=np.float32)[None, :, None].repeat(50, 0).repeat(3, 2)
    write_image(tmp_path / "a.tif", Picture(ramp))
    result = run_one(tmp_path / "a.tif", tmp_path / f"b{suffix}", replace(OPTIONS, outscale=outscale))
    assert isinstance(result, Done), result
    assert result.size == size
    pixels = read_image(tmp_path / f"b{suffix}").pixels
    assert pixels.shape == (size[1], size[0], 3)
    values = pixels / (65535 if suffix == ".png" else 1)
    expected = np.interp((np.arange(size[0]) + 0.5) / outscale - 0.5, np.arange(70), ramp[0, :, 0])
    assert np.abs(values - expected[None, :, None]).max() < 0.6 / 70  # what nearest-neighbour enlargement leaves


def test_an_error_amid_the_rows_is_that_error_and_leaves_nothing(tmp_path: Path) -> None:
    def bands() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((30, 40, 3), np.uint8)
        raise FxsrError("the device fell off")

    rows = Rows(1000, 40, 3, np.dtype(np.uint8), bands())
    with pytest.raises(FxsrError, match="the device fell off"):
        write_rows(tmp_path / "a.png", rows)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_stops_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, name: str, **options: Any) -> None:
        raise pyvips.Error("disk full")

    monkeypatch.setattr(pyvips.Image, "write_to_file", full)
    taken = 0

    def bands() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((64, 1000, 3), np.uint8)

    with pytest.raises(ImageError, match=r"a\.png: cannot be written \(disk full\)"):
        write_rows(tmp_path / "a.png", Rows(64 * 10**6, 1000, 3, np.dtype(np.uint8), bands()))
    assert taken < 1000
    assert list(tmp_path.iterdir()) == []


def test_damage_late_in_a_file_fails_that_file_alone(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png", Picture(noise(3, size=(600, 200))))
    data = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data[: len(data) * 3 // 4])
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / "out" / f"{name}.png") for name in ("a", "b", "c")]
    a, b, c = run_jobs(jobs, Upscaler(NearestSession(), 32, 8), OPTIONS, silent)
    assert isinstance(a, Done)
    assert isinstance(b, Failure)
    assert "damaged" in b.reason
    assert isinstance(c, Done)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_results_come_in_the_order_of_the_jobs(at_once: int, tmp_path: Path) -> None:
    sizes = {"a": (300, 60), "b": (5, 5), "c": (120, 7), "d": (1, 1), "e": (64, 64)}
    images = {name: noise(3, size=size) for name, size in sizes.items()}
    for name, pixels in images.items():
        write_image(tmp_path / f"{name}.png", Picture(pixels))
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / "out" / f"{name}.png") for name in images]
    results = list(run_jobs(jobs, Upscaler(NearestSession(), 32, 8), OPTIONS, silent, at_once))
    assert [result.job for result in results if isinstance(result, Done)] == jobs
    for name, pixels in images.items():
        assert np.array_equal(read_image(tmp_path / "out" / f"{name}.png").pixels, nearest(pixels))


def test_while_one_is_encoded_the_next_is_upscaled_and_the_session_stays_in_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_begun = threading.Event()
    waits: list[bool] = []
    write: Callable[..., None] = pyvips.Image.write_to_file

    def slow(self: Any, name: str, **options: Any) -> None:
        waits.append(second_begun.wait(20))
        write(self, name, **options)

    class Watched(NearestSession):
        def run(self, lr: NDArray[Any], t_map: NDArray[Any]) -> NDArray[Any]:
            assert threading.current_thread() is threading.main_thread()
            return super().run(lr, t_map)

    def begin(job: Job) -> Progress:
        if job.source.name == "b.png":
            second_begun.set()
        return silent(job)

    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", Picture(noise(3)))
    monkeypatch.setattr(pyvips.Image, "write_to_file", slow)
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / f"{name}4.png") for name in ("a", "b")]
    results = list(run_jobs(jobs, Upscaler(Watched()), OPTIONS, begin, 2))
    assert all(isinstance(result, Done) for result in results), results
    assert waits == [True, True]


def test_stopping_amid_a_run_leaves_nothing_half_written(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png", Picture(noise(3, size=(200, 200))))
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / "out" / f"{name}.png") for name in ("a", "b", "c")]

    def begin(job: Job) -> Progress:
        def progress(done: int, total: int) -> None:
            if job.source.name == "b.png" and done == total // 2:
                raise SystemExit(130)

        return progress

    with pytest.raises(SystemExit):
        list(run_jobs(jobs, Upscaler(NearestSession(), 32, 8), OPTIONS, begin, 3))
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written <= {"a.png"}
    for name in written:
        assert read_image(tmp_path / "out" / name).pixels.shape == (800, 800, 3)


def test_a_format_that_is_too_small_is_found_before_the_work(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Picture(np.zeros((2, 5000, 3), np.uint8)))
    session = NearestSession()
    (result,) = run_jobs([Job(tmp_path / "a.png", tmp_path / "a.webp")], Upscaler(session), OPTIONS, silent)
    assert isinstance(result, Failure)
    assert "20000x8 is too large for .webp" in result.reason
    assert not session.seen


def test_a_forecast_agrees_with_what_is_done(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Picture(noise(4, size=(100, 60))))
    (tmp_path / "broken.png").write_bytes(b"no image")
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / f"{name}_x2.png") for name in ("a", "broken")]
    options = replace(OPTIONS, outscale=2)
    upscaler = Upscaler(NearestSession(batch=2), 32, 8)
    forecast, broken = forecast_jobs(jobs, upscaler, options)
    assert isinstance(forecast, Forecast)
    assert isinstance(broken, Failure)
    assert not (tmp_path / "a_x2.png").exists()
    totals: set[int] = set()
    (done,) = run_jobs(jobs[:1], upscaler, options, lambda job: lambda done, total: totals.add(total))
    assert isinstance(done, Done)
    assert (forecast.size, {forecast.tiles}) == (done.size, totals)
    assert forecast.seconds > 0


def test_rows_of_a_file_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    pixels = noise(3, size=(4000, 2000))
    write_image(tmp_path / "a.tif", Picture(pixels))
    rows = open_rows(tmp_path / "a.tif")
    bands = list(rows.bands)
    assert len(bands) > 4
    assert np.array_equal(np.concatenate(bands), pixels)
