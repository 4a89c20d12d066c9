"""Standard input and output as images: `-` on the command line.

Files stand for both: image formats need to be read at any place, and an output appears whole or not at all.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fxsr.errors import UsageError
from fxsr.images.formats import FORMATS, WRITABLE

DASH = Path("-")


@dataclass(frozen=True)
class Files:
    """Inputs and output of a run, where files stand for the standard streams."""

    inputs: Sequence[Path]
    out: Path | None
    stdout: Path | None = None
    """The file that stands for standard output: to be given to `send` once it is there."""
    stdin: Path | None = None

    @property
    def names(self) -> dict[Path, str]:
        """What to call the files that stand for a stream."""
        return {path: "-" for path in (self.stdin, self.stdout) if path}

    def send(self) -> None:
        """Copy the output to standard output, if that is where it goes and if there is one."""
        if self.stdout and self.stdout.exists():
            with self.stdout.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


@contextmanager
def stand_in(inputs: Sequence[Path], out: Path | None, format_name: str | None) -> Iterator[Files]:
    """Put files in the place of `-`; they last as long as the block. An image from standard input goes to standard
    output unless `out` says otherwise, as PNG unless `format_name` does.

    Raises:
        UsageError: there are several images for one stream, or standard output is a terminal.
    """
    to_stdout = out == DASH or (out is None and DASH in inputs)
    if not to_stdout and DASH not in inputs:
        yield Files(inputs, out)
        return
    if (to_stdout and sys.stdout is None) or (DASH in inputs and sys.stdin is None):
        raise UsageError("- is a stream that is closed; open it, or give files")
    if len(inputs) > 1 or inputs[0].is_dir():
        raise UsageError("- takes one image: give one file, or - alone")
    if not to_stdout and out is not None and out.suffix.lower() not in WRITABLE:
        raise UsageError(f"an image from standard input has no name: give -o FILE instead of {out}, or -o -")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; send it to a file or a program, or give -o FILE")
    suffix = FORMATS.get((format_name or "png").lower(), "")  # what is no format is refused later on
    with TemporaryDirectory(prefix="fxsr-") as folder:
        stdin, stdout = Path(folder, "in"), Path(folder, f"out{suffix}")
        if DASH in inputs:
            with stdin.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            inputs = [stdin]
        yield Files(inputs, stdout if to_stdout else out, stdout if to_stdout else None, stdin)
