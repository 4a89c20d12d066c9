"""What a user asks of a video's encoding, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fxsr.errors import UsageError

SEGMENT = 60
"""Frames between two points at which an interrupted run can go on."""


@dataclass(frozen=True)
class VideoOptions:
    """How videos are written."""

    encoder: str | None = None
    """An encoder's name as FFmpeg knows it; None: the first of `fxsr.runtime.video.encoding.DEFAULTS` that fits."""
    settings: tuple[tuple[str, str], ...] = ()
    """The encoder's own options."""
    segment: int = SEGMENT
    """Frames in each segment."""
    resume: bool = False
    """Whether to go on with the segments of an earlier run."""


def parse_settings(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Settings from texts such as `crf=18`.

    Raises:
        UsageError: a text is not of this form, or a name is given twice.
    """
    settings: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--encoder-option is {word!r}; it must be NAME=VALUE, such as crf=18")
        if name in settings:
            raise UsageError(f"--encoder-option {name} is given twice")
        settings[name] = value
    return tuple(settings.items())
