"""What files are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fxsr.errors import ImageError, UsageError
from fxsr.export.verify.cases import CaseShapes, bundled_photos, make_cases, read_photos
from fxsr.images.image import Picture, write_image
from fxsr.models.manifest import EngineFacts, Profile, ShapeRange
from tests.support import write_photos


def test_photos_in_two_sizes_over_t_with_maps_and_batches() -> None:
    cases = list(make_cases())
    assert len(cases) == 22
    assert {case.lr.shape for case in cases} == {(1, 3, 48, 64), (1, 3, 37, 29), (2, 3, 37, 29)}
    assert {case.t_map.shape[2:] for case in cases} == {(1, 1), (48, 64), (37, 29)}
    checkerboard = next(case for case in cases if case.name == "cat 64x48 t=checkerboard").t_map[0, 0]
    assert set(np.unique(checkerboard)) == {0, 1}
    assert (checkerboard[0, 0], checkerboard[0, 8], checkerboard[8, 0], checkerboard[8, 8]) == (0, 1, 1, 0)


def test_a_network_at_one_style_is_given_that_one() -> None:
    cases = list(make_cases(baked_t=0.3))
    assert {case.t_map.item() for case in cases} == {np.float32(0.3)}
    assert all(case.name.endswith(" t=0.3") for case in cases)


def test_an_engines_shapes_are_kept_to() -> None:
    cases = list(make_cases(shapes=CaseShapes(((256, 200),), (3,))))
    assert {case.lr.shape for case in cases} == {(3, 3, 256, 200)}
    photo = bundled_photos()["cat"]  # 96x96, continued by its mirror image
    middle = cases[0].lr[0, :, 0:96, 0:96].transpose(1, 2, 0)
    assert np.isin(middle, photo).all()


def test_photos_are_read_from_files_and_folders(tmp_path: Path) -> None:
    write_photos(tmp_path / "folder", 2, (30, 40))
    (tmp_path / "folder" / "notes.txt").write_text("not a photo")
    write_image(tmp_path / "grey.png", Picture(np.full((5, 6, 2), 65535, np.uint16)))
    found = read_photos([tmp_path / "folder", tmp_path / "grey.png"])
    grey = str(tmp_path / "grey.png")
    assert list(found) == [str(tmp_path / "folder" / "photo0.png"), str(tmp_path / "folder" / "photo1.png"), grey]
    assert found[grey].shape == (5, 6, 3)
    assert found[grey].max() == 1
    with pytest.raises(ImageError, match=r"notes\.txt"):
        read_photos([tmp_path / "folder" / "notes.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images in this folder"):
        read_photos([tmp_path / "empty"])


def test_photos_of_equal_names_in_two_folders_are_all_read(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_photos(tmp_path / folder, 1, (30, 40))
    assert len(read_photos([tmp_path / "a", tmp_path / "b"])) == 2


def test_the_profile_for_a_single_style_comes_first() -> None:
    def size(*shape: int) -> ShapeRange:
        return ShapeRange(shape, shape, shape)

    image = ShapeRange((1, 3, 1, 1), (1, 3, 32, 32), (2, 3, 32, 32))
    style = ShapeRange((1, 1, 1, 1), (1, 1, 32, 32), (2, 1, 32, 32))
    profiles = (
        Profile("map", {"lr": image, "t_map": style}),
        Profile("uniform", {"lr": image, "t_map": size(1, 1, 1, 1)}),
    )
    facts = EngineFacts.__new__(EngineFacts)
    object.__setattr__(facts, "profiles", profiles)
    assert facts.profile_for({"lr": (1, 3, 32, 32), "t_map": (1, 1, 32, 32)}) == 0
    assert facts.profile_for({"lr": (1, 3, 32, 32), "t_map": (1, 1, 1, 1)}) == 1
    assert facts.profile_for({"lr": (1, 3, 33, 32), "t_map": (1, 1, 1, 1)}) is None
    assert facts.profile_for({"lr": (3, 3, 32, 32), "t_map": (1, 1, 1, 1)}) is None
    assert facts.profile_for({"lr": (1, 3, 32, 32)}) is None
