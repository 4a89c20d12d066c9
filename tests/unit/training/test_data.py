from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from fxsr.errors import UsageError
from fxsr.images.image import Picture, write_image
from fxsr.training.cache import ImageCache, open_cache, read_rgb
from fxsr.training.crop_teacher import CropTeacher
from fxsr.training.crops import Crops, Sources
from fxsr.training.data import Batch, batches
from fxsr.training.degrade import degrade
from fxsr.training.opening import open_sources
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_data import Degradation
from fxsr.training.recipe_stage import StyleSampling
from fxsr.training.resize import reduce_uint8
from fxsr.training.samples import open_samples
from fxsr.training.styles import draw_style
from tests.imagefiles import flat, write_png
from tests.support import tiny_recipe, write_photos

CPU = torch.device("cpu")


def opened(tmp_path: Path, recipe: Recipe, tell: list[str] | None = None) -> ImageCache:
    say = tell.append if tell is not None else (lambda _: None)
    data = recipe.data
    return open_cache(tmp_path / "cache", data.hr_folders, data.lr_folders, 4, data.patch, say)


def first_batches(recipe: Recipe, cache: ImageCache, first: int = 0, **ranks: int) -> list[Batch]:
    return list(batches(recipe, "psnr", Sources(cache), first, CPU, **ranks))


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.lr, b.lr) and torch.equal(a.hr, b.hr) and torch.equal(a.t_map, b.t_map)


def test_pairs_are_the_picture_and_its_bicubic_reduction(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "hr", 2, (45, 50))
    hr, lr = opened(tmp_path, tiny_recipe(tmp_path / "hr")).pair(0)
    assert np.array_equal(hr, photos[0][:44, :48])
    assert np.array_equal(lr, reduce_uint8(photos[0][:44, :48], 4))


def test_sixteen_bits_are_rounded(tmp_path: Path) -> None:
    write_image(tmp_path / "deep.png", Picture(np.array([[[40000], [128], [129], [65535]]], np.uint16)))
    assert read_rgb(tmp_path / "deep.png")[0, :, 0].tolist() == [156, 0, 1, 255]


def test_photos_are_read_in_srgb(tmp_path: Path) -> None:
    display_p3 = (b"cICP", bytes([12, 13, 0, 1]))
    path = write_png(tmp_path / "wide.png", flat(60, 200, 60), display_p3)
    assert read_rgb(path)[0, 0].tolist() == pytest.approx([0, 203, 11], abs=1)
    linear = (b"gAMA", (100_000).to_bytes(4, "big"))
    assert read_rgb(write_png(tmp_path / "linear.png", flat(60), linear))[0, 0].tolist() == [133] * 3


def test_lr_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 2, (40, 40))
    small = write_photos(tmp_path / "lr", 2, (10, 10))
    recipe = tiny_recipe(tmp_path / "hr", f"data.lr={tmp_path / 'lr'}")
    assert np.array_equal(opened(tmp_path, recipe).pair(1)[1], small[1])


def test_images_that_cannot_be_used_are_named_and_left_out(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 2, (40, 40))
    (tmp_path / "hr" / "broken.png").write_bytes(b"no picture")
    write_image(tmp_path / "hr" / "tiny.png", Picture(np.zeros((8, 8, 3), np.uint8)))
    said: list[str] = []
    assert len(opened(tmp_path, tiny_recipe(tmp_path / "hr"), said)) == 2
    assert len(said) == 2
    assert "broken.png" in said[0]
    assert "tiny.png: 8x8 is less than a crop of 32x32" in said[1]


def test_a_reduction_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 1, (40, 40))
    write_photos(tmp_path / "lr", 1, (12, 10))
    said: list[str] = []
    with pytest.raises(UsageError, match="none of the 1 images"):
        opened(tmp_path, tiny_recipe(tmp_path / "hr", f"data.lr={tmp_path / 'lr'}"), said)
    assert "10x12 is not photo0.png reduced by 4" in said[0]


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_images_is_an_error(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=folder):
        opened(tmp_path, tiny_recipe(tmp_path / folder))


def test_no_folder_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--set data\.hr=FOLDER"):
        open_cache(tmp_path, (), (), 4, 32)


def test_images_are_decoded_once_and_again_when_they_change(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 2, (40, 40))
    recipe = tiny_recipe(tmp_path / "hr")
    opened(tmp_path, recipe)
    before = sorted((tmp_path / "cache").iterdir())
    opened(tmp_path, recipe)
    assert sorted((tmp_path / "cache").iterdir()) == before
    changed = write_photos(tmp_path / "hr", 2, (44, 40), seed=9)
    assert np.array_equal(opened(tmp_path, recipe).pair(0)[0], changed[0])


def test_crops_lie_at_one_place_in_both_pictures(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 3, (60, 72))
    recipe = tiny_recipe(tmp_path / "hr")
    for batch in first_batches(recipe, opened(tmp_path, recipe)):
        assert batch.lr.shape == (4, 3, 8, 8)
        assert batch.hr.shape == (4, 3, 32, 32)
        assert batch.t_map.shape == (4, 1, 1, 1)  # one t for each crop
        for lr, hr in zip(batch.lr, batch.hr, strict=True):
            own = reduce_uint8((hr.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), 4)
            inner = (lr.permute(1, 2, 0).numpy() * 255 - own)[2:-2, 2:-2]
            assert np.abs(inner).max() < 2  # but for the border, which knows its surroundings


def test_what_is_seen_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 3, (60, 72))
    recipe = tiny_recipe(tmp_path / "hr")
    cache = opened(tmp_path, recipe)
    straight = first_batches(recipe, cache)
    assert all(map(same, straight[2:], first_batches(recipe, cache, first=2)))
    assert all(map(same, straight, first_batches(tiny_recipe(tmp_path / "hr", "data.workers=2"), cache)))
    assert not same(straight[0], first_batches(tiny_recipe(tmp_path / "hr", "seed=8"), cache)[0])


def test_processes_share_a_batch(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 3, (60, 72))
    recipe = tiny_recipe(tmp_path / "hr")
    cache = opened(tmp_path, recipe)
    whole = first_batches(recipe, cache)[1]
    halves = [first_batches(recipe, cache, rank=rank, ranks=2)[1] for rank in (0, 1)]
    assert torch.equal(whole.hr, torch.cat([half.hr for half in halves]))
    assert torch.equal(whole.t_map, torch.cat([half.t_map for half in halves]))


def test_degradation_is_what_it_says() -> None:
    hr = write_photo_like((64, 64))
    clean = reduce_uint8(hr, 4)
    rng = np.random.default_rng
    assert np.array_equal(degrade(hr, 4, Degradation(), rng(1)), clean)
    blurred = degrade(hr, 4, Degradation(blur=(4, 4)), rng(1)).astype(float)
    assert blurred.std() < clean.std() * 0.8
    noisy = degrade(hr, 4, Degradation(noise=(10, 10)), rng(1)).astype(float)
    assert (noisy - clean).std() == pytest.approx(10, rel=0.15)
    squeezed = degrade(hr, 4, Degradation(jpeg=(5, 5)), rng(1))
    assert squeezed.shape == clean.shape
    assert 0 < np.abs(squeezed.astype(float) - clean).mean() < 60
    assert np.array_equal(degrade(hr, 4, Degradation(noise=(10, 10), share=0), rng(1)), clean)


def write_photo_like(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(4).integers(60, 196, (*size, 3), np.uint8)


def draw(style: StyleSampling, number: int) -> np.ndarray:
    return draw_style(style, np.random.default_rng(0), np.random.default_rng(number), 12, style.per == "pixel")


def test_one_style_per_batch_is_the_same_for_all_its_crops() -> None:
    first, second = (draw(StyleSampling(per="batch"), number) for number in (1, 2))
    assert np.ptp(first) == 0
    assert np.array_equal(first, second)


def test_one_style_per_image_is_uniform_and_differs() -> None:
    first, second = (draw(StyleSampling(per="image"), number) for number in (1, 2))
    assert np.ptp(first) == np.ptp(second) == 0
    assert first[0, 0, 0] != second[0, 0, 0]


def test_styles_per_pixel_are_smooth_maps_in_range() -> None:
    maps = np.stack([draw(StyleSampling(per="pixel"), number) for number in range(200)])
    assert maps.shape == (200, 1, 12, 12)
    assert maps.min() == 0
    assert maps.max() == 1
    assert np.ptp(maps, axis=(1, 2, 3)).mean() > 0.5
    assert np.abs(np.diff(maps, axis=3)).mean() < 0.15


def test_shares_of_uniform_and_extreme_styles() -> None:
    maps = [draw(StyleSampling(per="pixel", uniform=0.5, ends=0.5), number) for number in range(400)]
    uniform = [m[0, 0, 0] for m in maps if np.ptp(m) == 0]
    assert len(uniform) == pytest.approx(200, abs=45)
    assert sum(t in (0, 1) for t in uniform) == pytest.approx(len(uniform) / 2, abs=30)


def weighted(tmp_path: Path, *overrides: str) -> Recipe:
    write_photos(tmp_path / "many", 5, (40, 40), seed=1)
    write_photos(tmp_path / "few", 1, (40, 40), seed=2)
    folders = f'data.hr=["{tmp_path / "many"}", "{tmp_path / "few"}"]'
    return tiny_recipe(tmp_path, folders, "psnr.batch=200", *overrides)


def share_of_few(recipe: Recipe, cache: ImageCache) -> float:
    crops = Crops(recipe, "psnr", Sources(cache))
    return sum(crops.choose(number).index == 5 for number in range(800)) / 800


def test_folders_have_weights(tmp_path: Path) -> None:
    plain = weighted(tmp_path)
    assert share_of_few(plain, opened(tmp_path, plain)) == pytest.approx(1 / 6, abs=0.05)
    recipe = weighted(tmp_path, "data.weights=[1, 3]")
    assert share_of_few(recipe, opened(tmp_path, recipe)) == pytest.approx(3 / 4, abs=0.05)


def test_folders_have_weights_where_teachers_need_whole_inputs(tmp_path: Path) -> None:
    recipe = weighted(tmp_path, "data.weights=[1, 3]")
    cache = open_samples(tmp_path / "cache", recipe.data, 4, 0)
    assert share_of_few(recipe, cache) == pytest.approx(3 / 4, abs=0.05)


def taught_with_reductions(tmp_path: Path, *overrides: str) -> Recipe:
    for number, name in enumerate(("a", "b")):
        write_photos(tmp_path / "hr" / name, 1, (44, 40), seed=number)
        write_photos(tmp_path / "lr" / name, 1, (11, 10), seed=8 + number)
    hr, lr = (f'data.{key}=["{tmp_path / key / "a"}", "{tmp_path / key / "b"}"]' for key in ("hr", "lr"))
    teacher = f'teachers.it.source="{tmp_path / "hr"}"'
    return tiny_recipe(tmp_path, hr, lr, teacher, 'psnr.terms.0.target="it"', *overrides)


@pytest.mark.parametrize("overrides", [(), ("data.weights=[1, 2]",)])
def test_teachers_upscale_the_reductions_that_are_given(overrides: tuple[str, ...], tmp_path: Path) -> None:
    recipe = taught_with_reductions(tmp_path, *overrides)
    sources = open_sources(recipe, tmp_path / "cache", CPU, pytest.fail, lambda what, done, count: None)
    for index, name in enumerate(("a", "b")):
        hr, lr = sources.cache.pair(index)
        assert np.array_equal(lr, read_rgb(tmp_path / "lr" / name / "photo0.png"))
        assert np.array_equal(hr, read_rgb(tmp_path / "hr" / name / "photo0.png"))
        assert np.array_equal(sources.teachers["it"].picture(index), hr)


def test_a_reduction_is_not_taken_for_another_image_of_an_older_cache(tmp_path: Path) -> None:
    write_photos(tmp_path / "hr", 1, (160, 160))
    write_photos(tmp_path / "lr", 1, (40, 40))
    both = tiny_recipe(tmp_path, f'data.hr=["{tmp_path / "hr"}", "{tmp_path / "lr"}"]')
    pair = tiny_recipe(tmp_path / "hr", f"data.lr={tmp_path / 'lr'}")
    assert [len(open_samples(tmp_path / "cache", each.data, 4, 0)) for each in (both, pair)] == [2, 1]


def test_missing_reductions_are_named_where_teachers_learn(tmp_path: Path) -> None:
    recipe = taught_with_reductions(tmp_path)
    (tmp_path / "lr" / "a" / "photo0.png").unlink()
    said: list[str] = []
    assert len(open_samples(tmp_path / "cache", recipe.data, 4, 0, said.append)) == 1
    assert "photo0.png" in said[0]


def test_a_cache_knows_which_folder_each_picture_is_from(tmp_path: Path) -> None:
    recipe = weighted(tmp_path)
    assert [entry.kind for entry in opened(tmp_path, recipe).entries] == [0, 0, 0, 0, 0, 1]
    together = tiny_recipe(tmp_path, f'data.hr=["{tmp_path / "few"}", "{tmp_path / "many"}"]')
    assert [entry.kind for entry in opened(tmp_path, together).entries] == [0, 1, 1, 1, 1, 1]


def test_crops_come_from_all_folders(tmp_path: Path) -> None:
    recipe = weighted(tmp_path)
    seen = {batch.taught for batch in first_batches(recipe, opened(tmp_path, recipe))}
    assert seen == {(True,) * recipe.stages["psnr"].batch}


def test_crops_can_be_given_to_workers_whatever_teachers_draw(tmp_path: Path) -> None:
    recipe = weighted(tmp_path)
    cache = opened(tmp_path, recipe)
    crops = Crops(recipe, "psnr", Sources(cache, drawn={"crisp": CropTeacher(lambda lr: lr, 0)}))
    again = pickle.loads(pickle.dumps(crops))
    assert torch.equal(again[3][0], crops[3][0])


def test_a_folder_with_a_weight_and_no_picture_is_named(tmp_path: Path) -> None:
    recipe = weighted(tmp_path, "data.weights=[1, 3]")
    (tmp_path / "few" / "photo0.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"none of the images in .*few can be used"):
        Crops(recipe, "psnr", Sources(opened(tmp_path, recipe)))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.weights=[1]", "`weights` holds 1 numbers, `hr` names 2 folders"),
        ("data.weights=[1, 0]", "data.weights"),
        ('data.inputs=[{name="reduced"}]', "`weights` and `inputs` exclude each other"),
    ],
)
def test_weights_that_fit_no_folders_are_refused(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        weighted(tmp_path, "data.weights=[1, 3]", override)
