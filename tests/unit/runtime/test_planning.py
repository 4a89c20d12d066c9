from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fxsr.errors import StyleError, UsageError
from fxsr.images.image import Picture, write_image
from fxsr.runtime.jobs.jobs import JobPlan
from fxsr.runtime.jobs.places import local
from fxsr.runtime.jobs.planning import plan_jobs
from fxsr.styles.style_map import StyleMap


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/ with a.jpg, b.png, anim.gif, deep/c.tif, notes.txt and a hidden file; the current folder is above it."""
    for name in ("a.jpg", "b.png", "anim.gif", "deep/c.tif", "notes.txt", ".hidden.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def targets(plan: JobPlan) -> list[str]:
    here = Path.cwd()
    return sorted((here / local(job.target)).resolve().relative_to(here.resolve()).as_posix() for job in plan.jobs)


def test_a_file_goes_beside_itself(photos: Path) -> None:
    assert targets(plan_jobs([photos / "a.jpg"], 4)) == ["photos/a_x4.jpg"]


def test_a_folder_goes_beside_itself_with_its_tree(photos: Path) -> None:
    expected = ["photos_x8/a.jpg", "photos_x8/anim.png", "photos_x8/b.png", "photos_x8/deep/c.tif"]
    assert targets(plan_jobs([photos], 8)) == expected


def test_the_current_folder_goes_beside_itself(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "deep")
    plan = plan_jobs([Path()], 4)
    assert [job.target.name for job in plan.jobs] == ["c.tif"]
    assert plan.jobs[0].target.parent.name == "deep_x4"


def test_in_an_output_folder_names_stay_as_they_are(photos: Path) -> None:
    assert targets(plan_jobs([photos / "a.jpg", photos / "b.png"], 4, Path("out"))) == ["out/a.jpg", "out/b.png"]


def test_outputs_get_the_suffix_and_the_format(photos: Path) -> None:
    plan = plan_jobs([photos / "a.jpg", photos / "b.png"], 4, Path("out"), "_sr", "webp")
    assert targets(plan) == ["out/a_sr.webp", "out/b_sr.webp"]


def test_a_single_input_can_go_to_a_named_file(photos: Path) -> None:
    assert targets(plan_jobs([photos / "a.jpg"], 4, Path("large.png"))) == ["large.png"]


def test_outputs_below_the_input_are_not_inputs_of_the_next_run(photos: Path) -> None:
    first = plan_jobs([photos], 4, photos / "out")
    for job in first.jobs:
        local(job.target).parent.mkdir(parents=True, exist_ok=True)
        local(job.target).write_bytes(b"x")
    assert targets(plan_jobs([photos], 4, photos / "out")) == targets(first)


def test_an_input_is_never_overwritten(photos: Path) -> None:
    plan = plan_jobs([photos / "a.jpg"], 4, photos)
    assert not plan.jobs
    assert "would replace the input" in plan.failures[0].reason


def test_another_input_is_never_overwritten_either(photos: Path) -> None:
    (photos / "a_x4.jpg").write_bytes(b"x")
    plan = plan_jobs([photos / "a.jpg", photos / "a_x4.jpg"], 4)
    assert targets(plan) == ["photos/a_x4_x4.jpg"]
    assert "would replace the input photos/a_x4.jpg" in plan.failures[0].reason


def test_two_inputs_never_share_an_output(photos: Path) -> None:
    (photos / "a.png").write_bytes(b"x")
    plan = plan_jobs([photos / "a.jpg", photos / "a.png"], 4, Path("out"), format_name="png")
    assert targets(plan) == ["out/a.png"]
    assert [failure.file.name for failure in plan.failures] == ["a.jpg"]  # the other keeps its format
    assert "is the output of" in plan.failures[0].reason


def test_missing_files_and_empty_folders_are_failures_and_the_others_are_done(photos: Path) -> None:
    (photos / "empty").mkdir()
    plan = plan_jobs([photos / "gone.png", photos / "empty", photos / "a.jpg"], 4)
    assert targets(plan) == ["photos/a_x4.jpg"]
    assert {failure.file.name: failure.reason for failure in plan.failures} == {
        "gone.png": "no such file",
        "empty": "no images in this folder",
    }


@pytest.mark.parametrize(
    ("out", "format_name", "message"),
    [
        (Path("large.png"), None, "names one file"),
        (Path("out"), "gif", "format is 'gif'; it must be one of"),
        (Path("photos/notes.txt"), None, "is a file, but not of a kind"),
    ],
)
def test_contradictions_are_usage_errors(photos: Path, out: Path, format_name: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_jobs([photos], 4, out, format_name=format_name)


def test_a_file_name_and_a_format_that_differ_are_a_usage_error(photos: Path) -> None:
    with pytest.raises(UsageError, match="contradict each other"):
        plan_jobs([photos / "a.jpg"], 4, Path("large.png"), format_name="jpg")


def test_one_map_is_decoded_once_and_shared_by_every_input(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path | str] = []
    read = StyleMap.read

    def counted(path: Path | str, max_pixels: int | None = None) -> StyleMap:
        reads.append(path)
        return read(path, max_pixels)

    monkeypatch.setattr(StyleMap, "read", counted)
    write_image(Path("mask.png"), Picture(np.full((2, 2, 1), 51, np.uint8)))
    first, *others = (job.t_map for job in plan_jobs([photos], 4, t_map=Path("mask.png")).jobs)
    assert isinstance(first, StyleMap)
    assert first.values == pytest.approx(0.2)
    assert len(others) == 3
    assert all(other is first for other in others)
    assert reads == [Path("mask.png")]


def test_a_folder_inside_another_can_be_written_to_that_other_one(photos: Path) -> None:
    assert targets(plan_jobs([photos / "deep"], 4, photos)) == ["photos/c.tif"]


def test_a_folder_of_maps_is_paired_by_stem_and_the_unpaired_are_named(photos: Path) -> None:
    masks = Path("masks")
    masks.mkdir()
    for name in ("a.png", "c.png", "stranger.png", "readme.txt"):
        (masks / name).write_bytes(b"x")
    plan = plan_jobs([photos], 4, t_map=masks)
    assert {job.source.name: job.t_map for job in plan.jobs} == {"a.jpg": masks / "a.png", "c.tif": masks / "c.png"}
    reasons = {failure.file.name: failure.reason for failure in plan.failures}
    assert set(reasons) == {"b.png", "anim.gif", "stranger.png"}
    assert reasons["stranger.png"] == "style map without an input of its name"


def test_two_maps_of_one_stem_are_an_error(photos: Path) -> None:
    masks = Path("masks")
    masks.mkdir()
    (masks / "a.png").write_bytes(b"x")
    (masks / "a.tif").write_bytes(b"x")
    with pytest.raises(StyleError, match="have the same stem"):
        plan_jobs([photos], 4, t_map=masks)


def test_a_missing_map_is_named(photos: Path) -> None:
    with pytest.raises(StyleError, match=r"gone\.png: no such file"):
        plan_jobs([photos], 4, t_map=Path("gone.png"))


def test_maps_in_a_tree_are_paired_by_their_place(photos: Path) -> None:
    for name in ("a.png", "deep/c.png", "other/c.png", ".b.png"):
        write_image(Path("maps") / name, Picture(np.zeros((2, 2, 1), np.uint8)))
    plan = plan_jobs([photos], 4, t_map=Path("maps"))
    assert {job.source.name: job.t_map for job in plan.jobs} == {
        "a.jpg": Path("maps/a.png"),
        "c.tif": Path("maps/deep/c.png"),
    }
    assert sorted((failure.file.as_posix(), failure.reason) for failure in plan.failures) == [
        ("maps/other/c.png", "style map without an input of its name"),
        ("photos/anim.gif", "no style map anim.* in maps"),
        ("photos/b.png", "no style map b.* in maps"),
    ]
    alone = plan_jobs([photos / "a.jpg"], 4, t_map=Path("maps"))
    assert not alone.failures


def test_a_style_map_is_never_overwritten(photos: Path) -> None:
    write_image(Path("maps/a.jpg"), Picture(np.zeros((2, 2, 1), np.uint8)))
    plan = plan_jobs([photos / "a.jpg"], 4, Path("maps"), t_map=Path("maps"))
    assert not plan.jobs
    (failure,) = plan.failures
    assert "would replace the input maps/a.jpg" in failure.reason
