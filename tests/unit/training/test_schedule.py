from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest

from fxsr.errors import UsageError
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Discriminator, Stage, Term
from fxsr.training.schedule import Phase, StageCost, borders, describe_costs, fit
from fxsr.training.speed import Speed

STAGE = Stage(
    steps=100,
    warmup=10,
    milestones=(50, 80),
    terms=(
        Term(kind="l1", weight=1),
        Term(kind="adversarial", weight=1, start=40, ramp=20),
    ),
    discriminator=Discriminator(kind="patch", start=20),
)
COST = StageCost("conditional", (Phase(0, 20, 1), Phase(20, 40, 2), Phase(40, 100, 3)), 2**30)


def test_a_stage_has_a_phase_for_each_set_of_terms() -> None:
    assert borders(STAGE) == [0, 20, 40, 100]
    assert borders(Stage(steps=30, terms=STAGE.terms[:1], discriminator=STAGE.discriminator)) == [0, 30]


def test_a_stage_costs_what_its_phases_do() -> None:
    assert COST.seconds == 20 + 40 + 180
    assert COST.steps == 100


def test_all_step_numbers_follow_the_time() -> None:
    recipe = Recipe(name="x", description="", conditional=STAGE, save_every=60)
    fitted = fit(recipe, [COST], 125)  # half of the time, and a reserve
    stage = fitted.conditional
    assert stage is not None
    assert stage.steps == 50
    assert (stage.warmup, stage.milestones) == (5, (25, 40))
    assert (stage.terms[1].start, stage.terms[1].ramp) == (20, 10)
    assert stage.discriminator.start == 10
    assert fitted.save_every == 30


def test_more_time_makes_more_steps_but_saves_as_often() -> None:
    fitted = fit(Recipe(name="x", description="", conditional=STAGE, save_every=60), [COST], 500)
    assert fitted.conditional is not None
    assert fitted.conditional.steps == 200
    assert fitted.save_every == 60


def test_too_little_time_is_refused() -> None:
    with pytest.raises(UsageError, match="less than a step of each stage"):
        fit(Recipe(name="x", description="", conditional=STAGE), [COST], 1)


@pytest.mark.parametrize("left", [-26.04, 0, 1.2])
def test_the_missing_time_is_enough(left: float) -> None:
    recipe = Recipe(name="x", description="", conditional=STAGE)
    with pytest.raises(UsageError) as caught:
        fit(recipe, [COST], left)
    found = re.fullmatch(r"(\S+) minutes are left after the preparations, .*; give (\S+) more", str(caught.value))
    assert found is not None
    assert float(found[1]) >= 0
    assert fit(recipe, [COST], left + 60 * float(found[2])).stages["conditional"].steps >= 1
    assert float(found[2]) * 60 < 2.5 - left + 6.1  # a step takes 2.5 s; rounded up to a tenth of a minute


def test_a_plan_says_time_and_memory() -> None:
    assert describe_costs([COST], "this CPU") == [
        "conditional: 100 steps of 1 s, then 2 s, then 3 s on this CPU, 4 min; memory 1.0 GiB",
        "total 4 min, without measuring",
    ]


def test_progress_counts_the_steps_that_the_stage_began_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fxsr.training.monitor import RunMonitor

    with RunMonitor(Recipe(name="x", description="", conditional=STAGE), tmp_path) as monitor:
        monitor.begin("conditional", 0, 7)  # --minutes made them 7 instead of 100
        monitor.step("conditional", 3, {"l1": 0.5}, 1e-3, Speed(1, 1, 0))
    assert "conditional 3/7  l1 0.5" in capsys.readouterr().err


def test_progress_keeps_bar_count_and_time_at_eighty_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rich.console import Console

    from fxsr.training.monitor import RunMonitor

    recipe = Recipe(name="x", description="", conditional=STAGE)
    monitor = RunMonitor(recipe, tmp_path)
    monitor.begin("conditional", 37, 400000)
    monitor.advance("conditional", 12345)
    task = monitor._tasks["conditional"]
    monitor._bar.update(task, losses="l1 0.1234  perceptual 0.1234  adversarial 0.1234  discriminator 0.6931")
    console = Console(width=80, record=True, force_terminal=True, file=StringIO())
    console.print(monitor._bar.get_renderable())
    (line,) = console.export_text().rstrip().splitlines()
    assert "12345/400000" in line
    assert "eta" in line
    assert "l1 0.1" in line
    assert line.count("━") + line.count("╸") >= 8
