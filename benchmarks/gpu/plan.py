"""The steps of the hardware report, in the order of their value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fxsr.benchmarks.gpu.models import Side, Size
from fxsr.benchmarks.gpu.steps import Step
from fxsr.models.manifest import Precision
from fxsr.runtime.backends.tensorrt.engine_file import EXTRAS
from fxsr.training.recipes import bundled_recipes

GROUPS = (
    "1 machine",
    "2 device layer",
    "3 backends",
    "4 rewrites and options",
    "5 tests, server, files",
    "6 training",
    "7 further comparisons",
)
Comparison = tuple[Side, Precision, Size, bool]
"""Model, precision, size of the LR image, and whether there is a style map."""
_PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")
_SIDES: tuple[Side, ...] = ("small", "full")
REQUIRED = ["cuda", "onnxruntime", "tensorrt"]
"""Parts without which tests on a GPU fail; see `tests/requirements.py`."""


@dataclass(frozen=True)
class Scale:
    """How much work the steps do."""

    device: str
    blocks: int
    """Blocks of the full-size model."""
    sizes: tuple[Size, ...]
    """For full comparisons: the size of engines for comparisons first, the size for the full-size model second, the
    size of videos last."""
    seconds: float
    rounds: int
    warm_up: float
    clients: tuple[int, ...]
    photos: int
    huge: int
    """Side of the huge image."""
    copy_mebibytes: int
    options: int | None
    """Number of ONNX Runtime's options to try. None: all."""
    brief: bool = False
    """Do only the first of each kind of comparison."""
    limits: float = 1.0
    """Factor for the limits of all steps."""
    photos_compared: int | None = None
    """Number of photos in comparisons. None: all bundled ones."""
    train_overrides: tuple[str, ...] = ()
    recipes: tuple[str, ...] | None = None
    """None: all bundled ones."""

    @property
    def timing(self) -> dict[str, Any]:
        """Fields of `BenchOptions`."""
        return {"device": self.device, "seconds": self.seconds, "rounds": self.rounds, "warm_up": self.warm_up}


FULL = Scale(
    device="cuda",
    blocks=23,
    sizes=((256, 256), (512, 512), (540, 960)),
    seconds=2.0,
    rounds=7,
    warm_up=3.0,
    clients=(1, 4, 16, 64),
    photos=48,
    huge=8192,
    copy_mebibytes=256,
    options=None,
)
REHEARSAL = Scale(
    device="cpu",
    blocks=1,
    sizes=((32, 32), (48, 48), (32, 56)),
    seconds=0.1,
    rounds=2,
    warm_up=0.1,
    clients=(1, 2),
    photos=2,
    huge=256,
    copy_mebibytes=1,
    options=1,
    brief=True,
    limits=5.0,
    photos_compared=1,
    train_overrides=(
        "network.nb=1",
        "data.patch=128",
        "psnr.batch=1",
        "conditional.batch=1",
        "precision=fp32",
    ),
    recipes=("fxsr-pd-x4-small",),
)
"""All steps on the CPU with as little work as possible. It shows that the steps work, and nothing else."""


def plan_steps(scale: Scale) -> list[Step]:
    """The steps in the order in which they run."""
    device_layer = _tests("tests/gpu/test_device_layer.py", ["cuda"])
    steps = [
        *_machine(scale),
        Step(GROUPS[1], "device layer", "testing.run_tests", 120, device_layer),
        *_backends(scale),
        *_rewrites(scale),
        *_use(scale),
        *_training(scale),
        *_further(scale),
    ]
    return [replace(step, limit_s=step.limit_s * scale.limits) for step in steps]


def _tests(path: str, required: list[str]) -> dict[str, Any]:
    return {"path": path, "required": required}


def _machine(scale: Scale) -> Iterator[Step]:
    group, device = GROUPS[0], {"device": scale.device}
    yield Step(group, "versions", "machine.describe_machine", 60)
    yield Step(group, "backends", "machine.check_backends", 120)
    yield Step(group, "matrix products", "probes.measure_gemm", 60, device)
    yield Step(group, "copies", "probes.measure_copies", 60, {"device": "cuda", "mebibytes": scale.copy_mebibytes})


def _backends(scale: Scale) -> Iterator[Step]:
    """Full TensorRT first: its engines are what everything else is compared with."""
    group = GROUPS[2]
    small, large, video = scale.sizes
    for flavour in EXTRAS:
        common = {"blocks": scale.blocks, "flavour": flavour}
        step = {**common, "side": "small", "size": small, "range_of_sizes": True}
        yield Step(group, f"build {flavour} engine, small", "parity.build_engine", 420, step)
        parity: dict[str, Any] = {"backend": flavour, "device": scale.device, "precision": "fp16", "size": small}
        parity["photos"] = scale.photos_compared
        yield Step(group, f"parity of {flavour}", "parity.check_parity", 120, parity)
    for backend, precision in (("onnxruntime", "fp32"), ("onnxruntime", "fp16"), ("torch", "fp32"), ("torch", "fp16")):
        parity = {"backend": backend, "device": scale.device, "precision": precision, "size": small}
        parity["photos"] = scale.photos_compared
        yield Step(group, f"parity of {backend}, {precision}", "parity.check_parity", 120, parity)
    for flavour in EXTRAS:
        for side, size, limit in (("full", large, 600), ("small", video, 420)):
            step = {"blocks": scale.blocks, "flavour": flavour, "side": side, "size": size, "range_of_sizes": False}
            yield Step(group, f"build {flavour} engine, {side}, {_text(size)}", "parity.build_engine", limit, step)
    for comparison in _first_comparisons(scale):
        yield _speed(group, scale, *comparison)


def _first_comparisons(scale: Scale) -> list[Comparison]:
    """The comparisons that matter most: throughput of the full-size model, and the small one on video."""
    _, large, video = scale.sizes
    return [("full", "fp16", large, False), ("small", "fp16", video, True)]


def _further(scale: Scale) -> Iterator[Step]:
    """All other sizes, styles and precisions: less than what the groups before tell, and longer than all of them."""
    first = _first_comparisons(scale)
    every: list[Comparison] = [
        (side, precision, size, t_map)
        for precision in _PRECISIONS
        for side in _SIDES
        for size in scale.sizes
        for t_map in (False, True)
    ]
    others = [comparison for comparison in every if comparison not in first]
    for comparison in others[-1:] if scale.brief else others:
        yield _speed(GROUPS[6], scale, *comparison)


def _speed(group: str, scale: Scale, side: Side, precision: Precision, size: Size, t_map: bool) -> Step:
    arguments: dict[str, Any] = {"side": side, "blocks": scale.blocks, "precision": precision, "size": size}
    arguments["timing"] = scale.timing | {"t_map": t_map}
    style = "map" if t_map else "one style"
    return Step(group, f"speed: {side}, {precision}, {_text(size)}, {style}", "speed.compare_forms", 200, arguments)


def _rewrites(scale: Scale) -> Iterator[Step]:
    group = GROUPS[3]
    small, large, _ = scale.sizes
    graphs: list[tuple[Side, Precision, Size]] = [
        ("full", "fp16", large),
        ("small", "fp16", small),
        ("small", "fp32", small),
    ]
    for side, precision, size in graphs[:1] if scale.brief else graphs:
        arguments = {"side": side, "blocks": scale.blocks, "precision": precision, "size": size}
        timed = arguments | {"timing": scale.timing}
        yield Step(group, f"rewrites: ONNX, {side}, {precision}, {_text(size)}", "speed.compare_rewrites", 150, timed)
        options = arguments | {"device": scale.device, "only": scale.options}
        name = f"options of ONNX Runtime, {side}, {precision}, {_text(size)}"
        yield Step(group, name, "ort_options.compare_options", 100, options)
    for flavour in EXTRAS:
        built = {"side": "small", "blocks": scale.blocks, "flavour": flavour, "size": small, "timing": scale.timing}
        yield Step(group, f"rewrites: {flavour}, small", "speed.compare_engine_rewrites", 900, built)


def _use(scale: Scale) -> Iterator[Step]:
    group = GROUPS[4]
    tile = scale.sizes[0][0]
    yield Step(group, "tests/gpu", "testing.run_tests", 600, _tests("tests/gpu", REQUIRED))
    for backend in ("tensorrt", "tensorrt-rtx", "onnxruntime"):
        common = {"backend": backend, "device": scale.device}
        load = {"side": tile, "clients": list(scale.clients), "seconds": max(0.5, scale.seconds)}
        yield Step(group, f"server under load, {backend}", "load.load_server", 150, common | load)
        folder = {"count": scale.photos, "side": min(512, scale.huge), "tile": tile}
        yield Step(group, f"folder of photos, {backend}", "load.run_folder", 120, common | folder)
        huge = {"side": scale.huge, "tile": tile}
        yield Step(group, f"one huge image, {backend}", "load.run_huge", 240, common | huge)


def _training(scale: Scale) -> Iterator[Step]:
    for recipe in scale.recipes or sorted(bundled_recipes(), key=lambda name: name != "fxsr-pd-x4-small"):
        arguments = {"recipe": recipe, "device": scale.device, "seconds": 3 * scale.seconds, "workers": 8}
        arguments |= {"compiled": True, "overrides": list(scale.train_overrides)}
        yield Step(GROUPS[5], recipe, "training.time_recipe", 400, arguments)


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
