"""Files of any size from top to bottom: through decoder, session and encoder at once, in memory that stays the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.jobs.forecast import forecast_jobs
from fxsr.runtime.jobs.jobs import FAILURES, Done, Failure, Forecast, Job, RunOptions, job_failure
from fxsr.runtime.jobs.pipeline import do_job, run_jobs
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.options import StyleOptions
from tests.support import PATIENCE, ROOT, NearestSession, noise

RNG = np.random.default_rng(3)
OPTIONS = RunOptions(StyleOptions(0))


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
    write: Callable[..., None] = pyvips.Image.write_to_target

    def slow(self: Any, *target: Any, **options: Any) -> None:
        waits.append(second_begun.wait(PATIENCE))
        write(self, *target, **options)

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
    monkeypatch.setattr(pyvips.Image, "write_to_target", slow)
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
