"""The state of one stage of training, and one step of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar, cast

from fxsr.errors import FxsrError
from fxsr.extras import needs
from fxsr.models.config import is_style
from fxsr.training.data import Batch
from fxsr.training.discriminator import build_discriminator
from fxsr.training.objective import Objective
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Stage
from fxsr.training.resume import RunState, split_style
from fxsr.training.style_hold import StyleHold
from fxsr.training.targets import Targets, own_line

with needs("train"):
    import torch
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from torch import Tensor, nn

    from fxsr.models.network import Generator, compile_blocks
    from fxsr.training.average import Average

_Module = TypeVar("_Module", bound="nn.Module")


class TrainingError(FxsrError):
    """Training can't continue: a loss or a weight is not finite."""


class Trainer:
    """Trains one stage: generator, its average, optimisers, and a discriminator if the objective needs one."""

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        generator: Generator,
        accelerator: Accelerator,
        objective: Objective | None = None,
    ) -> None:
        self.recipe, self.name, self.accelerator = recipe, name, accelerator
        self.stage: Stage = recipe.stages[name]
        self.done = 0
        self.best: float | None = None
        self.measured = True
        """False: the measurement that is due after the last step was not made."""
        set_seed(recipe.seed)
        self.objective = self._place(objective or Objective(self.stage))
        self._finite: dict[str, Tensor] = {}
        self.raw = self._place(generator.train())
        self.average = Average(self.raw, recipe.ema)
        self.holds: tuple[StyleHold, ...] = ()
        """What keeps the generator, and then its average, as they are now at `init_t`, if styles alone learn."""
        if self.stage.learns == "styles":
            for key, parameter in self.raw.named_parameters():
                parameter.requires_grad_(is_style(key))
            self.holds = tuple(StyleHold(each, recipe.init_t) for each in (self.raw, self.averaged))
        optimiser = torch.optim.Adam(_groups(self.raw, self.stage.style_rate), self.stage.rate, self.stage.betas)
        if recipe.compile:
            compile_blocks(self.raw)
        self.generator, self.optimiser = accelerator.prepare(self.raw, optimiser)
        self.discriminator: nn.Module | None = None
        self.raw_discriminator: nn.Module | None = None
        if self.objective.adversarial:
            settings = self.stage.discriminator
            self.raw_discriminator = self._place(build_discriminator(settings))
            discriminator_optimiser = torch.optim.Adam(
                self.raw_discriminator.parameters(), settings.rate, settings.betas
            )
            self.discriminator, self.discriminator_optimiser = accelerator.prepare(
                self.raw_discriminator, discriminator_optimiser
            )

    def _place(self, module: _Module) -> _Module:
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        placed: _Module = cast(Any, module).to(self.accelerator.device, memory_format=layout)
        return placed

    @property
    def averaged(self) -> Generator:
        """The averaged generator."""
        return self.average.module

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return self.stage.rate * rate_factor(self.stage, self.done)

    def step(self, *batches: Batch) -> dict[str, Tensor]:
        """Take one optimisation step with the mean gradient of all batches; returns the mean loss of each term.

        On a GPU it does not wait for the result.

        Raises:
            TrainingError: a loss is not finite (CPU only; on a GPU `check` raises it).
        """
        factor = rate_factor(self.stage, self.done)
        _set_rate(self.optimiser, self.stage.rate * factor)
        if self.raw_discriminator:
            self.raw_discriminator.requires_grad_(False)
        self.optimiser.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        results = []
        for batch, context in self._parts(batches, self.generator):
            with context:
                results.append(self._learn(batch, 1 / len(batches), losses))
        if self.holds:
            self.holds[0].pass_on()
        self._descend(self.optimiser, self.raw)
        self.average.update(self.raw)
        for hold in self.holds:
            hold.apply()
        if self.discriminator and self.raw_discriminator and self.done >= self.stage.discriminator.start:
            self.raw_discriminator.requires_grad_(True)
            _set_rate(self.discriminator_optimiser, self.stage.discriminator.rate * factor)
            self.discriminator_optimiser.zero_grad(set_to_none=True)
            seen = [len(self.objective.seen_crops(batch, self.done)) for batch in batches]
            judged = False
            parts = self._parts(batches, self.discriminator)
            for (batch, context), result, crops in zip(parts, results, seen, strict=True):
                with context:
                    judged |= self._judge(self.discriminator, batch, *result, crops / max(sum(seen), 1), losses)
            if judged:
                self._descend(self.discriminator_optimiser, self.raw_discriminator)
        self.done += 1
        return losses

    def _parts(self, batches: Sequence[Batch], network: nn.Module) -> Iterator[tuple[Batch, Any]]:
        """Each batch, and the context for its gradient: processes exchange gradients after the last one only."""
        for number, batch in enumerate(batches, 1):
            yield batch, self.accelerator.no_sync(network) if number < len(batches) else nullcontext()

    def _learn(self, batch: Batch, share: float, losses: dict[str, Tensor]) -> tuple[Tensor, Targets]:
        """Add `share` of the generator's gradient on a batch, and of its losses.

        Returns:
            The result, without gradient, and what it was compared with.
        """
        with self.accelerator.autocast():
            own = own_line(self.averaged, batch) if self.stage.between == "own" else None
        targets = Targets(batch, own)
        sr = self.generator(batch.lr, batch.t_map).float()
        with self.accelerator.autocast():
            parts = self.objective(sr, batch, self.done, self.raw_discriminator, targets)
        total = torch.stack([*parts.values(), sr.sum() * 0]).sum()
        self._watch({**parts, "the generator's output": total})
        self.accelerator.backward(total * share)
        _add(losses, parts, share)
        return sr.detach(), targets

    def _judge(
        self,
        discriminator: nn.Module,
        batch: Batch,
        sr: Tensor,
        targets: Targets,
        share: float,
        losses: dict[str, Tensor],
    ) -> bool:
        """Add `share` of the discriminator's gradient on a batch; returns False if it sees none of the crops."""
        with self.accelerator.autocast():
            loss = self.objective.discriminator_loss(sr, batch, self.done, discriminator, targets)
        if loss is None:
            return False
        self._watch({"discriminator": loss})
        self.accelerator.backward(loss * share)
        _add(losses, {"discriminator": loss}, share)
        return True

    def _descend(self, optimiser: Any, module: nn.Module) -> None:
        if self.stage.clip:
            self.accelerator.unscale_gradients(optimiser)
            nn.utils.clip_grad_norm_(module.parameters(), self.stage.clip)
        optimiser.step()

    def _watch(self, parts: Mapping[str, Tensor]) -> None:
        for label, loss in parts.items():
            finite = torch.isfinite(loss.detach())
            self._finite[label] = finite & self._finite[label] if label in self._finite else finite
        if self.accelerator.device.type == "cpu":
            self.check(self.done + 1)

    def check(self, step: int | None = None) -> None:
        """Check that all losses since the last call were finite. Waits for the device.

        Raises:
            TrainingError: a loss was not finite; names the term.
        """
        watched, self._finite = self._finite, {}
        if not watched or torch.stack(list(watched.values())).all():
            return
        bad = [label for label, finite in watched.items() if not finite]
        terms = [label for label in bad if label != "the generator's output"]
        raise self._divergence(step or self.done, ", ".join(terms or bad))

    def _divergence(self, step: int, what: str) -> TrainingError:
        return TrainingError(
            f"{self.name} stage, step {step}: {what} is not finite; --resume from the last state with a lower "
            f"{self.name}.rate (--set; it is {self.stage.rate:g}) or with {self.name}.clip (it is {self.stage.clip:g})"
        )

    def state(self) -> RunState:
        """The state to save.

        Raises:
            TrainingError: a weight is not finite; the state saved before remains the newest.
        """
        self.check()
        for module in filter(None, (self.raw, self.raw_discriminator)):
            for name, weight in module.named_parameters():
                if not torch.isfinite(weight).all():
                    raise self._divergence(self.done, name)
        parts = {
            "generator": self.raw.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.holds:
            parts["held"] = self.holds[0].state_dict()
        if self.discriminator and self.raw_discriminator:
            parts |= {
                "discriminator": self.raw_discriminator.state_dict(),
                "discriminator_optimiser": self.discriminator_optimiser.state_dict(),
            }
        if self.accelerator.scaler is not None:
            parts["scaler"] = self.accelerator.scaler.state_dict()
        return RunState(self.recipe, self.name, self.done, parts, self.best, self.measured)

    def load(self, state: RunState) -> None:
        """Continue from a state that `fxsr.training.resume` checked."""
        self.done, self.best, self.measured = state.step, state.best, state.measured
        self.raw.load_state_dict(state.parts["generator"])
        self.average.load_state_dict(state.parts["average"])
        for hold in self.holds:
            hold.load_state_dict(state.parts["held"])
        _restore(self.optimiser, state.parts["optimiser"])
        if self.discriminator and self.raw_discriminator:
            self.raw_discriminator.load_state_dict(state.parts["discriminator"])
            _restore(self.discriminator_optimiser, state.parts["discriminator_optimiser"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.parts["scaler"])


def _add(losses: dict[str, Tensor], parts: Mapping[str, Tensor], share: float) -> None:
    """Add `share` of the losses on a batch to their means."""
    for label, loss in parts.items():
        part = loss.detach() * share
        losses[label] = losses[label] + part if label in losses else part


def rate_factor(stage: Stage, step: int) -> float:
    """Factor of the learning rate at a step of a stage."""
    warm = min(1.0, (step + 1) / stage.warmup) if stage.warmup else 1.0
    if stage.schedule == "cosine":
        floor = stage.floor / stage.rate
        return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))
    if stage.schedule == "multistep":
        return warm * stage.gamma ** sum(step >= milestone for milestone in stage.milestones)
    return warm


def _groups(generator: Generator, style_rate: float) -> list[dict[str, Any]]:
    """Parameter groups with the factors of their learning rates: style layers, and all others."""
    rest, style = split_style(generator.named_parameters())
    return [{"params": rest, "factor": 1.0}, {"params": style, "factor": style_rate}]


def _restore(optimiser: Any, averages: Mapping[str, Any]) -> None:
    """Give an optimiser its averages back; its settings are the recipe's."""
    optimiser.load_state_dict({**averages, "param_groups": optimiser.state_dict()["param_groups"]})


def _set_rate(optimiser: Any, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
