"""Locks of folders."""

from __future__ import annotations

import tempfile
from pathlib import Path
from threading import Event, Thread

import pytest

from fxsr.export.lock import alone_in
from fxsr.files import atomic_path


def test_the_lock_lies_in_the_folder_and_goes_with_the_block(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".fxsr-export.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_stays_only_if_something_was_written(tmp_path: Path) -> None:
    with alone_in(tmp_path / "nothing"):
        pass
    with alone_in(tmp_path / "something"):
        (tmp_path / "something" / "x").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


def test_a_second_export_waits_whatever_its_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, entered = Event(), Event()

    def export() -> None:
        with alone_in(tmp_path, lambda text: waiting.set()):
            entered.set()

    with alone_in(tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
        thread = Thread(target=export)
        thread.start()
        assert waiting.wait(60)
        assert not entered.is_set()
    thread.join(60)
    assert entered.is_set()


def test_half_written_files_of_a_killed_export_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".fxsr-0123456789ab.part.onnx").touch()
    with atomic_path(tmp_path / "photo.png") as unfinished:  # another command is writing it
        with alone_in(tmp_path):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [unfinished.name]
