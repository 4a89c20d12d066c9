"""TensorRT's libraries are found in the pip packages that hold them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fxsr.errors import UnavailableError
from fxsr.models.manifest import Flavour
from fxsr.runtime.embedding import find_tensorrt


@pytest.mark.parametrize(
    ("flavour", "library"),
    [("tensorrt", "tensorrt_libs/libnvinfer.so.10"), ("tensorrt-rtx", "tensorrt_rtx_libs/libtensorrt_rtx.so.1")],
)
def test_a_library_is_found_in_its_package(
    flavour: Flavour, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / library
    path.parent.mkdir()
    (path.parent / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, path.parent.name, raising=False)  # the real one, if another test imported it
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnavailableError, match=f"pip install {flavour}"):
        find_tensorrt(flavour)
    path.touch()
    assert find_tensorrt(flavour) == path
