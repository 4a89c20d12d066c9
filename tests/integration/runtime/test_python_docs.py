"""The Python in docs/python.md, block by block, on small files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fxsr.images.image import Picture, read_image, write_image
from tests.support import ROOT, noise

OPENCV = SimpleNamespace(
    COLOR_BGR2RGB=4,
    COLOR_RGB2BGR=4,
    imread=lambda path: read_image(path).pixels[..., ::-1],
    imwrite=lambda path, pixels: write_image(path, Picture(pixels[..., ::-1])),
    cvtColor=lambda pixels, code: np.ascontiguousarray(pixels[..., ::-1]),
)
"""As much of OpenCV as the block needs, which tests don't install."""


def test_the_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "photo.jpg", Picture(np.full((20, 24, 3), (230, 20, 20), np.uint8)))
    write_image(tmp_path / "mask.png", Picture(noise(1, size=(20, 24))))
    write_image(tmp_path / "large.tif", Picture(noise(3, np.uint16, (40, 24))))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"image": noise(3, size=(20, 24)), "mask": np.linspace(0, 1, 20 * 24).reshape(20, 24)}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    monkeypatch.setitem(sys.modules, "cv2", OPENCV)
    shapes = []
    for block in blocks:
        exec(block, names)
        if "cv2" in block:  # the colours of a red photo are where they belong
            red, green, blue = read_image("photo_x4.png").pixels.reshape(-1, 3).mean(0)
            assert red > 200 > 50 > max(green, blue)
        shapes.append(names["sr"].shape)
    assert shapes[0] == (80, 96, 3)
    assert shapes[-1] == (1, 3, 256, 256)
    assert read_image("photo_x4.png").pixels.shape == (80, 96, 3)
    assert read_image("large_x4.tif").pixels.shape == (160, 96, 3)
    assert read_image("large_x4.tif").pixels.dtype == np.uint16
