"""The page in Chromium, for each file of tests one server and one browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.runtime.serve.settings import Settings
from tests.browsing import ServedPage, chromium, open_photo, serving_page, visiting, write_photo


@pytest.fixture(scope="module")
def served() -> Iterator[ServedPage]:
    with serving_page(Settings(max_pixels=2_000_000, max_bytes=20 << 20)) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_photo(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def pixels(photo: Path) -> NDArray[np.uint8]:
    return write_photo(photo)


@pytest.fixture
def page(browser: Any, served: ServedPage, photo: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page with a photo open; parametrized with options of the browser's context."""
    with visiting(browser, served.address, **getattr(request, "param", {})) as page:
        open_photo(page, photo)
        yield page
