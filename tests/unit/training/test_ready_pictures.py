from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fxsr.errors import UsageError
from fxsr.training.cache import Entry
from fxsr.training.ready_pictures import match_pictures


def entry(folder: Path, inside: str, variant: int = 0, kind: int = 0) -> Entry:
    return Entry("x", 4, 4, 0, kind, folder=str(folder), inside=inside, variant=variant)


def matched(tmp_path: Path, pictures: Sequence[str], *entries: Entry) -> list[str]:
    """The pictures of the entries, by their paths in the teacher's folder."""
    folder = tmp_path / "ready"
    for each in pictures:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).touch()
    found = match_pictures(folder, entries, "crisp")
    return [found[each].relative_to(folder).as_posix() for each in entries]


def test_images_of_one_name_have_their_own_pictures_by_folder(tmp_path: Path) -> None:
    entries = [entry(tmp_path / folder, "cat.jpg") for folder in "ab"]
    assert matched(tmp_path, ["a/cat.png", "b/cat.png"], *entries) == ["a/cat.png", "b/cat.png"]


def test_images_of_one_name_have_their_own_pictures_by_sub_folder(tmp_path: Path) -> None:
    entries = [entry(tmp_path, inside) for inside in ("b/cat.jpg", "a/cat.jpg", "cat.jpg")]
    pictures = ["a/cat.png", "b/cat.png", "cat.png"]
    assert matched(tmp_path, pictures, *entries) == ["b/cat.png", "a/cat.png", "cat.png"]


def test_an_image_whose_name_ends_in_a_number_is_no_variant_of_another(tmp_path: Path) -> None:
    entries = [entry(tmp_path, inside) for inside in ("cat.png", "cat-0.png")]
    assert matched(tmp_path, ["cat-0.png", "cat.png"], *entries) == ["cat.png", "cat-0.png"]


def test_variants_have_their_own_pictures_or_share_one(tmp_path: Path) -> None:
    cats = [entry(tmp_path, "cat.png", variant) for variant in (0, 1)]
    dogs = [entry(tmp_path, "dog.png", variant) for variant in (0, 1)]
    found = matched(tmp_path, ["cat-0.png", "cat-1.png", "dog.png"], *cats, *dogs)
    assert found == ["cat-0.png", "cat-1.png", "dog.png", "dog.png"]


def test_kinds_of_input_made_of_one_image_share_its_picture(tmp_path: Path) -> None:
    entries = [entry(tmp_path / "hr", "cat.png"), entry(tmp_path / "hr" / ".." / "hr", "cat.png", kind=1)]
    assert matched(tmp_path, ["cat.png"], *entries) == ["cat.png"] * 2


def test_a_picture_may_lie_in_another_folder_if_its_name_is_the_only_one(tmp_path: Path) -> None:
    assert matched(tmp_path, ["some/where/cat.png", "cat.b.png"], entry(tmp_path, "cat.jpg")) == ["some/where/cat.png"]


@pytest.mark.parametrize("pictures", [("a/cat.png", "b/cat.png"), ("cat.jpg", "cat.png")])
def test_two_pictures_of_an_image_are_refused(pictures: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        matched(tmp_path, pictures, entry(tmp_path / "hr", "cat.png"))
    first, second = (tmp_path / "ready" / each for each in pictures)
    assert f"teacher crisp: {first} and {second} could both be the picture of" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("picture", "images"),
    [("cat.png", ("a/cat.png", "b/cat.png")), ("cat-0.png", ("hr/cat.png", "hr/cat-0.png"))],
)
def test_one_picture_of_two_images_is_refused(picture: str, images: tuple[str, str], tmp_path: Path) -> None:
    entries = [entry(tmp_path / Path(image).parent, Path(image).name) for image in images]
    with pytest.raises(UsageError) as caught:
        matched(tmp_path, [picture], *entries)
    first, second = (tmp_path / image for image in images)
    assert f"{tmp_path / 'ready' / picture} would be the picture of {first} and of {second}" in str(caught.value)


def test_an_image_without_a_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"teacher crisp: .*ready holds no picture of .*hr.cat\.png"):
        matched(tmp_path, ["cats.png"], entry(tmp_path / "hr", "cat.png"))
