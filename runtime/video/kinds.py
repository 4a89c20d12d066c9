"""Which files are videos, by their first bytes, as `fxsr.images.kinds` finds images; and which kinds can be written."""

from __future__ import annotations

from pathlib import Path

from fxsr.images.kinds import HEAD, is_video_head

WRITABLE_VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".mts", ".m2ts"})
"""Suffixes of the videos that are written. Inputs of other kinds become `FALLBACK` files."""
FALLBACK = ".mkv"
"""Matroska holds nearly every codec."""


def is_video(path: Path) -> bool:
    """Whether a file is a video, whatever it is called. A file that can't be read is none."""
    try:
        with path.open("rb") as file:
            return is_video_head(file.read(HEAD))
    except OSError:
        return False
