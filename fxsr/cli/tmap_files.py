"""Shared parts of the `fxsr tmap` commands: which input becomes which output, and how maps are finished and written."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fxsr.cli.panels import INPUT_OUTPUT, STYLE
from fxsr.cli.stop import Stop
from fxsr.errors import FxsrError, ImageError, UnavailableError, UsageError
from fxsr.files import remove_unfinished

if TYPE_CHECKING:
    from fxsr.images.rows import Pixels, Rows
    from fxsr.runtime.jobs.jobs import Done, Failure, Job
    from fxsr.styles.maps import Plane, PlaneRows
    from fxsr.styles.options import StyleOptions

LARGEST = 2**28
"""Largest number of pixels in a gradient. Its rows are computed while they are written: the limit is about time."""

_NO_PNG = "{}: style maps are written as PNG; give it a name that ends in .png"


class BitDepth(StrEnum):
    """Depth of the file."""

    eight = "8"
    sixteen = "16"


Inputs = Annotated[list[Path], typer.Argument(help="Image files, and folders that are searched for images.")]
OutOrFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        rich_help_panel=INPUT_OUTPUT,
        help="Output folder, in which maps have their inputs' names, or the .png file for a single input.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", rich_help_panel=INPUT_OUTPUT, help="The .png file to write.")]
Suffix = Annotated[
    str | None,
    typer.Option("--suffix", rich_help_panel=INPUT_OUTPUT, help="Text to append to output names, such as _t."),
]
Feather = Annotated[
    float,
    typer.Option(
        "--feather",
        min=0,
        rich_help_panel=STYLE,
        help="Soften hard borders by this many pixels to either side.",
    ),
]
Range = Annotated[
    str,
    typer.Option(
        "--range", metavar="LO,HI", rich_help_panel=STYLE, help="The t that black and white of the map stand for."
    ),
]
Bits = Annotated[
    BitDepth,
    typer.Option(
        "--bits", rich_help_panel=INPUT_OUTPUT, help="Bits per pixel of the file. 16 avoids steps in slow slopes."
    ),
]


@dataclass(frozen=True)
class MapFinish:
    """The last steps for every map: range, feather, and the depth of the file."""

    style: StyleOptions
    bits: BitDepth = BitDepth.eight

    @staticmethod
    def parse(feather: float, t_range: str, bits: BitDepth) -> MapFinish:
        """From the values of --feather, --range and --bits.

        Raises:
            UsageError: --range is not two numbers in 0..1.
        """
        from fxsr.styles.options import StyleOptions
        from fxsr.styles.style_map import parse_pair

        return MapFinish(StyleOptions(range=parse_pair(t_range, "--range"), feather=feather), bits)

    def __call__(self, plane: Plane) -> Rows:
        """The image to write for a map, (H, W) in 0..1."""
        from fxsr.styles.style_map import StyleMap

        height, width = plane.shape
        style = self.style.over(StyleMap(plane), height, width)
        if not self.style.feather:
            return self._image(height, width, style.rows)
        values = style.rows(slice(0, height))  # band by band, the rows around each would be blurred again
        return self._image(height, width, lambda rows: values[rows])

    def stream(self, height: int, width: int, make: PlaneRows) -> Rows:
        """The image to write for a map whose rows `make` computes; it is not feathered."""
        from fxsr.styles.style_map import StyleMap

        def rows(rows: slice) -> Plane:
            plane = make(rows)
            return self.style.over(StyleMap(plane), *plane.shape).rows(slice(0, len(plane)))

        return self._image(height, width, rows)

    def _image(self, height: int, width: int, values: PlaneRows) -> Rows:
        import numpy as np

        from fxsr.images.rows import Rows, band_height

        dtype = np.dtype(f"uint{self.bits}")
        band = band_height(width, 1, np.dtype(np.float64))

        def pixels(top: int) -> Pixels:
            part = values(slice(top, min(top + band, height)))
            levels: Pixels = (part[..., None] * np.iinfo(dtype).max + 0.5).astype(dtype)
            return levels

        return Rows(height, width, 1, dtype, map(pixels, range(0, height, band)))


def make_each(
    stop: Stop,
    inputs: list[Path],
    out: Path,
    suffix: str | None,
    make: Callable[[Path], Plane],
    finish: MapFinish,
    *,
    quiet: bool,
    as_json: bool,
    notes: tuple[str, ...] = (),
) -> None:
    """Make a map for each input, and report each as `fxsr run` does, with `notes` for each."""
    from fxsr.cli.print_run import RunReport
    from fxsr.images.image import READABLE
    from fxsr.runtime.jobs.planning import plan_jobs
    from fxsr.runtime.jobs.runner import remove_leftovers

    if out.suffix.lower() in READABLE - {".png"} and not out.is_dir():  # any other name is a folder's
        raise UsageError(_NO_PNG.format(out))
    plan = plan_jobs(inputs, 1, out, suffix, "png")
    with RunReport(len(plan.jobs), stop.check, quiet=quiet, as_json=as_json) as report:
        stop.patient = True  # an error that is raised in a callback of libvips is lost
        for failure in plan.failures:
            report.add(failure)
        remove_leftovers(plan.jobs)
        for job in plan.jobs:
            report.begin(job)
            report.add(_make_map(job, make, finish, notes))
        stop.check()
    if report.failed:
        raise typer.Exit(1)


def _make_map(job: Job, make: Callable[[Path], Plane], finish: MapFinish, notes: tuple[str, ...]) -> Done | Failure:
    from fxsr.images.writing import write_rows
    from fxsr.runtime.jobs.jobs import Done, Failure
    from fxsr.runtime.jobs.places import local

    begin = time.perf_counter()
    try:
        rows = finish(make(local(job.source)))
        write_rows(local(job.target), rows)
    except UnavailableError:
        raise  # no other photo would do
    except FxsrError as error:
        return Failure(job.source, str(error).removeprefix("style map ").removeprefix(f"{job.source}: "))
    except MemoryError:
        return Failure(job.source, "not enough memory for this image; close other programs or cut it into parts")
    return Done(job, time.perf_counter() - begin, (rows.width, rows.height), notes)


def write_map(out: Path, rows: Rows, *, quiet: bool, as_json: bool) -> None:
    """Write one map, and print a line about it."""
    from fxsr.console import print_json
    from fxsr.errors import printable
    from fxsr.images.writing import write_rows

    if out.suffix.lower() != ".png":
        raise UsageError(_NO_PNG.format(out))
    remove_unfinished(out.parent)
    write_rows(out, rows)
    if as_json:
        print_json({"output": str(out), "size": (rows.width, rows.height)})
    elif not quiet:
        typer.echo(f"{printable(str(out))} ({rows.width}x{rows.height})")


def check_apart(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write over an input."""
    from fxsr.runtime.jobs.places import absolute

    if absolute(out) in map(absolute, inputs):
        raise UsageError(f"the output would replace the input {out}; give another -o")


def map_size(size: str | None, like: Path | None) -> tuple[int, int]:
    """Height and width from `WIDTHxHEIGHT`, or of the image `like`.

    Raises:
        UsageError: both or neither are given, or the size is not one.
        ImageError: the image can't be read.
    """
    from fxsr.images.reading import open_rows

    if (size is None) == (like is None):
        raise UsageError("give either --size WIDTHxHEIGHT or --like IMAGE")
    if like is not None:
        rows = open_rows(like)
        return rows.height, rows.width
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size or "")
    width, height = (int(number) for number in found.groups()) if found else (0, 0)
    if not 0 < width * height <= LARGEST:
        raise UsageError(f"--size is {size!r}; it must be WIDTHxHEIGHT such as 640x480, of 1 to {LARGEST:,} pixels")
    return height, width


def read_alpha(source: Path) -> Plane:
    """An image's alpha as a mask, (H, W) in 0..1.

    Raises:
        ImageError: the image can't be read, or has no alpha.
    """
    from fxsr.images.image import read_image
    from fxsr.styles.style_map import StyleMap

    pixels = read_image(source).pixels
    if pixels.shape[2] not in (2, 4):
        raise ImageError(f"{source}: has no alpha; leave out --alpha")
    return StyleMap.from_array(pixels[..., -1]).values
