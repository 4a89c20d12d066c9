from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fxsr.errors import StyleError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.jobs.jobs import Done, Failure, Job, RunOptions
from fxsr.runtime.jobs.pipeline import do_job, run_jobs
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.styles.options import StyleOptions
from fxsr.styles.style_map import StyleMap
from tests.support import NearestSession

OPTIONS = RunOptions(StyleOptions(0.5, range=(0.2, 1), feather=2))


def silent(job: Job) -> Progress:
    return lambda done, total: None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, b.png and the style map map.png, of other sizes."""
    rng = np.random.default_rng(5)
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", Picture(rng.integers(0, 200, (20, 30, 3), np.uint8)))
    write_image(tmp_path / "map.png", Picture(rng.integers(0, 255, (7, 9, 1), np.uint8)))
    return tmp_path


def test_a_decoded_map_is_used_like_its_file_and_is_not_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler(NearestSession(gain=0.2), 16, 4)
    style = StyleMap.read(folder / "map.png")
    from_file = [Job(folder / f"{name}.png", folder / f"{name}1.png", folder / "map.png") for name in ("a", "b")]
    decoded = [Job(folder / f"{name}.png", folder / f"{name}2.png", style) for name in ("a", "b")]
    assert all(isinstance(result, Done) for result in run_jobs(from_file, upscaler, OPTIONS, silent))
    monkeypatch.delattr(StyleMap, "read")
    assert all(isinstance(result, Done) for result in run_jobs(decoded, upscaler, OPTIONS, silent))
    for name in ("a", "b"):
        assert (folder / f"{name}1.png").read_bytes() == (folder / f"{name}2.png").read_bytes()
    plain = Upscaler(NearestSession(gain=0.2), 16, 4)(read_image(folder / "a.png").pixels, 0)
    assert not np.array_equal(read_image(folder / "a2.png").pixels, plain)


def test_a_map_that_cannot_be_read_fails_its_image_alone(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no map")
    jobs = [
        Job(folder / "a.png", folder / "a1.png", folder / "broken.png"),
        Job(folder / "b.png", folder / "b1.png", folder / "map.png"),
    ]
    upscaler = Upscaler(NearestSession(), 16, 4)
    failure, done = run_jobs(jobs, upscaler, OPTIONS, silent)
    assert isinstance(failure, Failure)
    assert "broken.png: not an image" in failure.reason
    assert isinstance(done, Done)
    with pytest.raises(StyleError, match=r"broken\.png: not an image"):
        do_job(jobs[0], upscaler, OPTIONS, silent(jobs[0]))
