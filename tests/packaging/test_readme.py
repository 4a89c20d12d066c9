"""The README's installation, word for word: a clone of this checkout, and a fresh environment in it.

What the README does once it is installed is run by `tests/integration/cli/test_readme.py`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from fxsr.images.image import read_image
from tests.support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def publish_checkout(folder: Path) -> None:
    """A repository to clone from, with the files of this checkout, committed or not."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


def test_the_first_command_installs_and_upscales_the_sample(tmp_path: Path, outside: dict[str, str]) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to it is unknown")
    publish_checkout(tmp_path / "address")
    clone = blocks("")[0].replace("ADDRESS", str(tmp_path / "address"))
    assert "git clone" in clone
    command = ["bash", "-e", "-c", clone + blocks("bash")[0]]
    done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_image(tmp_path / "fxsr/cat_x4.png").pixels.shape == (1200, 1804, 3)
    installed = {path.name for path in (tmp_path / "fxsr/.venv").glob("lib/python*/site-packages/*")}
    assert "torch" not in installed
    python = "import fxsr, fxsr.benchmarks.seams; fxsr.load()"  # the clone's own folder hides what was installed
    command = [".venv/bin/python", "-c", python]
    done = subprocess.run(command, cwd=tmp_path / "fxsr", env=outside, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_second_command_is_what_ci_runs() -> None:
    commands = [line for line in blocks("bash")[1].splitlines() if line.strip()]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in commands if line not in ci] == []


def test_the_readme_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [extra for extra in extras if not re.search(rf"`{extra}`|\.\[{extra}\]", README)] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120
