"""The benchmarks run and print what they claim to measure; how fast is not asked here."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fxsr.benchmarks.__main__ import app
from fxsr.benchmarks.sheet import draw_sheet
from fxsr.errors import UsageError
from fxsr.images.image import Picture, read_image, write_image
from tests.support import SAMPLE, write_photos


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_image(tmp_path / "photo.png", Picture(read_image(SAMPLE).pixels[90:150, 140:210]))
    return tmp_path / "photo.png"


def test_seams_get_smaller_as_the_overlap_grows(photo: Path) -> None:
    done = CliRunner().invoke(app, ["seams", str(photo), "--tile", "32", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["images"][str(photo)]
    assert [row["overlap"] for row in rows] == [0, 4, 8, 16]
    assert [row["psnr_db"] for row in rows] == sorted(row["psnr_db"] for row in rows)
    assert rows[0]["work"] < rows[-1]["work"]


def test_the_dial_picture_holds_the_input_and_each_style(photo: Path, tmp_path: Path) -> None:
    crop = ["--crop", "10", "20", "16", "12"]
    done = CliRunner().invoke(app, ["dial", str(photo), *crop, "-o", str(tmp_path / "dial.png")])
    assert done.exit_code == 0, done.output
    picture = read_image(tmp_path / "dial.png").pixels
    assert picture.shape == (48, 3 * 64 + 2 * 12, 3)
    lr = read_image(photo).pixels[20:32, 10:26]
    assert (picture[::4, :64:4] == lr).all()


def test_engines_compares_sides_in_both_styles(tmp_path: Path) -> None:
    try:
        importlib.metadata.version("fxsr")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fxsr is not installed, and the processes of this benchmark import it")
    arguments = ["engines", "--nb", "1", "--size", "16", "--rounds", "2", "--only", "fxsr", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "fxsr.benchmarks", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = [row for row in found["rows"] if "OpenVINO" not in row["side"]]
    sides = [("map", "eager PyTorch"), ("map", "fxsr ONNX"), ("uniform", "eager PyTorch"), ("uniform", "fxsr ONNX")]
    assert [(row["style"], row["side"]) for row in rows] == [*sides, ("uniform", "fxsr ONNX, t baked in")]
    assert all(row["nb"] == 1 and row["seconds"] > 0 and row["host_mb"] > 0 for row in rows)
    assert all((row["ratio"] is None) == (row["side"] == "eager PyTorch") for row in rows)
    written = sorted(tmp_path.glob("engines-*"))
    assert [path.suffix for path in written] == [".json", ".md"]
    assert json.loads(written[0].read_text()) == found
    assert "| 1 | uniform | fxsr ONNX, t baked in |" in written[1].read_text()


def test_a_cold_start_is_timed_beside_what_it_stands_on() -> None:
    try:
        importlib.metadata.version("fxsr")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fxsr is not installed, and the processes of this benchmark import it")
    done = CliRunner().invoke(app, ["coldstart", str(SAMPLE), "--runs", "1", "--json"])
    assert done.exit_code == 0, done.output
    medians = [row["stats"]["median"] for row in json.loads(done.stdout)["rows"]]
    assert medians == sorted(medians)


def test_a_contact_sheet_holds_every_style_next_to_bicubic_and_teachers(tmp_path: Path) -> None:
    from fxsr.training.resize import bicubic_upscale
    from tests.training import write_ncnn

    pixels = read_image(SAMPLE).pixels[90:122, 140:180]
    write_image(tmp_path / "photos" / "one.png", Picture(pixels))
    write_ncnn(tmp_path / "net.param")
    out = tmp_path / "sheet.png"
    options = ["--t", "0", "--t", "1", "--teacher", str(tmp_path / "net.param"), "--side", "16", "-o", str(out)]
    done = CliRunner().invoke(app, ["sheet", str(tmp_path / "photos"), *options])
    assert done.exit_code == 0, done.output
    sheet = read_image(out).pixels
    assert sheet.shape == (22 + 64 + 28, 4 * 64 + 3 * 6, 3)
    assert np.array_equal(sheet[22:86, :64], bicubic_upscale(pixels, 4)[32:96, 48:112])
    assert not np.array_equal(sheet[22:86, 70:134], sheet[22:86, 140:204])


def test_a_sheet_of_no_picture_format_is_refused(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sheet\.txt: contact sheets are written as"):
        draw_sheet(photo.parent, tmp_path / "sheet.txt", "fxsr-pd-x4-small")


def test_acceptance_prints_figures_and_fails_when_one_is_missed(tmp_path: Path) -> None:
    for name in ("native", "bsd-like", "set5-like"):
        write_photos(tmp_path / name, 1, (32, 32))
    done = CliRunner().invoke(app, ["acceptance", str(tmp_path), "--kind", "pd", "--json"])
    assert done.exit_code == 1, done.output
    figures = json.loads(done.stdout)
    assert any("LR-PSNR at t = 0" in figure["name"] for figure in figures)
    assert any(figure["accepted"] is False for figure in figures)
