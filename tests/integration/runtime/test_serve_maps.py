"""Style maps that `fxsr serve` makes from the photos it is sent: `t_map=auto:...`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from fxsr.images.image import Picture, read_image, write_image
from fxsr.runtime.upscale.upscaler import Upscaler
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import StyleMap
from tests.serving import SMALL, Serving, metric, nearest, serving
from tests.support import SAMPLE, NearestSession, wait_until


@pytest.fixture(scope="module")
def plain() -> Iterator[Serving]:
    with serving(nearest()) as running:
        yield running


def test_a_map_is_made_from_the_photo_as_fxsr_run_makes_it(tmp_path: Path) -> None:
    pixels = read_image(SAMPLE).pixels[60:160, 100:260]
    write_image(tmp_path / "photo.png", Picture(pixels))
    style = AutomaticStyle(("focus", "texture")).read(tmp_path / "photo.png")
    gained = Upscaler(NearestSession(gain=0.2), 64, 8)
    with serving(lambda: {"m": gained}) as running:
        answer = running.post((tmp_path / "photo.png").read_bytes(), t_map="auto:focus+texture", t=0.9)
    assert answer.status_code == 200, answer.text
    assert "fxsr-notes" not in answer.headers
    (tmp_path / "answer.png").write_bytes(answer.content)
    expected = Upscaler(NearestSession(gain=0.2), 64, 8)(pixels, style.scaled(0.9))
    assert np.array_equal(read_image(tmp_path / "answer.png").pixels, expected)


def test_what_the_server_lacks_for_a_map_is_said(plain: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsr.styles.automatic.registry.is_installed", lambda package: False)
    answer = plain.post(SMALL, t_map="auto:faces+focus")
    assert answer.status_code == 422
    assert 'type in the clone of FxSR: pip install ".[faces]"' in answer.json()["detail"]
    answer = plain.post(SMALL, t_map="auto")
    assert answer.status_code == 200
    assert "does not look for faces and text" in answer.headers["fxsr-notes"]


def test_clients_that_went_away_get_no_map(plain: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, opened, made = threading.Event(), threading.Event(), []

    def make(style: AutomaticStyle, photo: Path, limit: int) -> StyleMap:
        made.append(photo)
        entered.set()
        assert opened.wait(200)
        return StyleMap.uniform(0.5)

    monkeypatch.setattr(AutomaticStyle, "read", make)
    impatient = httpx.Client(base_url=plain.client.base_url)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(plain.post, SMALL, t_map="auto")
        assert entered.wait(200)
        second = pool.submit(Serving(plain.app, plain.port, impatient).post, SMALL, t_map="auto")
        wait_until(lambda: metric(plain, "fxsr_requests_in_flight") == 2)
        impatient.close()
        with pytest.raises(httpx.HTTPError):
            second.result(200)
        wait_until(lambda: metric(plain, "fxsr_requests_in_flight") == 1)
        opened.set()
        assert first.result(200).status_code == 200
    assert plain.post(SMALL, t_map="auto").status_code == 200
    assert len(made) == 2
