"""The commands that make style maps: `fxsr tmap`. Arithmetic is in `fxsr.styles.maps` and `fxsr.styles.texture`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fxsr.cli.options import Json, Quiet
from fxsr.cli.tmap_files import BitDepth, MapFinish, check_apart, make_each, map_size, read_alpha, write_map
from fxsr.errors import StyleError, UsageError

if TYPE_CHECKING:
    from fxsr.styles.maps import Plane

app = typer.Typer(
    help="Make style maps: grey PNG files for `fxsr run --t-map`, where black is t = 0 and white is t = 1.",
    no_args_is_help=True,
)


class WhiteMeaning(StrEnum):
    """What large values of a depth image mean."""

    near = "near"
    far = "far"


class CombineMode(StrEnum):
    """How one map is made of several; see `fxsr.styles.maps.combine`."""

    max = "max"
    min = "min"
    mean = "mean"
    multiply = "multiply"
    screen = "screen"
    add = "add"
    subtract = "subtract"


Inputs = Annotated[list[Path], typer.Argument(help="Images, and folders that are searched for images.")]
OutOrFolder = Annotated[
    Path, typer.Option("--out", "-o", help="Folder, where maps get their inputs' names, or for a single input a .png.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The .png file to write.")]
Suffix = Annotated[str | None, typer.Option("--suffix", help="Put behind each output's name, such as _t.")]
Feather = Annotated[
    float, typer.Option("--feather", min=0, help="Hard borders become slopes, this many pixels to either side.")
]
Range = Annotated[str, typer.Option("--range", metavar="LO,HI", help="t of black and of white.")]
Bits = Annotated[BitDepth, typer.Option("--bits", help="Depth of the file. 16: slow slopes without steps.")]


@app.command()
def mask(
    context: typer.Context,
    inputs: Inputs,
    out: OutOrFolder,
    suffix: Suffix = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0, max=1, help="Make it hard first: white from here on.")
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Black becomes white.")] = False,
    grow: Annotated[int, typer.Option("--grow", help="Pixels by which white areas grow; below 0 they shrink.")] = 0,
    feather: Feather = 0,
    t_range: Range = "0,1",
    alpha: Annotated[bool, typer.Option("--alpha", help="The mask is the image's alpha, not its brightness.")] = False,
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Style maps from masks. In this order: threshold, invert, grow, feather, range.

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


@app.command()
def depth(
    context: typer.Context,
    inputs: Inputs,
    out: OutOrFolder,
    suffix: Suffix = None,
    near: Annotated[float, typer.Option("--near", min=0, max=1, help="t of what is nearest.")] = 1,
    far: Annotated[float, typer.Option("--far", min=0, max=1, help="t of what is farthest.")] = 0,
    gamma: Annotated[
        float, typer.Option("--gamma", min=0.01, help="Above 1 keeps --near for the nearest, below 1 spreads it.")
    ] = 1,
    white: Annotated[
        WhiteMeaning,
        typer.Option("--white", help="near: inverse depth, as MiDaS and Depth Anything; far: z-buffer, metres."),
    ] = WhiteMeaning.near,
    feather: Feather = 0,
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Style maps from depth images of 8 or 16 bit or floats, whatever part of their range they use.

    Example: `fxsr tmap depth depth.png -o map.png --near 0.9 --far 0.2 --gamma 1.5`
    """
    from fxsr.images.image import luminance, read_image
    from fxsr.styles import maps as tmap

    def make(source: Path) -> Plane:
        pixels = read_image(source, as_data=True).pixels
        values = luminance(pixels[..., :3]) if pixels.shape[2] >= 3 else pixels[..., 0]
        return tmap.from_depth(values, near, far, gamma=gamma, white_is_far=white is WhiteMeaning.far)

    make_each(context.obj, inputs, out, suffix, make, MapFinish(feather, bits=bits), quiet=quiet, as_json=as_json)


@app.command()
def texture(
    context: typer.Context,
    inputs: Inputs,
    out: OutOrFolder,
    suffix: Suffix = None,
    radius: Annotated[
        float | None,
        typer.Option("--radius", min=1, help="Pixels around each that are looked at. [default: by the image's size]"),
    ] = None,
    grain: Annotated[
        float | None,
        typer.Option(
            "--grain", min=0, max=1, help="Deviation of the grain, of 0..1, that is no texture. [default: estimated]"
        ),
    ] = None,
    feather: Feather = 0,
    t_range: Range = "0,1",
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Style maps from photos: white where there is texture, black on edges, text, flat and blurred areas.

    Examples: `fxsr tmap texture photo.jpg -o map.png --range 0.2,1`, `fxsr tmap texture photos/ -o maps/`
    """
    from fxsr.images.image import read_image
    from fxsr.styles import texture as textures

    def make(source: Path) -> Plane:
        return textures.texture(read_image(source).pixels, radius, grain)

    make_each(
        context.obj, inputs, out, suffix, make, MapFinish.parse(feather, t_range, bits), quiet=quiet, as_json=as_json
    )


@app.command()
def gradient(
    out: Out,
    size: Annotated[str | None, typer.Option("--size", metavar="WIDTHxHEIGHT", help="Size in pixels.")] = None,
    like: Annotated[Path | None, typer.Option("--like", help="Or: an image whose size it gets.")] = None,
    start: Annotated[float, typer.Option("--from", min=0, max=1, help="t where it begins, or in the centre.")] = 0,
    end: Annotated[float, typer.Option("--to", min=0, max=1, help="t where it ends, or outside.")] = 1,
    angle: Annotated[
        float, typer.Option("--angle", help="Direction in degrees: 0 to the right, 90 downwards, -90 upwards.")
    ] = 0,
    radial: Annotated[bool, typer.Option("--radial", help="From a centre to the farthest corner.")] = False,
    centre: Annotated[
        str, typer.Option("--centre", "--center", metavar="X,Y", help="Of --radial, in parts of width and height.")
    ] = "0.5,0.5",
    span: Annotated[
        str, typer.Option("--span", metavar="A,B", help="Parts of the way between which t changes; constant outside.")
    ] = "0,1",
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """A style map that goes from one t to another.

    Examples: `fxsr tmap gradient -o map.png --like photo.jpg --angle 90`,
    `fxsr tmap gradient -o spot.png --size 640x480 --radial --from 1 --to 0.2 --span 0.3,0.6`
    """
    from fxsr.styles import maps as tmap
    from fxsr.styles.style_map import parse_pair

    if like is not None:
        check_apart(out, [like])
    spot, part = parse_pair(centre, "--centre"), parse_pair(span, "--span")
    height, width = map_size(size, like)
    try:
        if radial:
            way = tmap.radial_gradient(height, width, spot, part)
        else:
            way = tmap.linear_gradient(height, width, angle, part)
    except StyleError as error:
        raise UsageError(str(error)) from error
    write_map(out, way, MapFinish(0, (start, end), bits), quiet=quiet, as_json=as_json)


@app.command()
def combine(
    maps: Annotated[list[Path], typer.Argument(help="Two style maps or more; all get the size of the first.")],
    out: Out,
    how: Annotated[CombineMode, typer.Option("--how", help="subtract: the first minus the others.")] = CombineMode.max,
    feather: Feather = 0,
    t_range: Range = "0,1",
    bits: Bits = BitDepth.eight,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """One style map of several.

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
    write_map(out, tmap.combine(planes, how.value), finish, quiet=quiet, as_json=as_json)
