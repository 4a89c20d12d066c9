from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

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
    inputs = [photos / "a.jpg", photos / "a_x4.jpg"]
    with pytest.raises(
        UsageError, match=r"output of photos/a\.jpg would replace the input photos/a_x4\.jpg; give another"
    ):
        plan_jobs(inputs, 4)
    assert targets(plan_jobs(inputs, 4, Path("out"))) == ["out/a.jpg", "out/a_x4.jpg"]


def test_running_twice_in_place_is_refused_before_the_work_and_the_advice_works(photos: Path) -> None:
    first = plan_jobs([photos], 4, photos, "_sr", resume=False)
    for job in first.jobs:
        local(job.target).write_bytes(b"x")
    with pytest.raises(UsageError, match="give --skip-existing if an earlier run wrote it, or else another -o"):
        plan_jobs([photos], 4, photos, "_sr", resume=False)
    assert targets(plan_jobs([photos], 4, photos, "_sr", resume=True)) == targets(first)
    assert len(plan_jobs([photos], 4, Path("out"), "_sr", resume=False).jobs) == 2 * len(first.jobs)


def test_two_inputs_never_share_an_output(photos: Path) -> None:
    (photos / "a.png").write_bytes(b"x")
    plan = plan_jobs([photos / "a.jpg", photos / "a.png"], 4, Path("out"), format_name="png")
    assert targets(plan) == ["out/a.png"]
    assert [failure.file.name for failure in plan.failures] == ["a.jpg"]  # the other keeps its format
    assert plan.failures[0].reason == (
        "out/a.png is the output of photos/a.png already; rename one, or run this one apart with another -o"
    )
    assert targets(plan_jobs([photos / "a.jpg"], 4, Path("other"), format_name="png")) == ["other/a.png"]


def test_an_input_that_is_named_twice_is_done_once(photos: Path) -> None:
    inputs = [photos, photos / "a.jpg", Path.cwd() / "photos"]
    assert targets(plan_jobs(inputs, 4, Path("out"))) == ["out/a.jpg", "out/anim.png", "out/b.png", "out/deep/c.tif"]
    assert not plan_jobs(inputs, 4, Path("out")).failures


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="may enter every folder")
@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_folder_that_cannot_be_entered_is_named_and_the_others_are_done(photos: Path, mode: int) -> None:
    (photos / "deep").chmod(mode)
    plan = plan_jobs([photos], 4, Path("out"))
    (photos / "deep").chmod(0o700)
    assert targets(plan) == ["out/a.jpg", "out/anim.png", "out/b.png"]
    assert [(failure.file, failure.reason) for failure in plan.failures] == [
        (photos / "deep", "cannot be searched (Permission denied)")
    ]


def test_what_refuses_to_be_searched_is_a_failure_and_its_neighbours_are_done(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refusing(folder: Any) -> Any:
        if Path(folder).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    plan = plan_jobs([photos], 4, Path("out"))
    assert targets(plan) == ["out/a.jpg", "out/anim.png", "out/b.png"]
    assert [(failure.file, failure.reason) for failure in plan.failures] == [
        (photos / "deep", "cannot be searched (Permission denied)")
    ]
    alone = plan_jobs([photos / "deep"], 4, Path("out"))
    assert [failure.reason for failure in alone.failures] == ["cannot be searched (Permission denied)"]


def test_hidden_folders_are_not_searched(photos: Path) -> None:
    (photos / ".trash" / "deep").mkdir(parents=True)
    (photos / ".trash" / "deep" / "old.png").write_bytes(b"x")
    assert len(plan_jobs([photos], 4, Path("out")).jobs) == 4


def test_a_link_to_nothing_is_named(photos: Path) -> None:
    (photos / "gone.png").symlink_to("nowhere.png")
    plan = plan_jobs([photos], 4, Path("out"))
    assert [(failure.file.name, failure.reason) for failure in plan.failures] == [
        ("gone.png", "a link to a file that is not there")
    ]
    assert len(plan.jobs) == 4


def test_a_name_that_is_too_long_is_found_before_the_work(photos: Path) -> None:
    name = "ü" * 125 + ".png"  # 254 bytes
    (photos / name).write_bytes(b"x")
    assert targets(plan_jobs([photos / name], 4, Path("out"))) == [f"out/{name}"]
    (failure,) = plan_jobs([photos / name], 4).failures
    assert failure.reason == (
        "the name of its output would have 257 bytes, and at most 255 are possible; rename the input, or give a "
        "shorter --suffix or -o"
    )
    plan = plan_jobs([photos / "a.jpg"], 4, Path("o" * 256, "deeper"))
    assert "would have 256 bytes" in plan.failures[0].reason
    plan = plan_jobs([photos / "a.jpg"], 4, Path(*["deep" * 50] * 21))
    assert "the path of its output would have" in plan.failures[0].reason


def test_a_suffix_for_a_file_that_is_named_whole_is_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match="leave out --suffix"):
        plan_jobs([photos / "a.jpg"], 4, Path("large.png"), "_sr")


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


@pytest.mark.parametrize("name", ["a.jxl", "a.GIF", "a.mp4"])
def test_a_name_of_a_kind_that_cannot_be_written_is_no_folder(photos: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"\{Path(name).suffix} can't be written; choose"):
        plan_jobs([photos / "a.jpg"], 4, Path(name))
    Path(name).mkdir()
    assert targets(plan_jobs([photos / "a.jpg"], 4, Path(name))) == [f"{name}/a.jpg"]


def test_a_folder_that_is_reached_by_a_link_has_its_outputs_next_to_the_link(photos: Path) -> None:
    Path("far").mkdir()
    photos.rename("far/photos")
    Path("link").symlink_to("far/photos")
    plan = plan_jobs([Path("link")], 4)
    assert {job.target.parent.parts[-1] for job in plan.jobs if len(job.source.parts) == 2} == {"link_x4"}


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
    paired = {job.source.name: job.t_map for job in plan.jobs if job.t_map}
    assert paired == {"a.jpg": masks / "a.png", "c.tif": masks / "c.png"}
    assert {job.source.name for job in plan.jobs if job.notes} == {"b.png", "anim.gif"}
    reasons = {failure.file.name: failure.reason for failure in plan.failures}
    assert reasons == {"stranger.png": "style map without an input of its name"}


def test_two_maps_of_one_stem_are_an_error(photos: Path) -> None:
    masks = Path("masks")
    masks.mkdir()
    (masks / "a.png").write_bytes(b"x")
    (masks / "a.tif").write_bytes(b"x")
    with pytest.raises(StyleError, match="have the same stem"):
        plan_jobs([photos], 4, t_map=masks)


def test_a_missing_map_is_named(photos: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.png: no such file"):
        plan_jobs([photos], 4, t_map=Path("gone.png"))


def test_maps_in_a_tree_are_paired_by_their_place(photos: Path) -> None:
    for name in ("a.png", "deep/c.png", "other/c.png", ".b.png"):
        write_image(Path("maps") / name, Picture(np.zeros((2, 2, 1), np.uint8)))
    plan = plan_jobs([photos], 4, t_map=Path("maps"), uniform_t=0.3)
    assert {job.source.as_posix(): (job.t_map, job.notes) for job in plan.jobs} == {
        "photos/a.jpg": (Path("maps/a.png"), ()),
        "photos/deep/c.tif": (Path("maps/deep/c.png"), ()),
        "photos/anim.gif": (None, ("there is no style map anim.* in maps; it gets t = 0.3",)),
        "photos/b.png": (None, ("there is no style map b.* in maps; it gets t = 0.3",)),
    }
    assert [(failure.file.as_posix(), failure.reason) for failure in plan.failures] == [
        ("maps/other/c.png", "style map without an input of its name")
    ]
    alone = plan_jobs([photos / "a.jpg"], 4, t_map=Path("maps"))
    assert not alone.failures


def test_a_style_map_is_never_overwritten(photos: Path) -> None:
    write_image(Path("maps/a.jpg"), Picture(np.zeros((2, 2, 1), np.uint8)))
    plan = plan_jobs([photos / "a.jpg"], 4, Path("maps"), t_map=Path("maps"))
    assert not plan.jobs
    (failure,) = plan.failures
    assert "would replace the input maps/a.jpg" in failure.reason
