"""Teachers that are folders: which ready picture belongs to which input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from fxsr.errors import UsageError
from fxsr.training.cache import Entry, find_images


def match_pictures(folder: Path, entries: Sequence[Entry], name: str) -> dict[Entry, Path]:
    """Find the ready picture of each input. File endings don't matter.

    In this order, the picture has the path of the image in its folder (`sub/cat`), that path in a sub-folder with the
    name of that folder (`photos/sub/cat`), or the image's name anywhere (`cat`), if no other picture has it; otherwise
    the same with the number of the variant (`cat-0`).

    Args:
        folder: the ready pictures, searched recursively.
        entries: the inputs.
        name: name of the teacher in the recipe, for messages.

    Raises:
        UsageError: an input has no picture, several pictures could be that of an input, or one would be that of several
            images.
    """
    places: Mapping[str, list[Path]] = defaultdict(list)
    stems: Mapping[str, list[Path]] = defaultdict(list)
    for path in find_images(folder):
        places[path.relative_to(folder).with_suffix("").as_posix()].append(path)
        stems[path.stem].append(path)
    images: dict[Path, Path] = {}  # the image that each picture belongs to; variants share it, and so do kinds of input
    found: dict[Entry, Path] = {}
    for entry in entries:
        image = Path(entry.folder, entry.inside)
        paths = next(filter(None, _candidates(entry, places, stems)), None)
        if not paths:
            raise UsageError(f"teacher {name}: {folder} holds no picture of {image}")
        if len(paths) > 1:
            raise UsageError(
                f"teacher {name}: {paths[0]} and {paths[1]} could both be the picture of {image}; "
                f"keep one, or use the same sub-folders as {entry.folder}"
            )
        (path,) = paths
        other = images.setdefault(path, image)
        if other.resolve() != image.resolve():
            raise UsageError(
                f"teacher {name}: {path} would be the picture of {other} and of {image}; each image needs its own, "
                "in sub-folders with the names of the images' folders"
            )
        found[entry] = path
    return found


def _candidates(
    entry: Entry, places: Mapping[str, list[Path]], stems: Mapping[str, list[Path]]
) -> Iterator[list[Path]]:
    """The pictures that each rule of `match_pictures` finds, in order."""
    inside = PurePath(entry.inside).with_suffix("")
    for place in (inside, inside.with_name(f"{inside.name}-{entry.variant}")):
        yield places.get(place.as_posix(), [])
        yield places.get((Path(entry.folder).resolve().name / place).as_posix(), [])
        yield stems.get(place.name, [])
