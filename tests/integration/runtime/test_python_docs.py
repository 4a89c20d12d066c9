"""The Python in docs/python.md, block by block, on small files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxsr.images.image import Picture, read_image, write_image
from tests.support import ROOT, noise


def test_the_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "photo.jpg", Picture(noise(3, size=(20, 24))))
    write_image(tmp_path / "mask.png", Picture(noise(1, size=(20, 24))))
    write_image(tmp_path / "large.tif", Picture(noise(3, np.uint16, (40, 24))))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"image": noise(3, size=(20, 24)), "mask": np.linspace(0, 1, 20 * 24).reshape(20, 24)}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    shapes = []
    for block in blocks:
        exec(block, names)
        shapes.append(names["sr"].shape)
    assert shapes[0] == (80, 96, 3)
    assert shapes[-1] == (1, 3, 256, 256)
    assert read_image("photo_x4.png").pixels.shape == (80, 96, 3)
    assert read_image("large_x4.tif").pixels.shape == (160, 96, 3)
    assert read_image("large_x4.tif").pixels.dtype == np.uint16
