from __future__ import annotations

import numpy as np
import pytest
import torch

import fxsr
from fxsr.errors import UsageError
from fxsr.export.verify.cases import make_cases
from fxsr.export.verify.verify import threshold, verify
from fxsr.images.image import read_image
from fxsr.metrics import luma, psnr
from fxsr.models.bundled import bundled_file, bundled_models, model_card
from fxsr.models.checkpoint import load_checkpoint
from fxsr.models.file import ModelFile, ModelFileKind, find_model
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.open import open_session
from fxsr.runtime.session import CPU
from fxsr.training.losses import reduce, weave
from tests.support import SAMPLE, fxsr_cli

FULL = "fxsr-photo-x4"
SMALL = [name for name in bundled_models() if name != FULL]


@pytest.mark.parametrize("name", SMALL)
def test_graph_and_checkpoint_of_a_bundled_model_agree(name: str) -> None:
    checkpoint, onnx = bundled_file(name, ".safetensors"), bundled_file(name, ".onnx")
    with open_session(checkpoint, "cpu") as reference, OrtSession(onnx, CPU) as exported:
        facts = exported.info.facts
        assert facts is not None
        assert facts.checkpoint_sha256 == load_checkpoint(checkpoint).digest
        assert verify(reference, exported, threshold(facts), make_cases()).passed


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_has_a_card_that_names_its_licence_and_data(name: str) -> None:
    card = bundled_file(name, ".md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    for heading in ("Licence", "Training data", "Limits"):
        assert heading in model_card(name, history=False)


def test_models_tells_how_a_model_was_made_only_when_asked() -> None:
    short, long = fxsr_cli("models"), fxsr_cli("models", "--verbose")
    assert short.returncode == long.returncode == 0
    assert "History" not in short.stdout
    assert long.stdout.count("History") == len(bundled_models())


@pytest.mark.parametrize("name", SMALL)
def test_the_dial_of_a_bundled_model_goes_from_soft_to_crisp(name: str) -> None:
    image = read_image(SAMPLE).pixels[100:196, 150:246]
    with fxsr.load(name, "cpu") as up:
        sharpness = [float(np.abs(np.diff(luma(up(image, t=t)), 2, 0)).mean()) for t in (0.0, 0.5, 1.0)]
    assert sharpness == sorted(sharpness)
    assert sharpness[2] > 1.1 * sharpness[0]


@pytest.mark.parametrize("name", SMALL)
def test_a_map_gives_each_side_what_its_style_gives_everywhere(name: str) -> None:
    image = read_image(SAMPLE).pixels[80:176, 100:260]
    halves = np.zeros(image.shape[:2])
    halves[:, 80:] = 1
    with fxsr.load(name, "cpu", tile=0) as up:
        left, both, right = (up(image, t=t) for t in (0.0, halves, 1.0))
        beyond = 32 * up.scale
    middle = both.shape[1] // 2
    assert psnr(both[:, : middle - beyond], left[:, : middle - beyond], 255) > 45
    assert psnr(both[:, middle + beyond :], right[:, middle + beyond :], 255) > 45


@pytest.mark.parametrize("name", SMALL)
def test_the_texture_of_a_bundled_model_is_no_mesh(name: str) -> None:
    """By `weave`: 0.04 to 0.06 is what t = 0 has; from 0.2 on, fur and grass look woven."""
    photo = torch.from_numpy(read_image(SAMPLE).pixels[44:300, 195:451].copy()).permute(2, 0, 1)[None] / 255
    with fxsr.load(name, "cpu") as up:
        lr = reduce(photo, up.scale).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        found = [float(weave(torch.from_numpy(up(lr, t=t)).permute(2, 0, 1)[None], photo, photo)) for t in (0.0, 1.0)]
    assert max(found) < 0.1


def test_the_model_of_full_size_runs_from_its_checkpoint_in_half_the_bytes() -> None:
    accepted = ModelFileKind.ONNX, ModelFileKind.CHECKPOINT
    assert find_model(FULL, *accepted) == ModelFile(bundled_file(FULL, ".safetensors"), ModelFileKind.CHECKPOINT)
    with pytest.raises(UsageError, match=f"comes as a checkpoint alone; .*: fxsr export --model {FULL}"):
        find_model(FULL, ModelFileKind.ONNX)
    assert bundled_file(FULL, ".safetensors").stat().st_size < 40e6
    image = read_image(SAMPLE).pixels[100:140, 150:190]
    with fxsr.load(FULL, "cpu") as up:
        sharpness = [float(np.abs(np.diff(luma(up(image, t=t)), 2, 0)).mean()) for t in (0.0, 0.5, 1.0)]
    assert sharpness == sorted(sharpness)
    assert sharpness[2] > 1.1 * sharpness[0]


def test_load_upscales_the_sample() -> None:
    image = read_image(SAMPLE).pixels[100:160, 150:230]
    with fxsr.load(device="cpu") as up:
        sr = up(image, t=0.8)
        assert sr.shape == (240, 320, 3)
        assert sr.dtype == image.dtype
        assert up.session.info.scale == up.scale == 4


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (8, 8)])
def test_tiny_images_keep_their_colour(size: tuple[int, int]) -> None:
    colour = np.array((40, 90, 220), np.uint8)
    with fxsr.load() as up:
        enlarged = up(np.broadcast_to(colour, (*size, 3)), 0.5)
    assert enlarged.shape == (4 * size[0], 4 * size[1], 3)
    assert np.abs(enlarged.astype(int) - colour).max() <= 4
