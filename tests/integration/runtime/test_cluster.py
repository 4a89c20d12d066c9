"""`fxsr run --ray` on a real cluster of this machine."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from fxsr.errors import UsageError
from fxsr.images.image import read_image
from fxsr.runtime.jobs.places import AnyPlaces, as_url, name_of
from tests.support import ended, fxsr_cli, fxsr_process, wait_until, write_photos

pytest.importorskip("ray", reason="Ray is not installed (it has no wheel for every Python)")


def test_a_killed_worker_loses_nothing_and_results_are_those_of_one_machine(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 14, (72, 96))
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    alone = fxsr_cli("run", tmp_path / "in", "-o", tmp_path / "alone", "--t", "0.4")
    arguments = ("run", "in", "-o", "out", "--t", "0.4", "--ray", "local", "--jobs", "2")
    with ended(fxsr_process(*arguments, cwd=tmp_path)) as running:
        wait_until(lambda: list((tmp_path / "out").glob("photo*.png")), running)
        os.kill(workers()[0], signal.SIGKILL)
        stdout, stderr = running.communicate(timeout=200)
    assert running.returncode == alone.returncode == 1
    assert "in/broken.png: not an image" in stderr
    assert "photo13.png" in stdout
    assert "Traceback" not in stderr
    for number in range(14):
        written = tmp_path / "out" / f"photo{number}.png"
        assert written.read_bytes() == (tmp_path / "alone" / written.name).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "photo3.png").unlink()
    again = fxsr_cli("run", "in", "-o", "out", "--t", "0.4", "--ray", "local", "--skip-existing", cwd=tmp_path)
    assert again.stdout.count("is there, skipped") == 13
    changed = {path.name for path, then in before.items() if path.exists() and path.stat().st_mtime_ns != then}
    assert changed == {"photo3.png"}


def workers() -> list[int]:
    """Processes that upscale, by what Ray calls them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::") and b"_Worker" in title:
                found.append(int(folder.name))
    assert found
    return found


def test_urls_in_and_out(tmp_path: Path) -> None:
    write_photos(tmp_path / "in" / "deep", 2, (24, 30))
    write_photos(tmp_path / "maps", 2, (6, 8), seed=1)
    where = {name: f"file://{tmp_path / name}" for name in ("in", "maps", "out")}
    done = fxsr_cli(
        "run", where["in"], "-o", where["out"], "--t-map", where["maps"], "--ray", "local", "--format", "webp"
    )
    assert done.returncode == 0, done.stderr
    assert f"{where['in']}/deep/photo0.png -> {where['out']}/deep/photo0.webp" in done.stdout
    assert read_image(tmp_path / "out" / "deep" / "photo1.webp").pixels.shape == (96, 120, 3)
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["photo0.webp", "photo1.webp"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("s3://bucket/photos",), 2, "s3://bucket/photos: URLs are read and written with --ray"),
        (("nothing://a/b.png", "--ray", "local"), 2, "nothing://a/b.png: not a URL that can be opened"),
        (("a.png", "--ray", "127.0.0.1:1"), 3, "no Ray cluster at 127.0.0.1:1"),
        (("a.png", "--ray", "auto"), 3, "no Ray cluster at auto"),
        (("a.png", "--ray"), 3, "no Ray cluster at auto"),
        (("--ray", "a.png"), 3, "no Ray cluster at auto"),
        (("--ray", "-q", "--", "a.png"), 3, "no Ray cluster at auto"),
        (("--", "a.png", "--ray"), 1, "--ray: no such file"),
        (("a.png", "--ray", "somewhere"), 2, "it must be local, auto or HOST:PORT"),
        (("a.png", "--ray", "ray://127.0.0.1:1"), 2, "run this on one of its nodes"),
        (("-", "--ray", "local"), 2, "--ray goes neither with"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: tuple[str, ...], status: int, message: str, tmp_path: Path
) -> None:
    write_photos(tmp_path, 1, (8, 8))
    (tmp_path / "photo0.png").rename(tmp_path / "a.png")
    done = fxsr_cli("run", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_urls_as_paths() -> None:
    for url in ("s3://bucket/a/b.png", "file:///tmp/a.png", "memory://a"):
        assert as_url(Path(url)) == name_of(Path(url)) == url
    for path in ("a.png", "C:/a.png", "/tmp/a:b.png", "a:b"):
        assert as_url(Path(path)) is None
    with pytest.raises(UsageError, match="not a URL"):
        AnyPlaces().is_dir(Path("nothing://a"))
