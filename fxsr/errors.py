"""Every error that this project raises on purpose, in one tree.

    FxsrError                     exit 1   any of the errors below; pipelines catch this one
    ├── UsageError                exit 2   an argument, or a combination of arguments, is wrong
    ├── UnavailableError          exit 3   a package or a device that the task needs is absent
    │   ├── MissingExtraError     exit 3   a package of an extra is not installed
    │   └── DeviceError           exit 3   there is no such GPU, or it can't be used
    │       └── DeviceLostError   exit 3   the GPU failed, and this process can't use it any more
    ├── OutOfMemoryError          exit 1   the device or the host has too little memory for a batch of this size
    ├── CheckpointError           exit 1   the file holds no FxSR weights, or is damaged
    ├── ModelFileError            exit 1   an ONNX file, an engine or a manifest can't be used
    ├── ImageError                exit 1   an image can't be read, written or upscaled
    │   ├── TooLargeError         exit 1   an image has more pixels than the limit allows
    │   └── NotFaithfulError      exit 1   a result is below the bound (in fxsr.runtime.upscale.faithful)
    ├── VideoError                exit 1   a video can't be read, written or upscaled
    ├── StyleError                exit 1   a style value or a style map is wrong
    ├── VerificationError         exit 1   an exported model does not agree with its checkpoint
    ├── TrainingError             exit 1   a loss or a weight is not finite (in fxsr.training.trainer)
    └── RequestAbandonedError     exit 1   a request was given up (in fxsr.runtime.serve.scheduler)

The command line prints the message and exits with the status shown. A message is one line: what was wrong, with its
value, and what to do about it.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories that change how a terminal shows text, or have no glyph: control characters, invisible format
characters such as those that reverse the direction, halves of surrogate pairs, and separators of lines."""
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need."""


class FxsrError(Exception):
    """Base of all errors raised on purpose."""

    exit_status = 1
    """The status with which the command line exits."""


class UsageError(FxsrError):
    """An argument, or a combination of arguments, is wrong."""

    exit_status = 2


class UnavailableError(FxsrError):
    """A package or a device that the task needs is absent."""

    exit_status = 3


class MissingExtraError(UnavailableError, ImportError):
    """A package that belongs to an extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; type in the clone of FxSR: {install_line(extra)}")
        self.package = package
        self.extra = extra


class DeviceError(UnavailableError):
    """The requested device is absent or can't be used."""


class DeviceLostError(DeviceError):
    """The device failed such that only another process can use it."""


class OutOfMemoryError(FxsrError):
    """The device or the host has too little memory for a batch of this size."""


class CheckpointError(FxsrError):
    """A file is not a checkpoint of an FxSR generator, or is damaged."""


class ModelFileError(FxsrError):
    """An ONNX file, an engine or a manifest can't be used."""


class ImageError(FxsrError):
    """An image can't be read, written or upscaled."""


class TooLargeError(ImageError):
    """An image has more pixels than the limit allows."""


class VideoError(FxsrError):
    """A video can't be read, written or upscaled."""


class StyleError(FxsrError):
    """A style value or a style map is wrong."""


class VerificationError(FxsrError):
    """An exported model does not agree with its checkpoint."""


def install_line(extra: str) -> str:
    """The command that installs `extra`, typed in a clone of the repository: the package is on no index."""
    return f'pip install ".[{extra}]"'


def first_line(error: BaseException) -> str:
    """The first line of another library's message, for use in one of ours; the error's class if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def printable(text: str) -> str:
    """Text from outside, such as a file's name, that a terminal may be given.

    Characters that would control the terminal or break the line become escapes such as `\\x1b`. A byte that is not
    valid in the file system's encoding, which Python keeps as a lone surrogate, becomes `\\xff`.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in _UNSAFE and character not in _JOINERS:
        return character.encode("unicode_escape", "backslashreplace").decode()
    return character


def foreign_name(text: str, most: int = 80) -> str:
    """`printable` for a name out of somebody's file: at most its first `most` characters."""
    return f"{printable(text[:most])}..." if len(text) > most else printable(text)
