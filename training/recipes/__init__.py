"""The bundled recipes, and reading of recipes: TOML files with overrides from `--set`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from fxsr.errors import UsageError, first_line, foreign_name
from fxsr.training.recipe import Recipe

_MAX_SIZE = 1_000_000
"""Bytes of a recipe's file."""
_BOUND = tuple(f"Expected `{kind}` {relation}" for kind in ("int", "float") for relation in "<>")
"""How msgspec begins a message about a number that is out of range."""


def bundled_recipes() -> dict[str, Path]:
    """Paths of the bundled recipes, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and override some of its keys.

    Args:
        source: a TOML file, or the name of a bundled recipe.
        overrides: `key=value` each; keys are dotted (`conditional.terms.0.weight`), values are TOML or a bare word.

    Raises:
        UsageError: the recipe does not exist or is invalid; the message names the file and the key.
    """
    bundled = bundled_recipes()
    path = bundled.get(str(source), Path(source))
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_SIZE + 1)
        if len(text) > _MAX_SIZE:
            raise UsageError(f"{path}: larger than {_MAX_SIZE:,} bytes, which no recipe is")
        table = tomllib.loads(text.decode())
    except (FileNotFoundError, IsADirectoryError):
        names = ", ".join(bundled)
        raise UsageError(f"{source}: no such recipe; give a TOML file or one of {names}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({_reason(error)})") from error
    for override in overrides:
        _override(table, override)
    return _decode(table, str(path))


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Override keys of a recipe; `overrides` as in `load_recipe`.

    Raises:
        UsageError: an override is invalid.
    """
    table = json.loads(recipe.to_json())
    for override in overrides:
        _override(table, override)
    return _decode(table, "--set")


def recipe_from_json(text: str) -> Recipe:
    """Read what `Recipe.to_json` wrote.

    Raises:
        UsageError: the text is not a recipe.
    """
    try:
        table = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the stored recipe is not JSON ({_reason(error)})") from error
    return _decode(table, "the stored recipe")


def _decode(table: Mapping[str, Any], where: str) -> Recipe:
    try:
        return msgspec.convert(table, Recipe)
    except RecursionError as error:
        raise UsageError(f"{where}: nested too deep") from error
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`").lstrip(".").replace("[...]", "")
        if message.startswith("Invalid enum value") and (choices := _choices(key)):
            message += f"; it must be one of {', '.join(choices)}"
        elif message.startswith(_BOUND) and (value := _value(table, path)):
            message += f"; it is {value}"
        elif "matching regex" in message:
            message = "it holds a zero byte"
        raise UsageError(f"{where}: {key}: {message}" if key else f"{where}: {message}") from error


def _reason(error: Exception) -> str:
    """Why a text is neither TOML nor JSON."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    if type(error) is ValueError:
        return "a number has too many digits"
    return first_line(error)


def _value(table: Any, path: str) -> str:
    """The value at a place such as `.psnr.terms[0].betas`, to be shown; empty if the place has a name of its own."""
    for part in re.findall(r"[^.\[\]`]+", path):
        if isinstance(table, dict) and part not in table:
            return ""
        table = table[int(part)] if isinstance(table, list | tuple) else table[part]
    if isinstance(table, int) and abs(table) >= 10**20:
        return "a number of too many digits"
    return foreign_name(repr(table), 40)


def _choices(key: str) -> list[str]:
    """The allowed values of a key, if it is a choice of words; `key` is dotted, with list indices in brackets."""
    part: Any = Recipe
    for name in re.sub(r"\[\d*\]", "", key).split("."):
        hints = get_type_hints(part) if isinstance(part, type) and issubclass(part, msgspec.Struct) else {}
        if name not in hints:
            return []
        part = next((each for each in _within(hints[name]) if _is_part(each) or get_origin(each) is Literal), None)
    return [str(each) for each in get_args(part)] if get_origin(part) is Literal else []


def _within(kind: Any) -> Iterator[Any]:
    """A type and the types that it is made of."""
    yield kind
    if get_origin(kind) is not Literal:
        for each in get_args(kind):
            yield from _within(each)


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    override = foreign_name(override)
    if not (key.strip() and equals):
        raise UsageError(f"--set {override}: write it as key=value, such as conditional.steps=200")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word or a path
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--set {override}: not a value ({_reason(error)})") from error
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
    if isinstance(place, list) and re.fullmatch("[0-9]{1,9}", part) and int(part) < len(place):
        return place[int(part)]
    held = f"a list of {len(place)}, numbered from 0" if isinstance(place, list) else "a plain value"
    raise UsageError(f"--set {override}: there is no {foreign_name(part)!r} in {held}")
