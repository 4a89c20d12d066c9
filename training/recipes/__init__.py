"""The recipes that come with the package, and reading any recipe: TOML, overridden by `--set`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fxsr.errors import UsageError
from fxsr.training.recipe import Recipe


def bundled_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and override keys of it.

    Args:
        source: a TOML file, or the name of a bundled recipe.
        overrides: `key=value` each; the key is dotted (`conditional.terms.0.weight`), the value TOML or a bare word.

    Raises:
        UsageError: no such recipe, or it is wrong; names the file and the key.
    """
    bundled = bundled_recipes()
    path = bundled.get(str(source), Path(source))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        names = ", ".join(bundled)
        raise UsageError(f"{source}: no such recipe; give a TOML file or one of {names}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({error})") from error
    for override in overrides:
        _override(table, override)
    return _decode(table, str(path))


def recipe_from_json(text: str) -> Recipe:
    """The recipe that `Recipe.to_json` wrote.

    Raises:
        UsageError: it is not one.
    """
    return _decode(json.loads(text), "the stored recipe")


def _decode(table: Mapping[str, Any], where: str) -> Recipe:
    try:
        return msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`").lstrip(".").replace("[...]", "")
        raise UsageError(f"{where}: {key}: {message}" if key else f"{where}: {message}") from error


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not (key.strip() and equals):
        raise UsageError(f"--set {override}: write it as key=value, such as conditional.steps=200")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word or a path
    *parents, last = key.strip().split(".")
    place: Any = table
    for part in parents:
        place = place.setdefault(part, {}) if isinstance(place, dict) else _item(place, part, override)
    if isinstance(place, dict):
        place[last] = value
    else:
        _item(place, last, override)
        place[int(last)] = value


def _item(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return place[int(part)]
    held = f"a list of {len(place)}, numbered from 0" if isinstance(place, list) else "a plain value"
    raise UsageError(f"--set {override}: there is no {part!r} in {held}")
