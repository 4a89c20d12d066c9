"""`fxsr run --ray` on a real cluster of this machine."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from fxsr.errors import FxsrError, StyleError, UsageError
from fxsr.images.image import read_image
from fxsr.runtime.jobs.places import files, is_dir, is_url, local_copy, parse_path, parse_place, send, within
from fxsr.styles.style_map import StyleMap
from tests.support import ended, fxsr_cli, fxsr_here, fxsr_process, wait_until, write_photos

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
    assert again.stdout.count("exists, skipped") == 13
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


@pytest.mark.parametrize("one_map", [False, True], ids=["folder of maps", "one map"])
def test_urls_are_read_and_written(one_map: bool, tmp_path: Path) -> None:
    write_photos(tmp_path / "in" / "deep", 2, (24, 30))
    write_photos(tmp_path / "maps", 2, (6, 8), seed=1)
    where = {name: f"file://{tmp_path / name}" for name in ("in", "maps", "out")}
    t_map = f"{where['maps']}/photo0.png" if one_map else where["maps"]
    done = fxsr_cli("run", where["in"], "-o", where["out"], "--t-map", t_map, "--ray", "local", "--format", "webp")
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
        (("-", "--ray", "local"), 2, "--ray can't be combined with"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: tuple[str, ...], status: int, message: str, tmp_path: Path
) -> None:
    write_photos(tmp_path, 1, (8, 8))
    (tmp_path / "photo0.png").rename(tmp_path / "a.png")
    done = fxsr_here("run", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_urls_keep_their_spelling_and_have_the_names_of_paths() -> None:
    for text in ("s3://bucket/a/b.png", "file:///tmp/a.png", "memory://a"):
        place = parse_place(text)
        assert not isinstance(place, Path)
        assert str(place) == text
        assert str(place.parent / place.name) == text
        with pytest.raises(UsageError, match="URLs are read and written with --ray"):
            parse_path(text)
    assert str(parse_place("s3://bucket/photos/").with_name("photos_x4")) == "s3://bucket/photos_x4"
    for text in ("a.png", "C:/a.png", "/tmp/a:b.png", "a:b"):
        assert parse_place(text) == parse_path(text) == Path(text)
        assert not is_url(text)
    with pytest.raises(UsageError, match="not a URL that can be opened"):
        parse_place("nothing://a")
    with pytest.raises(UsageError, match=r"^s3://bucket/a: .*s3fs"):
        is_dir(parse_place("s3://bucket/a"))


def test_files_behind_a_url_are_listed_read_and_written_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    folder = parse_place("memory://fxsr-test/folder")

    def refused(place: object, reason: str) -> None:
        raise AssertionError(place)

    assert not is_dir(folder)
    send(tmp_path / "a.txt", folder / "deep" / "b.txt")
    assert is_dir(folder)
    assert [path.as_posix() for path in files(folder, refused)] == ["deep/b.txt"]
    inner = within(folder / "deep" / "b.txt", folder)
    assert inner is not None
    assert inner.as_posix() == "deep/b.txt"
    assert within(folder, tmp_path) is None
    with local_copy(folder / "deep" / "b.txt") as copy:
        assert copy.read_text() == "text"
    with (
        pytest.raises(StyleError, match=r"^style map memory://fxsr-test/folder/deep/b\.txt: not an image"),
        local_copy(folder / "deep" / "b.txt") as copy,
    ):
        StyleMap.read(copy)
    with (
        pytest.raises(FxsrError, match=r"^memory://fxsr-test/gone\.txt: cannot be read"),
        local_copy(parse_place("memory://fxsr-test/gone.txt")),
    ):
        pass
