"""The ComfyUI node, as far as it goes without ComfyUI: loaded as a folder of `custom_nodes` and called with tensors."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from fxsr.errors import FxsrError
from fxsr.runtime.upscale.upscaler import load
from fxsr.styles.style_map import StyleMap
from tests.support import ROOT

TYPES = {"IMAGE", "MASK", "STRING", "FLOAT", "INT"}
"""ComfyUI's types that the node uses."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The folder after it was copied, imported as ComfyUI does it: under a name that is its path."""
    folder = tmp_path / "custom_nodes" / "fxsr-comfyui"
    shutil.copytree(ROOT / "integrations" / "comfyui", folder, ignore=shutil.ignore_patterns("__pycache__"))
    spec = importlib.util.spec_from_file_location(str(folder), folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, str(folder), module)
    spec.loader.exec_module(module)
    return module


def images(count: int, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((count, 20, 24, channels), np.float32))


def test_it_declares_what_comfyui_asks_for(package: Any) -> None:
    assert package.NODE_CLASS_MAPPINGS.keys() == package.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for node in package.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        declared = {**inputs["required"], **inputs["optional"]}
        assert {kind for kind, *_ in declared.values()} <= TYPES
        for kind, *about in declared.values():
            if kind in ("FLOAT", "INT"):
                assert about[0]["min"] <= about[0]["default"] <= about[0]["max"]
        assert node.RETURN_TYPES == ("IMAGE",)
        parameters = getattr(node, node.FUNCTION).__code__.co_varnames[1 : 1 + len(declared)]
        assert set(parameters) == set(declared)


def test_images_and_masks_give_what_upscaler_gives(package: Any) -> None:
    node = package.NODE_CLASS_MAPPINGS["FxsrUpscale"]()
    defaults = {name: about[0]["default"] for name, (_, *about) in node.INPUT_TYPES()["required"].items() if about}
    given = images(2)
    with load() as upscaler:
        (plain,) = node.upscale(image=given, **defaults)
        assert (plain.shape, plain.dtype) == ((2, 80, 96, 3), torch.float32)
        for one, made in zip(given, plain, strict=True):
            np.testing.assert_array_equal(made, upscaler(one.numpy(), t=0.8).clip(0, 1))
        mask = torch.zeros(1, 10, 12)
        mask[:, 5:] = 1
        (masked,) = node.upscale(image=given, mask=mask, t_black=0.2, feather=2.0, **defaults)
        style = StyleMap.from_array(mask[0].numpy()).ranged(0.2, 0.8).over(20, 24, 2.0)
        expected = upscaler(given[0].numpy(), t=style.rows(slice(0, 20))).clip(0, 1)
        np.testing.assert_allclose(masked[0], expected, atol=1e-6)
        (own,) = node.upscale(image=given, mask=torch.stack([torch.zeros(20, 24), torch.ones(20, 24)]), **defaults)
        for index, t in enumerate((0.0, 0.8)):
            np.testing.assert_array_equal(own[index], upscaler(given[index].numpy(), t=t).clip(0, 1))
    (transparent,) = node.upscale(image=images(1, 4), **defaults)
    assert transparent.shape == (1, 80, 96, 4)


def test_what_does_not_fit_is_refused(package: Any) -> None:
    node = package.NODE_CLASS_MAPPINGS["FxsrUpscale"]()
    with pytest.raises(ValueError, match="3 masks for 2 images"):
        node.upscale(images(2), "fxsr-pd-x4-small", 0.8, torch.zeros(3, 20, 24))
    with pytest.raises(FxsrError, match="nothing"):
        node.upscale(images(1), "nothing.onnx", 0.8)


def test_progress_is_shown_and_an_interruption_ends_the_work(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    stop = False

    class ProgressBar:
        def __init__(self, total: int) -> None:
            assert total == 200

        def update_absolute(self, value: int) -> None:
            shown.append(value)

    def check() -> None:
        if stop:
            raise InterruptedError

    comfy, utils, management = (ModuleType(name) for name in ("comfy", "comfy.utils", "comfy.model_management"))
    vars(utils)["ProgressBar"] = ProgressBar
    vars(management)["throw_exception_if_processing_interrupted"] = check
    for module in (comfy, utils, management):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    node = package.NODE_CLASS_MAPPINGS["FxsrUpscale"]()
    node.upscale(images(2), "fxsr-pd-x4-small", 0.8, tile=16)
    assert shown == sorted(shown)
    assert shown[-1] == 200
    stop = True
    with pytest.raises(InterruptedError):
        node.upscale(images(2), "fxsr-pd-x4-small", 0.8)
