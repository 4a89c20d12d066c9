"""Every command in the README, as typed, on small stand-ins for the reader's files.

The blocks that install are run by `tests/packaging/test_readme.py`. A command that is new in the README fails here
until it has an entry in `OUTCOMES`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fxsr.images.image import Picture, read_image, write_image
from fxsr.models.bundled import DEFAULT_MODEL, bundled_file
from fxsr.models.checkpoint import save_checkpoint
from tests.support import ROOT, SAMPLE, TINY, ended, fxsr_cli, fxsr_process, golden_checkpoint, wait_until, write_photos

README = (ROOT / "README.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What a command of the README does with the stand-ins."""

    writes: tuple[str, ...] = ()
    says: str = ""
    status: int = 0


OUTCOMES = {
    "fxsr run photo.jpg": Outcome(("photo_x4.jpg",)),
    "fxsr run photos/ -o out/ --t 0.3": Outcome(("out/photo0.png", "out/more/photo0.png")),
    "fxsr run photo.jpg --outscale 2.5": Outcome(("photo_x2.5.jpg",)),
    "fxsr run photos/ --dry-run": Outcome(says="photos_x4"),
    "fxsr run photo.jpg --t-map mask.png": Outcome(("photo_x4.jpg",)),
    "fxsr run --engine engines/fxsr-pd-x4-fp16.onnx --t-map mask.png photo.jpg": Outcome(("photo_x4.jpg",)),
    "fxsr tmap texture photo.jpg -o mask.png": Outcome(("mask.png",)),
    "fxsr export --scale 4 --fp16": Outcome(
        (f"engines/{DEFAULT_MODEL}-fp16.onnx", f"engines/{DEFAULT_MODEL}-fp16.json")
    ),
    "fxsr export --checkpoint FxSR_PD_4x.pth --name fxsr-pd --scale 4 --fp16": Outcome(
        ("engines/fxsr-pd-x4-fp16.onnx", "engines/fxsr-pd-x4-fp16.json")
    ),
    # refused before anything is loaded, with a GPU or without: the stand-in is no engine that a manifest describes
    "fxsr bench engine.plan": Outcome(says="engine.plan: its manifest engine.json", status=1),
    "fxsr train --list": Outcome(says="fxsr-pd-x4"),
    # days of work on a GPU: run as far as the refusal of a folder that is not there
    "fxsr train fxsr-pd-x4 --set data.hr=DIV2K/train --set validation.hr=others": Outcome(says="DIV2K/train", status=2),
    "fxsr eval runs/fxsr-pd-x4/fxsr-pd-x4.safetensors --hr others --plot tradeoff.png": Outcome(("tradeoff.png",)),
    "fxsr models": Outcome(says=DEFAULT_MODEL),
    "fxsr doctor": Outcome(says="onnxruntime"),
}
TESTS_OF_THEIR_OWN = {
    "fxsr serve",
    "curl --fail-with-body -F image=@photo.jpg -F t=0.8 -o photo_x4.jpg localhost:8000/v1/upscale",
    "fxsr ui --open",
    "fxsr export --model fxsr-photo-x4 --fp16",  # of full size: tests/integration/export/test_export.py
    "python -m fxsr.benchmarks dial samples/cat.png --crop 130 70 72 72 --model fxsr-photo-x4 -o docs/dial.png",
}
INSTALLING = ("git ", "cd ", "python3 -m venv ", "pip install ", "scripts/test", "fxsr run samples/cat.png ")
"""How commands begin that belong to the blocks which `tests/packaging/test_readme.py` runs."""


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of code."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands() -> Iterator[str]:
    """All commands of the README without their comments: lines of blocks, and code within sentences."""
    for language, block in blocks():
        if language in ("", "bash"):
            yield from (re.sub(r"\s+#.*", "", line) for line in block.splitlines() if line.strip())
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    yield from (" ".join(each.split()) for each in re.findall(r"`((?:fxsr|python3?|pip|git|curl) [^`]*)`", prose))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's files."""
    for photos in ("photos", "photos/more", "others"):
        write_photos(tmp_path / photos, 1, (40, 48))
    write_image(tmp_path / "photo.jpg", Picture(read_image(SAMPLE).pixels[:40, :48]))
    write_image(tmp_path / "mask.png", Picture(np.linspace(0, 255, 40 * 48).reshape(40, 48, 1).astype(np.uint8)))
    tiny = golden_checkpoint(TINY, 1)
    torch.save({key: torch.tensor(value) for key, value in tiny.weights.items()}, tmp_path / "FxSR_PD_4x.pth")
    (tmp_path / "runs/fxsr-pd-x4").mkdir(parents=True)
    save_checkpoint(tmp_path / "runs/fxsr-pd-x4/fxsr-pd-x4.safetensors", tiny)
    (tmp_path / "engines").mkdir()
    shutil.copy(bundled_file(DEFAULT_MODEL, ".onnx"), tmp_path / "engines/fxsr-pd-x4-fp16.onnx")
    (tmp_path / "engine.plan").write_bytes(b"an engine")
    return tmp_path


def test_every_command_is_known_here() -> None:
    found = [command for command in commands() if not command.startswith(INSTALLING)]
    assert [command for command in found if command not in {*OUTCOMES, *TESTS_OF_THEIR_OWN}] == []
    assert {*OUTCOMES, *TESTS_OF_THEIR_OWN} - set(found) == set()


@pytest.mark.parametrize("command", OUTCOMES)
def test_a_command_does_what_the_readme_says(command: str, folder: Path) -> None:
    outcome = OUTCOMES[command]
    for name in outcome.writes:
        (folder / name).unlink(missing_ok=True)  # an output that stands in for another command's input
    done = fxsr_cli(*shlex.split(command)[1:], cwd=folder)
    assert done.returncode == outcome.status, done.stderr
    assert [name for name in outcome.writes if not (folder / name).stat().st_size] == []
    assert outcome.says in done.stdout + done.stderr
    if outcome.status:
        assert len(done.stderr.splitlines()) == 1


@contextmanager
def announced(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server at a free port, and the address that it prints."""
    with ended(fxsr_process(*arguments, "--port", "0")) as running:
        assert running.stderr
        address = running.stderr.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address + running.stderr.read()
        yield address, running


def test_the_server_upscales_what_curl_sends(folder: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("there is no curl here")
    (command,) = (command for command in TESTS_OF_THEIR_OWN if command.startswith("curl"))
    with announced("serve") as (address, _):
        there = command.replace("localhost:8000", address.removeprefix("http://"))
        retry = "--retry 60 --retry-connrefused --retry-delay 1 --no-progress-meter"
        done = subprocess.run(shlex.split(f"{there} {retry}"), cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert read_image(folder / "photo_x4.jpg").pixels.shape == (160, 192, 3)


def test_the_page_opens_in_a_browser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, opened = folder / "browser", folder / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with announced("ui", "--open") as (address, running):
        wait_until(opened.exists, running)
        assert opened.read_text().rstrip("/") == address.rstrip("/")


def test_the_picture_is_what_its_command_draws(folder: Path) -> None:
    (command,) = (command for command in TESTS_OF_THEIR_OWN if "dial" in command)
    (folder / "samples").symlink_to(ROOT / "samples")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    drawn = shlex.split(command)
    subprocess.run([sys.executable, *drawn[1:]], cwd=folder, env=environment, capture_output=True, check=True)
    ours, there = (read_image(place / "docs/dial.png").pixels.astype(int) for place in (folder, ROOT))
    assert ours.shape == there.shape
    assert np.abs(ours - there).max() <= 2, f"draw it again: {command}"  # CPUs round differently


def test_the_python_block_runs() -> None:
    (block,) = (block for language, block in blocks() if language == "python")
    names: dict[str, Any] = {"image": read_image(SAMPLE).pixels[:24, :32]}
    exec(block, names)
    assert names["sr"].shape == (96, 128, 3)
    assert names["sr"].dtype == np.uint8
