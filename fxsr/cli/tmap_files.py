"""What the commands of `fxsr tmap` share: inputs to outputs, and how every map is finished and written."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fxsr.cli.stop import Stop
from fxsr.errors import FxsrError, ImageError, UsageError

if TYPE_CHECKING:
    from fxsr.images.image import Picture
    from fxsr.runtime.jobs.jobs import Done, Failure, Job
    from fxsr.styles.maps import Plane

LARGEST = 2**28
"""Pixels of a gradient: what still fits into memory."""

_NO_PNG = "{}: style maps are written as PNG; give it a name that ends in .png"


class BitDepth(StrEnum):
    """Depth of the file."""

    eight = "8"
    sixteen = "16"


@dataclass(frozen=True)
class MapFinish:
    """What is done to every map before it is written."""

    feather: float
    t_range: tuple[float, float] = (0, 1)
    bits: BitDepth = BitDepth.eight

    @staticmethod
    def parse(feather: float, t_range: str, bits: BitDepth) -> MapFinish:
        from fxsr.styles.style_map import parse_pair

        return MapFinish(feather, parse_pair(t_range, "--range"), bits)

    def __call__(self, plane: Plane) -> Picture:
        import numpy as np

        from fxsr.images.image import Picture
        from fxsr.styles import maps as tmap

        dtype = np.dtype(f"uint{self.bits}")
        values = tmap.ramp(tmap.feather(plane, self.feather), *self.t_range)
        return Picture((values[..., None] * np.iinfo(dtype).max + 0.5).astype(dtype))


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
) -> None:
    """A map for each input, told of as `fxsr run` does."""
    from fxsr.cli.print_run import RunReport
    from fxsr.images.image import READABLE
    from fxsr.runtime.jobs.jobs import plan_jobs

    if out.suffix.lower() in READABLE - {".png"} and not out.is_dir():  # what is no image's name is a folder's
        raise UsageError(_NO_PNG.format(out))
    plan = plan_jobs(inputs, 1, out, suffix, "png")
    with RunReport(len(plan.jobs), stop.check, quiet=quiet, as_json=as_json) as report:
        stop.patient = True  # libvips loses what is raised while it calls back
        for failure in plan.failures:
            report.add(failure)
        for job in plan.jobs:
            report.begin(job)
            report.add(_try(job, make, finish))
        stop.check()
    if report.failed:
        raise typer.Exit(1)


def _try(job: Job, make: Callable[[Path], Plane], finish: MapFinish) -> Done | Failure:
    from fxsr.images.image import write_image
    from fxsr.runtime.jobs.jobs import Done, Failure

    begin = time.perf_counter()
    try:
        picture = finish(make(job.source))
        write_image(job.target, picture)
    except FxsrError as error:
        return Failure(job.source, str(error).removeprefix("style map ").removeprefix(f"{job.source}: "))
    except MemoryError:
        return Failure(job.source, "not enough memory for this image; close other programs or cut it into parts")
    height, width, _ = picture.pixels.shape
    return Done(job, time.perf_counter() - begin, (width, height))


def write_map(out: Path, plane: Plane, finish: MapFinish, *, quiet: bool, as_json: bool) -> None:
    """One map, and a line about it."""
    from fxsr.console import print_json
    from fxsr.images.image import write_image

    if out.suffix.lower() != ".png":
        raise UsageError(_NO_PNG.format(out))
    write_image(out, finish(plane))
    height, width = plane.shape
    if as_json:
        print_json({"output": str(out), "size": (width, height)})
    elif not quiet:
        typer.echo(f"{out} ({width}x{height})")


def check_apart(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write over an input."""
    from fxsr.runtime.jobs.places import LocalPlaces

    places = LocalPlaces()
    if places.absolute(out) in map(places.absolute, inputs):
        raise UsageError(f"the output would replace the input {out}; give another -o")


def map_size(size: str | None, like: Path | None) -> tuple[int, int]:
    """Height and width from `WIDTHxHEIGHT`, or those of an image."""
    from fxsr.images.image import read_image

    if (size is None) == (like is None):
        raise UsageError("give either --size WIDTHxHEIGHT or --like IMAGE")
    if like is not None:
        height, width, _ = read_image(like).pixels.shape
        return height, width
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size or "")
    width, height = (int(number) for number in found.groups()) if found else (0, 0)
    if not 0 < width * height <= LARGEST:
        raise UsageError(f"--size is {size!r}; it must be WIDTHxHEIGHT such as 640x480, of 1 to {LARGEST:,} pixels")
    return height, width


def read_alpha(source: Path) -> Plane:
    """An image's alpha as a mask."""
    from fxsr.images.image import read_image
    from fxsr.styles.style_map import StyleMap

    pixels = read_image(source).pixels
    if pixels.shape[2] not in (2, 4):
        raise ImageError(f"{source}: has no alpha; leave out --alpha")
    return StyleMap.from_array(pixels[..., -1]).values
