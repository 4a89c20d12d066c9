"""What a run leaves for people to look at: figures in the logs, and pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import MissingExtraError
from fxsr.images.image import read_image
from fxsr.training.cache import Pixels
from fxsr.training.loop import train
from fxsr.training.monitor import RunMonitor
from tests.support import tiny_recipe, wait_until


def recorded(photos: Path, out: Path, *overrides: str, stop: bool = False) -> None:
    recipe = tiny_recipe(photos, *overrides)
    with RunMonitor(recipe, out, quiet=True) as monitor:
        train(recipe, out, monitor, should_stop=lambda: stop, device="cpu")


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Figures by name, (step, value) each, from TensorBoard's files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found: dict[str, list[tuple[int, float]]] = {}
    for path in folder.glob("events.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.dtype == 1:
                    found.setdefault(value.tag, []).append((event.step, float(make_ndarray(value.tensor))))
    return found


def test_time_crops_and_memory_are_in_the_log(photos: Path, tmp_path: Path) -> None:
    recorded(photos, tmp_path, "conditional.steps=0", "psnr.accumulate=2")
    found = events(tmp_path / "log")
    assert [step for step, _ in found["psnr/seconds_per_step"]] == [1, 2, 3, 4]
    for (_, seconds), (_, samples) in zip(
        found["psnr/seconds_per_step"], found["psnr/samples_per_second"], strict=True
    ):
        assert seconds * samples == pytest.approx(8, rel=1e-4)  # two batches of four
    assert all(memory > 0.05 for _, memory in found["psnr/memory_gib"])


def test_measuring_is_no_part_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from fxsr.training import speed

    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    watch = speed.Stopwatch(4, torch.device("cpu"))
    now = 10.0
    with watch.paused():
        now = 110.0
    assert watch.lap(5).seconds == 2
    now = 112.0
    assert watch.lap(1).samples == 2


def test_every_validation_picture_is_a_file(photos: Path, tmp_path: Path) -> None:
    validation = [f"validation.hr={photos}", "validation.images=2", "validation.features=none", "validation.every=2"]
    recorded(photos, tmp_path, *validation, "validation.pictures=2")
    folders = sorted(path.name for path in (tmp_path / "validation").iterdir() if path.is_dir())
    assert folders == ["conditional-0000002", "conditional-0000004"]  # the newest two of four
    names = sorted(path.name for path in (tmp_path / "validation" / folders[0]).iterdir())
    assert len(names) == 2 * 5
    assert names[0] == "000-photo0-t0.25.png"
    picture = read_image(tmp_path / "validation" / folders[1] / "001-photo1-t1.png").pixels
    assert picture.shape == (60, 72, 3)
    assert picture.dtype == np.uint8


class _Difference:
    """Stands in for the perceptual distance, which needs weights."""

    def __init__(self, weights: str) -> None: ...

    def to(self, device: object) -> None: ...

    def __call__(self, sr: Pixels, hr: Pixels) -> NDArray[np.float32]:
        error: NDArray[np.float32] = np.abs(sr.astype(np.float32) - hr).mean(2)
        return error


@pytest.mark.parametrize("installed", [True, False])
def test_measurements_are_plotted_if_matplotlib_is_there(
    installed: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fxsr.training.monitor.PerceptualDistance", _Difference)
    if not installed:
        monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it fails
    validation = [f"validation.hr={photos}", "validation.images=1", "validation.every=2", "validation.diversity=0"]
    recorded(photos, tmp_path, *validation, "conditional.steps=0")
    files = {path.name for path in (tmp_path / "validation").iterdir() if path.is_file()}
    figures = {"psnr-0000002.json", "psnr-0000004.json"}
    assert files == figures | ({"psnr-0000002.png", "psnr-0000004.png"} if installed else set())
    notes = [line for line in capsys.readouterr().err.splitlines() if "measurements are not plotted" in line]
    assert len(notes) == (0 if installed else 1)


def test_pictures_can_be_left_out(photos: Path, tmp_path: Path) -> None:
    validation = [f"validation.hr={photos}", "validation.features=none", "validation.pictures=0"]
    recorded(photos, tmp_path, *validation, "conditional.steps=0")
    assert not [path for path in (tmp_path / "validation").iterdir() if path.is_dir()]


def offline_records(path: Path) -> Iterator[bytes]:
    """The records of a file of wandb: blocks of 32 KiB with pieces, as in LevelDB's logs."""
    data, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + 7 + length > len(data):  # it is being written
            return
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            yield record
            record = b""


def offline_runs(folder: Path) -> list[dict[str, Any]]:
    """The name and the history of each offline run of wandb in a folder, and whether all of it is written."""
    from wandb.proto import wandb_internal_pb2 as proto

    found = []
    for path in sorted(folder.rglob("run-*.wandb")):
        rows: dict[str, Any] = {}
        for data in offline_records(path):
            record = proto.Record()  # type: ignore[attr-defined]
            record.ParseFromString(data)
            if record.HasField("run"):
                rows["id"] = record.run.run_id
            if record.HasField("exit"):
                rows["ended"] = True
            for item in record.history.item:
                rows.setdefault("/".join(item.nested_key) or item.key, []).append(item.value_json)
        found.append(rows)
    return found


@pytest.mark.filterwarnings("ignore")  # those of wandb are not ours
def test_wandb_records_a_run_in_its_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "settings"))
    validation = [f"validation.hr={photos}", "validation.images=1", "validation.features=none"]
    recorded(photos, tmp_path / "run", "wandb=offline", "conditional.steps=0", *validation)
    log = tmp_path / "run" / "log"
    wait_until(lambda: [run.get("ended") for run in offline_runs(log)] == [True])  # wandb writes in its own process
    (found,) = offline_runs(log)
    assert found["id"] == (log / "wandb-id.txt").read_text()
    assert len(found["psnr/l1"]) == len(found["psnr/seconds_per_step"]) == 4
    assert [float(value) for value in found["psnr/l1"]] == pytest.approx(
        [value for _, value in events(log)["psnr/l1"]], rel=1e-6
    )
    assert "psnr/psnr/t=0.25" in found
    assert list(log.rglob("files/media/images/psnr/photo0.png_*.png"))


def test_wandb_is_not_even_imported_by_default(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    recorded(photos, tmp_path, "conditional.steps=0", stop=True)
    assert list((tmp_path / "log").glob("events.*"))
    assert not (tmp_path / "log" / "wandb-id.txt").exists()


def test_wandb_that_is_missing_is_named_with_its_extra(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r'wandb is not installed; .* pip install "\.\[wandb\]"'):
        RunMonitor(tiny_recipe(photos, "wandb=online"), tmp_path)
