"""The commands that make style maps: `fxsr tmap`. The arithmetic is in `fxsr.styles.maps` and `fxsr.styles.texture`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fxsr.cli.command import Command
from fxsr.cli.options import Json, Quiet
from fxsr.cli.panels import INPUT_OUTPUT, STYLE
from fxsr.cli.tmap_automatic import add_automatic
from fxsr.cli.tmap_files import (
    BitDepth,
    Bits,
    Feather,
    Inputs,
    MapFinish,
    Out,
    OutOrFolder,
    Range,
    Suffix,
    check_apart,
    make_each,
    map_size,
    read_alpha,
    write_map,
)
from fxsr.errors import StyleError, UsageError

if TYPE_CHECKING:
    from fxsr.styles.maps import Plane

app = typer.Typer(
    help="Make style maps: grey PNG files for `fxsr run --t-map`, where black is t = 0 and white is t = 1.",
    no_args_is_help=True,
)


class WhiteMeaning(StrEnum):
    """Meaning of large values in a depth image."""

    near = "near"
    far = "far"


class CombineMode(StrEnum):
    """How several maps are combined; see `fxsr.styles.maps.combine`."""

    max = "max"
    min = "min"
    mean = "mean"
    multiply = "multiply"
    screen = "screen"
    add = "add"
    subtract = "subtract"


@app.command(cls=Command)
def mask(
    context: typer.Context,
    inputs: Inputs,
    out: OutOrFolder,
    suffix: Suffix = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0,
            max=1,
            rich_help_panel=STYLE,
            help="Make the mask black and white: white where it is at least this, in 0..1.",
        ),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", rich_help_panel=STYLE, help="Swap black and white.")] = False,
    grow: Annotated[
        int,
        typer.Option(
            "--grow", rich_help_panel=STYLE, help="Grow white areas by this many pixels; shrink them if negative."
        ),
    ] = 0,
    feather: Feather = 0,
    t_range: Range = "0,1",
    alpha: Annotated[
        bool,
        typer.Option(
            "--alpha", rich_help_panel=INPUT_OUTPUT, help="Use the image's alpha as the mask, not its brightness."
        ),
    ] = False,
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make style maps from masks. Steps are applied in this order: threshold, invert, grow, range, feather.

    Example: `fxsr tmap mask face.png -o map.png --invert --feather 12 --range 0.2,0.9`
    """
    from fxsr.styles import maps as tmap
    from fxsr.styles.style_map import StyleMap

    def make(source: Path) -> Plane:
        values = read_alpha(source) if alpha else StyleMap.read(source).values
        return tmap.from_mask(values, threshold=threshold, invert=invert, grow=grow)

    make_each(
        context.obj, inputs, out, suffix, make, MapFinish.parse(feather, t_range, bits), quiet=quiet, as_json=as_json
    )


@app.command(cls=Command)
def depth(
    context: typer.Context,
    inputs: Inputs,
    out: OutOrFolder,
    suffix: Suffix = None,
    near: Annotated[
        float, typer.Option("--near", min=0, max=1, rich_help_panel=STYLE, help="t of the nearest pixels.")
    ] = 1,
    far: Annotated[
        float, typer.Option("--far", min=0, max=1, rich_help_panel=STYLE, help="t of the farthest pixels.")
    ] = 0,
    gamma: Annotated[
        float,
        typer.Option(
            "--gamma",
            min=0.01,
            rich_help_panel=STYLE,
            help="Above 1, only the nearest pixels get t near --near; below 1, most pixels do.",
        ),
    ] = 1,
    white: Annotated[
        WhiteMeaning,
        typer.Option(
            "--white",
            rich_help_panel=INPUT_OUTPUT,
            help="What white means. near: inverse depth, as from MiDaS and Depth Anything; far: a z-buffer or metres.",
        ),
    ] = WhiteMeaning.near,
    feather: Feather = 0,
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make style maps from depth images of 8 or 16 bits or floats, whatever part of their range they use.

    Example: `fxsr tmap depth depth.png -o map.png --near 0.9 --far 0.2 --gamma 1.5`
    """
    from fxsr.images.image import grey_plane, read_image
    from fxsr.styles import maps as tmap
    from fxsr.styles.options import StyleOptions

    def make(source: Path) -> Plane:
        values = grey_plane(read_image(source, as_data=True).pixels)
        return tmap.from_depth(values, near, far, gamma=gamma, white_is_far=white is WhiteMeaning.far)

    make_each(
        context.obj,
        inputs,
        out,
        suffix,
        make,
        MapFinish(StyleOptions(feather=feather), bits),
        quiet=quiet,
        as_json=as_json,
    )


@app.command(cls=Command)
def texture(
    context: typer.Context,
    inputs: Inputs,
    out: OutOrFolder,
    suffix: Suffix = None,
    radius: Annotated[
        float | None,
        typer.Option(
            "--radius",
            min=1,
            rich_help_panel=STYLE,
            help="Radius of the neighbourhood in which texture is measured, in pixels. [default: by the image's size]",
        ),
    ] = None,
    grain: Annotated[
        float | None,
        typer.Option(
            "--grain",
            min=0,
            max=1,
            rich_help_panel=STYLE,
            help="Standard deviation of grain that is not texture, for pixels in 0..1. [default: estimated]",
        ),
    ] = None,
    feather: Feather = 0,
    t_range: Range = "0,1",
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make style maps from photos: white on texture, black on edges, text, flat and blurred areas.

    Examples: `fxsr tmap texture photo.jpg -o map.png --range 0.2,1`, `fxsr tmap texture photos/ -o maps/`
    """
    from fxsr.images.image import read_image
    from fxsr.styles import texture as textures

    def make(source: Path) -> Plane:
        return textures.texture(read_image(source).pixels, radius, grain)

    make_each(
        context.obj, inputs, out, suffix, make, MapFinish.parse(feather, t_range, bits), quiet=quiet, as_json=as_json
    )


add_automatic(app)


@app.command(cls=Command)
def gradient(
    out: Out,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="WIDTHxHEIGHT", rich_help_panel=INPUT_OUTPUT, help="Size of the map in pixels."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like", rich_help_panel=INPUT_OUTPUT, help="An image whose size the map gets, instead of --size."
        ),
    ] = None,
    start: Annotated[
        float,
        typer.Option(
            "--from", min=0, max=1, rich_help_panel=STYLE, help="t at the start, or in the centre with --radial."
        ),
    ] = 0,
    end: Annotated[
        float,
        typer.Option("--to", min=0, max=1, rich_help_panel=STYLE, help="t at the end, or outside with --radial."),
    ] = 1,
    angle: Annotated[
        float,
        typer.Option(
            "--angle",
            rich_help_panel=STYLE,
            help="Direction in degrees: 0 is to the right, 90 downwards, -90 upwards.",
        ),
    ] = 0,
    radial: Annotated[
        bool, typer.Option("--radial", rich_help_panel=STYLE, help="Run from the centre to the farthest corner.")
    ] = False,
    centre: Annotated[
        str,
        typer.Option(
            "--centre",
            "--center",
            metavar="X,Y",
            rich_help_panel=STYLE,
            help="Centre for --radial, as fractions of width and height.",
        ),
    ] = "0.5,0.5",
    span: Annotated[
        str,
        typer.Option(
            "--span",
            metavar="A,B",
            rich_help_panel=STYLE,
            help="Fractions of the way between which t changes; before A and after B it is constant.",
        ),
    ] = "0,1",
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a style map that changes from one t to another.

    Examples: `fxsr tmap gradient -o map.png --like photo.jpg --angle 90`,
    `fxsr tmap gradient -o spot.png --size 640x480 --radial --from 1 --to 0.2 --span 0.3,0.6`
    """
    from fxsr.styles import maps as tmap
    from fxsr.styles.options import StyleOptions
    from fxsr.styles.style_map import parse_pair

    if like is not None:
        check_apart(out, [like])
    spot, part = parse_pair(centre, "--centre"), parse_pair(span, "--span")
    height, width = map_size(size, like)
    try:
        if radial:
            way = tmap.radial_gradient_rows(height, width, spot, part)
        else:
            way = tmap.linear_gradient_rows(height, width, angle, part)
    except StyleError as error:
        raise UsageError(str(error)) from error
    rows = MapFinish(StyleOptions(range=(start, end)), bits).stream(height, width, way)
    write_map(out, rows, quiet=quiet, as_json=as_json)


@app.command(cls=Command)
def combine(
    maps: Annotated[list[Path], typer.Argument(help="Two or more style maps; all are resized to the first.")],
    out: Out,
    how: Annotated[
        CombineMode,
        typer.Option("--how", rich_help_panel=STYLE, help="How to combine. subtract: the first minus the others."),
    ] = CombineMode.max,
    feather: Feather = 0,
    t_range: Range = "0,1",
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Combine several style maps into one.

    Example: `fxsr tmap combine texture.png face.png -o map.png --how subtract`
    """
    from fxsr.styles import maps as tmap
    from fxsr.styles.style_map import StyleMap

    if len(maps) < 2:
        raise UsageError(f"{maps[0]} is one map; combine takes two or more")
    check_apart(out, maps)
    finish = MapFinish.parse(feather, t_range, bits)
    styles = [StyleMap.read(path) for path in maps]
    height, width = styles[0].values.shape
    planes = [style.resized(height, width).values for style in styles]
    write_map(out, finish(tmap.combine(planes, how.value)), quiet=quiet, as_json=as_json)
