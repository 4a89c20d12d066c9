"""Faults that users of `fxsr run` met: odd names, full disks, files that change, killed runs."""

from __future__ import annotations

import errno
import io
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from fxsr.errors import FxsrError, ImageError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.metadata.writing import MetadataWriter
from tests.support import ROOT, fxsr_cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with alpha.png and photo.bmp, and broken.png, which is cut."""
    folder = tmp_path / "mixed"
    pixels = np.random.default_rng(0).integers(0, 255, (16, 20, 4), np.uint8)
    write_image(folder / "alpha.png", Picture(pixels))
    write_image(folder / "photo.bmp", Picture(pixels[..., :3]))
    (folder / "broken.png").write_bytes((folder / "alpha.png").read_bytes()[:200])
    return folder


@pytest.mark.parametrize("encoding", ["cp1252", "iso-8859-1", "ascii", "utf-8"])
def test_names_that_the_output_cannot_show_do_not_end_a_run(
    encoding: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.png", "b日本.png", "c\x1b]0;title\x07\n.png", "d\udcff.png"]
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy(folder / "alpha.png", tmp_path / "in" / name)
    shutil.copy(folder / "broken.png", tmp_path / "in" / "e\x1b[2J本.png")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    command = [sys.executable, str(ROOT / "cli.py"), "run", "in", "-o", "out"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path)
    assert done.returncode == 1
    assert sorted(os.listdir(tmp_path / "out")) == names  # noqa: PTH208
    assert len(done.stdout.splitlines()) == 4
    (failed,) = done.stderr.splitlines()
    assert failed.startswith(b"fxsr: in/e\\x1b[2J")
    assert b"\x1b" not in done.stdout
    assert b"d\\xff.png" in done.stdout


def test_a_file_called_dash_is_no_stream(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "alpha.png", tmp_path / "-")
    done = fxsr_cli("run", "./-", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["-.png"]


def test_a_full_disk_is_named_where_the_library_loses_the_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise pyvips.Error("unable to call tiffsave", "TIFFAppendToStrip: Write error at scanline 0")

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    monkeypatch.setattr(pyvips.Image, "write_to_file", fail)
    with pytest.raises(ImageError, match=r"out\.tif: cannot be written \(No space left on device"):
        write_image(tmp_path / "out.tif", read_image(folder / "alpha.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_full_disk_is_named_where_the_file_is_ours(
    suffix: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MetadataWriter, "write", fail)
    with pytest.raises(FxsrError, match=rf"cannot write .*out{suffix}: No space left on device"):
        write_image(tmp_path / f"out{suffix}", read_image(folder / "alpha.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_libraries_print_nothing_of_their_own(tmp_path: Path) -> None:
    """Pillow warns of large images, libvips of damaged ones, numpy of overflow."""
    write_image(tmp_path / "a.bmp", Picture(np.zeros((24, 32, 3), np.uint8)))
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    data[18:26] = struct.pack("<ii", 12000, 11000)
    (tmp_path / "a.bmp").write_bytes(data)
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    scan = jpeg.rindex(b"\xff\xda")
    (tmp_path / "b.jpg").write_bytes(jpeg[:-2] + jpeg[scan:-2] * 300 + b"\xff\xd9")
    done = fxsr_cli("run", "a.bmp", "b.jpg", "-o", "out", cwd=tmp_path)
    assert [line for line in done.stderr.splitlines() if not line.startswith("fxsr: ")] == []


def test_a_run_removes_what_a_killed_one_left(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".fxsr-0123456789ab.part.png").write_bytes(b"half")
    done = fxsr_cli("run", folder / "photo.bmp", "-o", out, "--dry-run")
    assert len(list(out.iterdir())) == 1
    done = fxsr_cli("run", folder / "photo.bmp", "-o", out)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.iterdir()] == ["photo.bmp"]


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png", "tif", "bmp"])
def test_a_file_that_becomes_shorter_while_it_is_read_is_one_failure(suffix: str, tmp_path: Path) -> None:
    """libvips would map it, and the process would end with SIGBUS."""
    path = tmp_path / f"a.{suffix}"
    write_image(path, Picture(np.random.default_rng(0).integers(0, 255, (1200, 1500, 3), np.uint8)))
    code = (
        "import os, sys; from fxsr.images.reading import open_rows; from fxsr.errors import ImageError\n"
        "try:\n rows = open_rows(sys.argv[1]); os.truncate(sys.argv[1], 1000); rows.whole(); print('whole')\n"
        "except ImageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done
    # WebP is in memory before the file is cut
    assert ("whole" if suffix == "webp" else "damaged") in done.stdout
