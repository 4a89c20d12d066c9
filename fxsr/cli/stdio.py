"""Standard input and output as images: `-` on the command line.

Temporary files stand for both streams, since image libraries seek in files and outputs appear whole or not at all.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fxsr.errors import FxsrError, UsageError
from fxsr.images.formats import FORMATS, WRITABLE
from fxsr.scratch import scratch_folder

if TYPE_CHECKING:
    from fxsr.runtime.jobs.places import Place

DASH = "-"
"""A standard stream on the command line. A file of this name is written ./-"""


@dataclass(frozen=True)
class RunFiles:
    """Inputs and output of a run, with files in the place of standard streams."""

    inputs: Sequence[Place]
    out: Place | None
    stdout: Path | None = None
    """The file that stands for standard output; see `send`."""
    stdin: Path | None = None
    """The file that stands for standard input."""

    @property
    def names(self) -> dict[Place, str]:
        """What messages call the files that stand for a stream."""
        return {path: "-" for path in (self.stdin, self.stdout) if path}

    def send(self) -> None:
        """Copy the output to standard output, if it belongs there and was written."""
        if self.stdout and self.stdout.exists():
            with self.stdout.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


@contextmanager
def stand_in(
    inputs: Sequence[Place], out: Place | None, format_name: str | None, *, from_stdin: bool, to_stdout: bool
) -> Iterator[RunFiles]:
    """Replace standard streams by files, which are removed at the end of the block.

    An image from standard input goes to standard output unless `out` is given, as PNG unless `format_name` is given.

    Args:
        from_stdin: one of `inputs` is standard input.
        to_stdout: `out` is standard output.

    Raises:
        UsageError: there are several images for one stream, a stream is closed, or standard output is a terminal.
    """
    to_stdout = to_stdout or (out is None and from_stdin)
    if not to_stdout and not from_stdin:
        yield RunFiles(inputs, out)
        return
    if (to_stdout and sys.stdout is None) or (from_stdin and sys.stdin is None):
        raise UsageError("- is a stream that is closed; open it, or give files")
    if len(inputs) > 1 or inputs[0].is_dir():
        raise UsageError("- takes one image: give one file, or - alone")
    if not to_stdout and out is not None and out.suffix.lower() not in WRITABLE:
        raise UsageError(f"an image from standard input has no name: give -o FILE instead of {out}, or -o -")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; send it to a file or a program, or give -o FILE")
    suffix = FORMATS.get((format_name or "png").lower(), "")  # an unknown format is refused later
    with scratch_folder() as folder:
        stdin, stdout = Path(folder, "in"), Path(folder, f"out{suffix}")
        if from_stdin:
            try:
                with stdin.open("wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
            except OSError as error:
                reason = error.strerror or error
                raise FxsrError(
                    f"cannot keep standard input in {folder} ({reason}); set TMPDIR to a folder with room"
                ) from error
            inputs = [stdin]
        written = stdout if to_stdout else None
        yield RunFiles(inputs, written or out, written, stdin if from_stdin else None)
