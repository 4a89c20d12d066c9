"""Teachers that draw crops in training, and stages in which only a part of the network learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from fxsr.errors import UsageError
from fxsr.models.config import is_style
from fxsr.models.network import Generator
from fxsr.training.crop_teacher import CropTeacher, match_colours
from fxsr.training.crops import Sources
from fxsr.training.data import Batch, batches
from fxsr.training.initial import initialise
from fxsr.training.recipe_data import Teacher
from fxsr.training.samples import open_samples
from fxsr.training.targets import Targets
from fxsr.training.teachers import load_crop_teacher, load_teacher
from fxsr.training.trainer import Trainer
from tests.support import tiny_recipe, write_photos
from tests.training import write_ncnn

CPU = torch.device("cpu")


class Counting:
    """Draws white; keeps how many crops each call was for."""

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def __call__(self, lr: torch.Tensor) -> torch.Tensor:
        self.drawn.append(len(lr))
        return torch.ones(len(lr), 3, 8, 8)


def batch(teacher: Counting, styles: tuple[float, ...], taught: tuple[bool, ...]) -> Batch:
    count = len(styles)
    bounds = tuple((t, t) for t in styles)
    t_map = torch.tensor(styles).view(-1, 1, 1, 1)
    drawn = {"crisp": CropTeacher(teacher, 0)}
    return Batch(torch.zeros(count, 3, 2, 2), torch.zeros(count, 3, 8, 8), t_map, {}, bounds, taught, drawn)


def test_crops_are_drawn_once_and_only_where_their_style_uses_them() -> None:
    teacher = Counting()
    targets = Targets(batch(teacher, (0, 0.25, 1), (True, True, True)))
    for _ in range(2):
        assert targets(("photo", "crisp"))[:, 0, 0, 0].tolist() == [0, 0.25, 1]
    assert teacher.drawn == [2]
    assert targets(("crisp", "crisp")).min() == 1
    assert teacher.drawn == [2, 1]


def test_crops_that_the_network_itself_draws_are_not_drawn_again() -> None:
    teacher = Counting()
    own = [1], torch.full((1, 3, 8, 8), 0.5)
    targets = Targets(batch(teacher, (1, 0.25, 1), (True, True, True)), own)
    assert targets(("photo", "crisp"))[:, 0, 0, 0].tolist() == [1, 0.5, 1]
    assert teacher.drawn == [2]


def test_the_photo_takes_the_place_of_pictures_of_what_is_not_taught() -> None:
    teacher = Counting()
    targets = Targets(batch(teacher, (1, 1), (True, False)))
    assert targets(("photo", "crisp"))[:, 0, 0, 0].tolist() == [1, 0]
    untaught = Targets(batch(teacher, (1, 1), (False, False)))
    assert not untaught(("crisp", "crisp")).any()
    assert teacher.drawn == [1]


def test_texture_and_borders_do_not_change_what_colours_are_matched_to() -> None:
    lr = torch.rand(2, 3, 1, 1).expand(2, 3, 20, 22)
    shift = torch.tensor([0.1, -0.05, 0.02]).view(3, 1, 1)
    texture = 0.05 * (-1.0) ** torch.arange(88)
    sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3) + texture
    assert torch.allclose(match_colours(sr + shift, lr, 9), sr, atol=1e-6)


def test_a_network_draws_crops_as_it_draws_inputs(tmp_path: Path) -> None:
    write_ncnn(tmp_path / "net.param")
    teacher = Teacher(source=str(tmp_path / "net.param"), precision="fp32", cached=False)
    lr = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    whole = load_teacher(teacher, "crisp", 4, CPU)(lr)
    x = torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255
    crop = load_crop_teacher(teacher, "crisp", 4, CPU)(x, torch.zeros(1, 3, 32, 32), [0])
    assert not crop.requires_grad
    assert np.abs(crop[0].permute(1, 2, 0).numpy() * 255 - whole).max() <= 0.51


def test_a_folder_cannot_draw_crops(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, not a network; folders need cached = true"):
        load_crop_teacher(Teacher(source=str(tmp_path), cached=False), "crisp", 4, CPU)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether pictures are equal but for rounding. What is learned changes them by 100 times that and more."""
    return torch.allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("learns", ["all", "styles"])
def test_where_styles_alone_learn_the_network_stays_as_it_was_at_their_first_t(learns: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2, (60, 72))
    plan = tiny_recipe(
        tmp_path / "photos",
        'data.inputs=[{name="reduced"}]',
        'teachers.crisp={source="nowhere", cached=false}',
        'psnr.terms=[{kind="l1", weight=1, line=["photo", "crisp"]}]',
        'psnr.style={per="image", ends=0.5}',
        f'psnr.learns="{learns}"',
        "init=of-another-test",
        "psnr.rate=1e-2",
        "conditional.steps=0",
        "init_t=1",
    )
    drawn = {"crisp": CropTeacher(lambda lr: lr.repeat_interleave(4, 2).repeat_interleave(4, 3), 9)}
    sources = Sources(open_samples(tmp_path / "cache", plan.data, 4, 0), drawn=drawn)
    torch.manual_seed(0)
    generator = initialise(Generator(plan.network.config()), 1)
    with torch.no_grad():
        for key, value in generator.state_dict().items():
            if key.endswith("weight") and not is_style(key):
                value.mul_(5)  # first weights are small: rounding would be a good part of what the network draws
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    lr, full, half = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.5)
    with torch.no_grad():
        shown = generator(lr, full)
    trainer = Trainer(plan, "psnr", generator, Accelerator(cpu=True))
    for some in batches(plan, "psnr", sources, 0, CPU):
        trainer.step(some)
    changed = {key for key, value in generator.state_dict().items() if not torch.equal(value, before[key])}
    styles = {key for key in before if is_style(key)}
    assert changed & styles
    assert bool(changed - styles) == (learns == "all")
    with torch.no_grad():
        assert same(generator(lr, full), shown) == (learns == "styles")
        assert not same(generator(lr, half), generator(lr, full))
