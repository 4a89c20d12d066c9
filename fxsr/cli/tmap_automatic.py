"""The `fxsr tmap` commands that need nothing but photos: `faces`, `text`, `focus` and `auto`.

`fxsr.styles.automatic` makes the maps.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from fxsr.cli.command import Command
from fxsr.cli.options import Json, Quiet
from fxsr.cli.tmap_files import BitDepth, Bits, Feather, Inputs, MapFinish, OutOrFolder, Range, Suffix, make_each

_COMMANDS = (
    ("faces", "Make style maps from photos: faces and skin stay faithful (t = 0.3), the rest is white."),
    ("text", "Make style maps from photos: text and line art stay faithful (black), the rest is white."),
    ("focus", "Make style maps from photos: white on what is in focus, black on a blurred background."),
    ("auto", "Make style maps from photos: a proposal that combines texture, focus, faces and text."),
)


def add_automatic(app: typer.Typer) -> None:
    """Add the commands to `fxsr tmap`."""
    for name, what in _COMMANDS:
        app.command(name, cls=Command)(_automatic(name, what))


def _automatic(name: str, what: str) -> Callable[..., None]:
    """A command that makes the automatic map of this name; see `fxsr.styles.automatic`."""

    def make_maps(
        context: typer.Context,
        inputs: Inputs,
        out: OutOrFolder,
        suffix: Suffix = None,
        feather: Feather = 0,
        t_range: Range = "0,1",
        bits: Bits = BitDepth.eight,
        quiet: Quiet = False,
        as_json: Json = False,
    ) -> None:
        from fxsr.styles.automatic.registry import AutomaticStyle

        style = AutomaticStyle((name,))
        finish = MapFinish.parse(feather, t_range, bits)
        make_each(
            context.obj,
            inputs,
            out,
            suffix,
            lambda photo: style.read(photo).values,
            finish,
            quiet=quiet,
            as_json=as_json,
            notes=style.notes,
        )

    make_maps.__doc__ = f"{what}\n\nExample: `fxsr tmap {name} photo.jpg -o map.png`"
    return make_maps
