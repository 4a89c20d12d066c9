from __future__ import annotations

import pytest

import fxsr
from fxsr.checkpoint import load_checkpoint
from fxsr.export.verify import verify
from fxsr.image import read_image
from fxsr.runtime.ort import OrtSession
from fxsr.runtime.session import Device, open_session
from fxsr.weights import bundled_models, model_path
from tests.support import SAMPLE


@pytest.mark.parametrize("name", bundled_models())
def test_graph_and_checkpoint_of_a_bundled_model_agree(name: str) -> None:
    checkpoint, onnx = model_path(name, ".safetensors"), model_path(name, ".onnx")
    with open_session(checkpoint, "cpu") as reference, OrtSession(onnx, Device("cpu")) as exported:
        assert exported.facts.checkpoint_sha256 == load_checkpoint(checkpoint).digest
        assert verify(reference, exported, "fp32", compact=True).passed


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_has_a_card_that_names_its_licence_and_data(name: str) -> None:
    card = model_path(name, ".md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    for heading in ("Licence", "Training data", "Limits"):
        assert heading in card


def test_load_upscales_the_sample() -> None:
    image = read_image(SAMPLE).pixels[100:160, 150:230]
    with fxsr.load(device="cpu") as up:
        sr = up(image, t=0.8)
        assert sr.shape == (240, 320, 3)
        assert sr.dtype == image.dtype
        assert up.session.info.scale == up.scale == 4
