"""`fxsr run` as a user meets it: real files, a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from fxsr.images.image import Picture, read_image, write_image
from tests.support import PATIENCE, ROOT, SAMPLE, ended, fxsr_cli, fxsr_here, fxsr_process, wait_until


@pytest.fixture(scope="module")
def photo() -> Any:
    return read_image(SAMPLE).pixels[90:130, 140:200]


@pytest.fixture
def folder(tmp_path: Path, photo: Any) -> Path:
    """A folder of mixed images: RGBA PNG, 16-bit grey TIFF, CMYK JPEG, rotated JPEG, WebP, BMP, and a broken file."""
    folder = tmp_path / "mixed"
    alpha = np.zeros((40, 60, 1), np.uint8)
    alpha[10:30, 10:50] = 255
    write_image(folder / "alpha.png", Picture(np.concatenate([photo, alpha], 2)))
    write_image(folder / "grey16.tif", Picture(photo[..., :1].astype(np.uint16) * 257))
    write_image(folder / "deep" / "photo.webp", Picture(photo))
    write_image(folder / "photo.bmp", Picture(photo))
    image = pyvips.Image.new_from_array(photo).copy(interpretation="srgb")
    image.icc_transform("cmyk", input_profile="srgb").write_to_file(str(folder / "cmyk.jpg"))
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.write_to_file(str(folder / "rotated.jpg"))
    (folder / "broken.png").write_bytes((folder / "alpha.png").read_bytes()[:200])
    return folder


def test_a_folder_of_mixed_images_is_upscaled_and_a_broken_one_is_named(folder: Path, tmp_path: Path) -> None:
    done = fxsr_cli("run", folder, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "broken" not in line] == []
    assert "broken.png: not an image that can be read, or a damaged one" in done.stderr
    written = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    shapes = {
        name: (read_image(path).pixels.shape, read_image(path).pixels.dtype.name) for name, path in written.items()
    }
    assert shapes == {
        "alpha.png": ((160, 240, 4), "uint8"),
        "grey16.tif": ((160, 240, 1), "uint16"),
        "deep/photo.webp": ((160, 240, 3), "uint8"),
        "photo.bmp": ((160, 240, 3), "uint8"),
        "cmyk.jpg": ((160, 240, 3), "uint8"),
        "rotated.jpg": ((240, 160, 3), "uint8"),
    }


def test_skip_existing_leaves_what_is_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "photo.bmp"
    out.parent.mkdir()
    out.write_bytes(b"mine")
    done = fxsr_cli("run", folder / "photo.bmp", folder / "rotated.jpg", "-o", out.parent, "--skip-existing")
    assert done.returncode == 0, done.stderr
    assert "skipped" in done.stdout
    assert out.read_bytes() == b"mine"
    assert (out.parent / "rotated.jpg").exists()


def test_outputs_of_an_earlier_run_in_place_are_no_inputs(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, Picture(read_image(SAMPLE).pixels[:24, :32]))
    command = ("run", tmp_path, "-o", tmp_path, "--suffix", "_x4", "--skip-existing", "--outscale", "1")
    for _ in range(2):
        done = fxsr_cli(*command)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_x4.png", "b.png", "b_x4.png"]
    assert done.stdout.count("skipped") == 2


def test_json_is_all_there_is_on_standard_output(tmp_path: Path) -> None:
    """OpenEXR prints warnings to it."""
    write_image(tmp_path / "a.exr", Picture(np.random.default_rng(0).random((64, 48, 3), np.float32)))
    data = bytearray((tmp_path / "a.exr").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = b"\xff" * 400
    (tmp_path / "a.exr").write_bytes(data)
    done = fxsr_cli("run", tmp_path / "a.exr", "--json")
    assert done.returncode == 1
    assert [each["status"] for each in json.loads(done.stdout)] == ["failed"]


def test_json_reports_every_file(folder: Path, tmp_path: Path) -> None:
    done = fxsr_cli("run", folder / "photo.bmp", folder / "broken.png", "-o", tmp_path, "--json")
    assert done.returncode == 1
    good, bad = json.loads(done.stdout)
    assert (good["status"], good["size"], good["output"]) == ("done", [240, 160], str(tmp_path / "photo.bmp"))
    assert bad["status"] == "failed"
    assert "damaged" in bad["error"]


def test_quiet_prints_nothing_but_errors(folder: Path, tmp_path: Path) -> None:
    done = fxsr_cli("run", folder / "photo.bmp", "-o", tmp_path, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_checkpoints_run_too_and_agree(folder: Path, tmp_path: Path) -> None:
    from fxsr.models.bundled import bundled_file

    checkpoint = bundled_file("fxsr-pd-x4-small", ".safetensors")
    for name, engine in {"a.png": "fxsr-pd-x4-small", "b.png": str(checkpoint)}.items():
        done = fxsr_cli("run", folder / "photo.bmp", "-e", engine, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
    a, b = (read_image(tmp_path / name).pixels.astype(int) for name in ("a.png", "b.png"))
    assert np.abs(a - b).max() <= 1


def test_masks_in_a_folder_are_resized_and_paired_by_name(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    write_image(masks / "photo.png", Picture(np.full((7, 9, 1), 255, np.uint8)))
    write_image(masks / "orphan.png", Picture(np.full((7, 9, 1), 255, np.uint8)))
    inputs = [folder / "photo.bmp", folder / "rotated.jpg"]
    done = fxsr_cli("run", *inputs, "--t-map", masks, "--t", "0.5", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "rotated.jpg: note: there is no style map rotated.* in" in done.stderr
    assert "orphan.png: style map without an input of its name" in done.stderr
    assert (tmp_path / "out" / "photo.bmp").exists()
    assert (tmp_path / "out" / "rotated.jpg").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["photo.bmp", "--t", "1.5"], 2, "t is 1.5; it must be a number from 0 (faithful) to 1 (perceptual)"),
        (["photo.bmp", "--t-map", "broken.png"], 2, "style map broken.png: not an image"),
        (["photo.bmp", "--t-map", "gone.png"], 2, "style map gone.png: no such file"),
        (["gone.png"], 1, "gone.png: no such file"),
        (["photo.bmp", "--format", "gif"], 2, "format is 'gif'"),
        (["photo.bmp", "--device", "tpu"], 2, "device is 'tpu'"),
        (["photo.bmp", "--tile", "16", "--overlap", "9"], 2, "overlap 9 is more than half of tile 16"),
        (["photo.bmp", "--tile", "many"], 2, "tile is 'many'; it must be a number of pixels, or auto"),
        (["photo.bmp", "--outscale", "0"], 2, "outscale is 0; it must be above 0"),
        (["-", "photo.bmp"], 2, "- takes one image"),
        ([""], 2, "an argument is empty"),
        (["photo.bmp", "-e", ""], 2, "the value of -e is empty"),
        (["photo.bmp", "-o", "x.png", "--suffix", "_sr"], 2, "x.png is the output's whole name; leave out --suffix"),
        (["photo.bmp", "--overlap", "256"], 2, "overlap 256 is more than half of tile 256"),
        (["photo.bmp", "--tile", "64", "--overlap", "64"], 2, "overlap 64 is more than half of tile 64"),
        (["-", "-o", "folder"], 2, "an image from standard input has no name: give -o FILE instead of folder"),
        (["photo.bmp", "-o", "-", "--json"], 2, "would both go to standard output"),
        (["photo.bmp", "-e", "broken.png"], 2, "this kind of file can't be used here"),
        (["photo.bmp", "-e", "nothing"], 2, "not a bundled model"),
        (["photo.bmp", "-o", "x.gif"], 2, ".gif can't be written"),
        (["photo.bmp", "--device", "cuda"], 3, "has no CUDA provider"),
        ([], 2, "Missing argument"),
    ],
)
def test_bad_input_gets_one_clear_line(arguments: list[str], status: int, message: str, folder: Path) -> None:
    done = fxsr_here("run", *arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if arguments:
        assert len(done.stderr.strip().splitlines()) == 1
    assert not list(folder.glob("*_x4*"))


def test_an_unwritable_place_is_one_failure(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    done = fxsr_cli("run", folder / "photo.bmp", "-o", tmp_path / "out" / "deeper")
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_standard_input_goes_to_standard_output(folder: Path, tmp_path: Path) -> None:
    with (folder / "rotated.jpg").open("rb") as source:
        done = subprocess.run([sys.executable, ROOT / "cli.py", "run", "-"], stdin=source, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"- -> - (160x240" in done.stderr
    (tmp_path / "out").write_bytes(done.stdout)
    assert done.stdout.startswith(b"\x89PNG")
    assert read_image(tmp_path / "out").pixels.shape == (240, 160, 3)


def test_a_file_goes_to_standard_output_in_the_format_asked_for(folder: Path) -> None:
    arguments = ["-o", "-", "--format", "webp", "--quiet"]
    command: list[str | Path] = [sys.executable, ROOT / "cli.py", "run", folder / "photo.bmp", *arguments]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout[8:12] == b"WEBP"


def test_what_is_no_image_on_standard_input_is_named_and_nothing_is_sent() -> None:
    done = subprocess.run([sys.executable, ROOT / "cli.py", "run", "-"], input=b"no image", capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"fxsr: -: not an image that can be read")
    assert len(done.stderr.splitlines()) == 1


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    inputs = [folder / "photo.bmp", folder / "broken.png"]
    arguments: list[str | Path] = ["run", *inputs, "-o", tmp_path / "out", "--outscale", "2.5"]
    done = fxsr_cli(*arguments, "--dry-run", "--json")
    assert done.returncode == 1
    planned, broken = json.loads(done.stdout)
    assert (planned["status"], planned["size"], planned["tiles"]) == ("planned", [150, 100], 1)
    assert planned["seconds"] > 0
    assert broken["status"] == "failed"
    assert not (tmp_path / "out").exists()
    assert "1 to write, about" in fxsr_cli(*arguments, "--dry-run").stdout


def test_a_dry_run_reads_maps_too_and_maps_are_no_photos(photo: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", Picture(photo))
    write_image(tmp_path / "in" / "b.png", Picture(photo))
    write_image(tmp_path / "in" / "maps" / "a.png", Picture(photo[..., :1]))
    (tmp_path / "in" / "maps" / "b.png").write_bytes(b"?")
    arguments = ("run", tmp_path / "in", "--t-map", tmp_path / "in" / "maps", "-o", tmp_path / "out", "--json")
    for more in (["--dry-run"], []):
        done = fxsr_cli(*arguments, *more)
        assert done.returncode == 1
        good, bad = json.loads(done.stdout)
        assert good["input"].endswith("in/a.png")
        assert bad["status"] == "failed"
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["a.png"]


def test_places_without_a_name_are_refused(tmp_path: Path) -> None:
    done = fxsr_cli("run", "/")
    assert done.returncode == 2
    assert done.stderr == "fxsr: /: there is no place next to it for outputs; give -o FOLDER\n"
    done = fxsr_cli("run", "-", "--t-map", tmp_path)
    assert done.returncode == 2
    assert "standard input has no name" in done.stderr


def test_names_with_spaces_brackets_and_umlauts(photo: Any, tmp_path: Path) -> None:
    path = tmp_path / "mein [bold] Bild ü.png"
    write_image(path, Picture(photo[:16, :16]))
    done = fxsr_cli("run", path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mein [bold] Bild ü_x4.png").exists()
    assert "[bold]" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_partial_file(number: signal.Signals, photo: Any, tmp_path: Path) -> None:
    all_names = {f"{letter}.png" for letter in "abcdef"}
    for name in all_names:
        write_image(tmp_path / "in" / name, Picture(photo.repeat(4, 0).repeat(4, 1)))
    out = tmp_path / "out"
    with ended(fxsr_process("run", tmp_path / "in", "-o", out)) as process:
        wait_until((out / "a.png").exists, process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    names = {path.name for path in out.iterdir()}
    assert "a.png" in names
    assert names < all_names
    for path in out.iterdir():
        assert read_image(path).pixels.shape == (640, 960, 3)


def test_the_input_is_never_overwritten(folder: Path, tmp_path: Path) -> None:
    before = (folder / "photo.bmp").read_bytes()
    done = fxsr_cli("run", folder / "photo.bmp", "-o", folder)
    assert done.returncode == 1
    assert "would replace the input" in done.stderr
    assert (folder / "photo.bmp").read_bytes() == before


@pytest.mark.parametrize("command", [[], ["run"], ["export"], ["train"], ["eval"], ["info"], ["models"], ["doctor"]])
def test_every_help_explains_itself(command: list[str]) -> None:
    done = fxsr_cli(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_info_models_and_doctor_describe_files_and_the_machine(tmp_path: Path) -> None:
    facts = json.loads(fxsr_cli("info", "fxsr-pd-x4-small", "--json").stdout)
    assert (facts["scale"], facts["nb"], facts["precision"]) == (4, 6, "fp32")
    models = json.loads(fxsr_cli("models", "--json").stdout)
    assert "fxsr-pd-x4-small" in models["bundled"]
    assert {(model["name"], model["scale"]) for model in models["published"]} >= {("FxSR-PD 4x", 4), ("FxSR-DS 8x", 8)}
    assert "github.com/seungho-snu/FxSR" in fxsr_cli("models").stdout
    assert json.loads(fxsr_cli("doctor", "--json").stdout)["onnxruntime"]
    told = fxsr_cli("models", "--download", "FxSR-PD 4x")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "fxsr export --checkpoint" in told.stderr
    shutil.copy(SAMPLE, tmp_path / "a.png")
    refused = fxsr_cli("info", tmp_path / "a.png")
    assert refused.returncode == 2
    assert "this kind of file can't be used here" in refused.stderr


def test_a_run_leaves_no_telemetry(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime collects usage data in these folders."""
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    for name, place in {"HOME": home, "XDG_CACHE_HOME": home / ".cache", "TMPDIR": home / "tmp"}.items():
        monkeypatch.setenv(name, str(place))
    assert fxsr_cli("run", folder / "photo.bmp", "-o", tmp_path / "out.png").returncode == 0
    assert not [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_of_any_kind_are_read_and_written(folder: Path, tmp_path: Path) -> None:
    photo = (folder / "alpha.png").read_bytes()
    names = [
        b"\xff\xfe.png",
        b"a[Q=50].png",
        b"with space\tand tab.png",
        "ü:smile:.png".encode(),
        b"-dash.png",
        b"x" * 251 + b".png",
    ]
    (tmp_path / "in").mkdir()
    for name in names:
        Path(os.fsdecode(bytes(tmp_path / "in") + b"/" + name)).write_bytes(photo)
    (tmp_path / "ends[Q=50]").write_bytes(photo)
    done = fxsr_cli("run", "in", "ends[Q=50]", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert written == {*names, b"ends[Q=50].png"}
    assert ":smile:" in done.stdout


@pytest.mark.parametrize("device", ["/dev/full"])
def test_a_full_stream_is_one_line(device: str, folder: Path, tmp_path: Path) -> None:
    for arguments in (["-o", "-"], ["-o", "o.png"]):
        with Path(device).open("wb") as full:
            command = [sys.executable, str(ROOT / "cli.py"), "run", str(folder / "photo.bmp"), *arguments]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=120)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "fxsr: No space left on device"
        assert "Traceback" not in done.stderr


def test_a_closed_stream_is_one_line(folder: Path, tmp_path: Path) -> None:
    cli = f"{sys.executable} {ROOT / 'cli.py'} run"
    for command in (f"{cli} - <&-", f"{cli} {folder / 'photo.bmp'} -o - >&-"):
        done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=120)
        assert (done.returncode, done.stderr) == (2, "fxsr: - is a stream that is closed; open it, or give files\n")
