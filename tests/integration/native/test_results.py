"""The C library gives the same numbers as `fxsr run` and `Upscaler`, in every layout."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fxsr
from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.images.image import Picture, read_image, write_image
from fxsr.images.rows import Rows
from fxsr.styles.style_map import StyleMap
from tests.native import Native, run_program
from tests.support import TINY, fxsr_cli, golden_checkpoint, noise

SIZE = (41, 50)
GRAPHS: dict[str, dict[str, Any]] = {
    "bytes": {"io": "uint8"},
    "half": {"precision": "fp16", "blocked": False},
    "packed": {"packed": True},
    "packed-bytes": {"packed": True, "io": "uint8"},
    "fixed": {"baked_t": 0.3},
}


def style_map() -> NDArray[np.float32]:
    """Random on the right; on the left one style, so that some tiles need no map."""
    values = np.random.default_rng(1).random(SIZE, np.float32)
    values[:, :34] = 0.25
    return values


def expected(
    model: Path, image: NDArray[Any], t: float | NDArray[Any], feather: float = 0, tile: int = 32
) -> NDArray[Any]:
    """The result of `Upscaler`."""
    with fxsr.load(model, device="cpu", tile=tile) as upscaler:
        style = StyleMap.uniform(t) if isinstance(t, float) else StyleMap.from_array(t)
        height, width = image.shape[:2]
        return upscaler.stream(Rows.of(image), style.over(height, width, feather)).whole()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_every_type_equals_upscaler_bit_for_bit(native: Native, model: Path, dtype: Any) -> None:
    image = noise(3, dtype, SIZE)
    with native.worker(model, tile=32) as worker:
        np.testing.assert_array_equal(worker.run(image, 0.5), expected(model, image, 0.5))


@pytest.mark.parametrize("feather", [0.0, 0.5, 4.5, 300.0])
def test_maps_and_feather_equal_upscaler_bit_for_bit(native: Native, model: Path, feather: float) -> None:
    image, styles = noise(3, np.float32, SIZE), style_map()
    with native.worker(model, tile=32) as worker:
        np.testing.assert_array_equal(worker.run(image, styles, feather), expected(model, image, styles, feather))


def test_maps_of_integers_equal_upscaler(native: Native, model: Path) -> None:
    image = noise(3, np.uint8, SIZE)
    with native.worker(model) as worker:
        for dtype in (np.uint8, np.uint16):
            styles = noise(1, dtype, SIZE)[..., 0]
            np.testing.assert_array_equal(worker.run(image, styles), expected(model, image, styles, tile=256))


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_kind_of_graph_equals_upscaler(native: Native, tmp_path: Path, graph: str) -> None:
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(**GRAPHS[graph]), tmp_path / "x.onnx")
    image = noise(3, np.uint8, SIZE)
    with native.worker(tmp_path / "x.onnx", tile=32) as worker:
        for t in (0.5, style_map()):
            np.testing.assert_array_equal(worker.run(image, t), expected(tmp_path / "x.onnx", image, t))


@pytest.mark.parametrize(("size", "tile"), [((1, 1), 0), ((3, 40), 16), ((40, 5), 0), ((33, 33), 32)])
def test_small_and_odd_sizes_equal_upscaler(native: Native, model: Path, size: tuple[int, int], tile: int) -> None:
    image = noise(3, np.uint8, size)
    with native.worker(model, tile=tile) as worker:
        np.testing.assert_array_equal(worker.run(image), expected(model, image, 0.8, tile=tile))


def test_grey_equals_upscaler_but_for_rounding(native: Native, model: Path) -> None:
    """The luminance is a sum of three products, which numpy leaves to BLAS."""
    image = noise(1, np.float32, SIZE)
    with native.worker(model, tile=32) as worker:
        np.testing.assert_allclose(worker.run(image, 0.5), expected(model, image, 0.5), rtol=0, atol=1e-6)


def test_layouts_hold_the_same_pixels(native: Native, model: Path) -> None:
    image = noise(3, np.uint16, SIZE)
    height, width = SIZE
    with native.worker(model, tile=32) as worker:
        right = worker.run(image)
        bgr = image[..., ::-1].copy()
        planar = image.transpose(2, 0, 1).copy()
        padded = np.full((height, width + 9, 4), 7, np.uint16)
        padded[:, :width, :3] = image
        odd = np.frombuffer(b"x" + image.tobytes(), np.uint8)[1:].view(np.uint16).reshape(image.shape)
        for view in (bgr[..., ::-1], planar.transpose(1, 2, 0), padded[:, :width, :3], odd, image[::-1].copy()[::-1]):
            np.testing.assert_array_equal(worker.run(view, out=np.zeros_like(right)), right)


def test_output_keeps_its_layout_and_what_lies_between_pixels(native: Native, model: Path) -> None:
    image = noise(3, np.uint8, SIZE)
    height, width = SIZE
    with native.worker(model) as worker:
        right = worker.run(image)
        frame = np.full((4 * height + 2, 4 * width + 3, 4), 9, np.uint8)
        inside = frame[1:-1, 2:-1, 2::-1]  # B, G, R and a byte that is not ours
        worker.run(image, out=inside)
        np.testing.assert_array_equal(inside, right)
        inside[...] = 9
        assert (frame == 9).all()
        floats = worker.run(image, out=np.zeros(right.shape, np.float32))
    np.testing.assert_array_equal((floats.clip(0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8), right)


def test_example_equals_fxsr_run_bit_for_bit(built: Path, native: Native, model: Path, tmp_path: Path) -> None:
    image = noise(3, np.uint8, SIZE)
    styles = noise(1, np.uint8, SIZE)
    write_image(tmp_path / "in.png", Picture(image))
    write_image(tmp_path / "map.png", Picture(styles))
    (tmp_path / "in.ppm").write_bytes(b"P6\n%d %d\n255\n" % SIZE[::-1] + image.tobytes())
    (tmp_path / "map.pgm").write_bytes(b"P5\n%d %d\n255\n" % SIZE[::-1] + styles.tobytes())
    run = fxsr_cli("run", tmp_path / "in.png", "-o", tmp_path / "right.png", "--engine", model, "--tile", "32",
                   "--t-map", tmp_path / "map.png", "--t-feather", "3", "--device", "cpu")  # fmt: skip
    assert run.returncode == 0, run.stderr
    files = [tmp_path / name for name in ("in.ppm", "out.ppm", "map.pgm")]
    run_program(built / "examples" / "upscale_ppm", model, *files, "3", "--tile", "32")
    header = b"P6\n%d %d\n255\n" % (4 * SIZE[1], 4 * SIZE[0])
    assert (tmp_path / "out.ppm").read_bytes() == header + read_image(tmp_path / "right.png").pixels.tobytes()


def test_example_of_a_moving_map_gives_each_frame_its_map(
    built: Path, native: Native, model: Path, tmp_path: Path
) -> None:
    height, width = 20, 32
    frames = np.random.default_rng(5).integers(0, 256, (5, height, width, 3), np.uint8)
    program = [str(built / "examples" / "moving_map"), str(model), str(width), str(height)]
    done = subprocess.run(program, input=frames.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    made = np.frombuffer(done.stdout, np.uint8).reshape(5, 4 * height, 4 * width, 3)
    with native.worker(model) as worker:
        for index, frame in enumerate(frames):
            near = np.abs(np.arange(width) - 4 * index) < width // 8
            styles = np.repeat(np.where(near, 255, 0).astype(np.uint8)[None], height, 0)
            np.testing.assert_array_equal(made[index], worker.run(frame, styles, feather=6))
    short = subprocess.run(program, input=frames.tobytes()[:-1], capture_output=True)
    assert (short.returncode, short.stderr) == (1, b"moving_map: standard input ends within a frame\n")
