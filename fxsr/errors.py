"""Every error this project raises on purpose, in one tree.

    FxsrError                     exit 1   anything below; catch this one in a pipeline
    ├── UsageError                exit 2   an argument or a combination of arguments is wrong
    ├── UnavailableError          exit 3   a needed part or device is absent
    │   ├── MissingExtraError              a package of an extra is not installed
    │   └── DeviceError                    no such GPU, or it can't be used
    ├── OutOfMemoryError          exit 1   a device or the host has too little memory for a batch of this size
    ├── CheckpointError           exit 1   not a file of FxSR weights, or a damaged one
    ├── ModelFileError            exit 1   an ONNX file, engine or manifest that can't be used
    ├── ImageError                exit 1   an image can't be read, written or upscaled
    │   └── TooLargeError                  it has more pixels than are taken
    ├── StyleError                exit 1   a style value or style map is wrong
    └── VerificationError         exit 1   an exported model does not agree with its checkpoint

A message is one line: what was wrong, with its value, and what to do about it.
"""

from __future__ import annotations


class FxsrError(Exception):
    """Base of all errors raised on purpose. `exit_status` is what the command line exits with."""

    exit_status = 1


class UsageError(FxsrError):
    """An argument, or a combination of arguments, is wrong."""

    exit_status = 2


class UnavailableError(FxsrError):
    """A needed part or device is absent."""

    exit_status = 3


class MissingExtraError(UnavailableError, ImportError):
    """A package that belongs to an extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed; type: pip install "fxsr[{extra}]"')
        self.package = package
        self.extra = extra


class DeviceError(UnavailableError):
    """The device that was asked for is absent or can't be used."""


class OutOfMemoryError(FxsrError):
    """A device or the host has too little memory for a batch of this size."""


class CheckpointError(FxsrError):
    """A file is not a checkpoint of an FxSR generator, or it is damaged."""


class ModelFileError(FxsrError):
    """An ONNX file, an engine or a manifest can't be used."""


class ImageError(FxsrError):
    """An image can't be read, written or upscaled."""


class TooLargeError(ImageError):
    """An image has more pixels than are taken."""


class StyleError(FxsrError):
    """A style value or a style map is wrong."""


class VerificationError(FxsrError):
    """An exported model does not agree with its checkpoint."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message, for use in one of ours; its class where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
