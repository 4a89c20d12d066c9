"""The README's first command, word for word, in a copy of the checkout with nothing installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fxsr.images.image import read_image
from tests.support import ROOT


def blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_command_installs_and_upscales_the_sample(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to it is unknown")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    # the environment that runs the tests must not help
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON"))}
    command = ["bash", "-e", "-c", blocks()[0]]
    done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "cat_x4.png").pixels.shape == (1200, 1804, 3)
    installed = {path.name for path in (tmp_path / ".venv").glob("lib/python*/site-packages/*")}
    assert "torch" not in installed
    python = "import fxsr, fxsr.benchmarks.seams; fxsr.load()"  # the clone's own folder hides what was installed
    done = subprocess.run([".venv/bin/python", "-c", python], cwd=tmp_path, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_second_command_is_what_ci_runs() -> None:
    commands = [line for line in blocks()[1].splitlines() if line.strip()]
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(line in ci for line in commands)
