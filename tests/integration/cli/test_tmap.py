"""`fxsr tmap` as a user meets it: real files, a process of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.images.image import Picture, read_image, write_image
from tests.support import ROOT, SAMPLE, fxsr_cli, fxsr_here, write_photos

PAGE = (ROOT / "docs" / "style-maps.md").read_text(encoding="utf-8")


def grey(path: Path) -> NDArray[Any]:
    pixels = read_image(path).pixels
    assert pixels.shape[2] == 1
    return pixels[..., 0]


def test_a_gradient_of_16_bit_steers_a_run(tmp_path: Path) -> None:
    write_photos(tmp_path, 1, (24, 40))
    photo, made = tmp_path / "photo0.png", tmp_path / "map.png"
    done = fxsr_cli("tmap", "gradient", "-o", made, "--like", photo, "--span", "0.45,0.55", "--bits", "16", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"output": str(made), "size": [40, 24]}
    assert grey(made).dtype == np.uint16
    assert (grey(made)[:, 0] == 0).all()
    assert (grey(made)[:, -1] == 65535).all()
    for name, option, value in (("map", "--t-map", made), ("0", "--t", "0"), ("1", "--t", "1")):
        done = fxsr_cli("run", photo, option, value, "-o", tmp_path / f"sr{name}.png")
        assert done.returncode == 0, done.stderr
    mapped, faithful, crisp = (read_image(tmp_path / f"sr{name}.png").pixels.astype(int) for name in ("map", "0", "1"))
    assert np.abs(mapped - faithful)[:, :16].max() <= 1
    assert np.abs(mapped - crisp)[:, -16:].max() <= 1
    assert np.abs(crisp - faithful).max() > 10


def test_feathering_and_range_of_a_run_equal_those_of_a_made_map(tmp_path: Path) -> None:
    write_photos(tmp_path, 1, (24, 40))
    photo, mask, made = tmp_path / "photo0.png", tmp_path / "mask.png", tmp_path / "made.png"
    halves = np.zeros((24, 40, 1), np.uint8)
    halves[:, 20:] = 255
    write_image(mask, Picture(halves))
    steps = ["--feather", "8", "--range", "1,0.2", "--bits", "16"]
    assert fxsr_cli("tmap", "mask", mask, "-o", made, *steps).returncode == 0
    first = fxsr_cli("run", photo, "--t-map", mask, "--t-feather", "8", "--t-range", "1,0.2", "-o", tmp_path / "a.png")
    second = fxsr_cli("run", photo, "--t-map", made, "-o", tmp_path / "b.png")
    plain = fxsr_cli("run", photo, "--t-map", mask, "-o", tmp_path / "c.png")
    assert (first.stderr, second.stderr, plain.stderr) == ("", "", "")
    a, b, c = (read_image(tmp_path / name).pixels.astype(int) for name in ("a.png", "b.png", "c.png"))
    assert np.abs(a - b).max() <= 1  # 16 bit of the file
    assert np.abs(a - c).max() > 10


def test_a_folder_gives_maps_of_the_same_names_and_failures_are_named(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2, (30, 40))
    (tmp_path / "photos" / "broken.jpg").write_text("no image")
    done = fxsr_cli("tmap", "texture", "photos", "-o", "maps", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("fxsr: photos/broken.jpg: not an image")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["photo0.png", "photo1.png"]
    assert grey(tmp_path / "maps" / "photo0.png").shape == (30, 40)


def test_a_mask_from_alpha(tmp_path: Path) -> None:
    pixels = np.full((10, 20, 4), 255, np.uint8)
    pixels[:, :10, 3] = 0
    write_image(tmp_path / "cut.png", Picture(pixels))
    done = fxsr_cli("tmap", "mask", "cut.png", "-o", "map.png", "--alpha", "--range", "0.2,1", "-q", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert np.array_equal(grey(tmp_path / "map.png")[0], [51] * 10 + [255] * 10)


def test_combining_gives_the_size_of_the_first(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Picture(np.full((6, 8, 1), 200, np.uint8)))
    write_image(tmp_path / "b.png", Picture(np.full((3, 4, 1), 80, np.uint8)))
    done = fxsr_cli("tmap", "combine", "a.png", "b.png", "-o", "c.png", "--how", "subtract", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "c.png (8x6)\n"), done.stderr
    assert np.array_equal(grey(tmp_path / "c.png"), np.full((6, 8), 120))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["mask", "gone.png", "-o", "map.png"], 1, "gone.png: no such file"),
        (
            ["mask", "photo0.png", "-o", "map.jpg"],
            2,
            "map.jpg: style maps are written as PNG; give it a name that ends",
        ),
        (["mask", "photo0.png", "-o", "map.png", "--range", "0.9"], 2, "--range is '0.9'; it must be two numbers"),
        (["mask", "photo0.png", "-o", "map.png", "--alpha"], 1, "photo0.png: has no alpha; leave out --alpha"),
        (["mask", "photo0.png", "-o", "photo0.png"], 1, "photo0.png: the output would replace the input"),
        (["gradient", "--like", "photo0.png", "-o", "photo0.png"], 2, "the output would replace the input photo0.png"),
        (["depth", "flat.png", "-o", "map.png"], 1, "flat.png: the depth is 9 everywhere"),
        (["gradient", "-o", "map.png"], 2, "give either --size WIDTHxHEIGHT or --like IMAGE"),
        (["gradient", "-o", "map.png", "--size", "0x9"], 2, "--size is '0x9'; it must be WIDTHxHEIGHT such as 640x480"),
        (["gradient", "-o", "map", "--size", "9x9"], 2, "map: style maps are written as PNG"),
        (
            ["gradient", "-o", "map.png", "--size", "9x9", "--span", "1,0"],
            2,
            "span is 1,0; it must be two rising fractions",
        ),
        (["combine", "flat.png", "-o", "map.png"], 2, "flat.png is one map; combine takes two or more"),
        (["combine", "flat.png", "gone.png", "-o", "map.png"], 1, "style map gone.png: no such file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, arguments: list[str], status: int, message: str) -> None:
    write_photos(tmp_path, 1, (10, 12))
    write_image(tmp_path / "flat.png", Picture(np.full((4, 4, 1), 9, np.uint8)))
    before = sorted(tmp_path.iterdir())
    done = fxsr_here("tmap", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert done.stderr.startswith(f"fxsr: {message}")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--t-feather", "3"], "--t-feather, --t-range and --t-scale change a style map; give one with --t-map"),
        (["--t-map", "photo0.png", "--t-feather", "-1"], "feather is -1.0; it must be a number of pixels, 0 or more"),
        (["--t-map", "photo0.png", "--t-range", "0,2"], "--t-range is '0,2'; it must be two numbers in 0..1"),
    ],
)
def test_wrong_options_of_a_run_are_told_before_it_begins(tmp_path: Path, options: list[str], message: str) -> None:
    write_photos(tmp_path, 1, (10, 12))
    done = fxsr_here("run", "photo0.png", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fxsr: {message}")


def test_the_pages_commands_write_its_pictures(tmp_path: Path) -> None:
    commands = [
        line.split() for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.split("\n")
    ]
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    for command in filter(None, commands):
        done = fxsr_cli(*command[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    # maps of people need detectors, and the photo is of another package
    shown = {name for name in re.findall(r"\]\((style-maps/.*?)\)", PAGE) if "people" not in name}
    assert len(shown) == 8
    for name in shown:
        difference = grey(tmp_path / "docs" / name).astype(int) - grey(ROOT / "docs" / name)
        assert np.abs(difference).max() <= 1, name  # rounding may differ between versions of numpy
