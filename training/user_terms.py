"""Loss terms that are code of a user, and what is checked before a recipe runs such code.

A term's `kind = "python:module.function"` names a function `loss(sr, target, lr) -> errors`: sr and target are
(N, 3, scale*h, scale*w), lr is (N, 3, h, w), all RGB in 0..1; the result is an error map (N, 1, any, any) through which
gradients reach sr. FxSR multiplies it by the term's weight at each pixel's t and averages.
"""

from __future__ import annotations

from collections.abc import Callable

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.models.user_trunk import build_user_trunk
from fxsr.training.losses import PIXEL_LOSSES, PixelLoss
from fxsr.training.recipe import Recipe
from fxsr.training.recipe_stage import Term
from fxsr.user_code import describe_failure, is_user_code, load_function

with needs("train"):
    import torch
    from torch import Tensor

_ARGUMENTS = ("sr", "target", "lr")


class UserLoss:
    """A function of a user as a pixel loss; what it returns is checked in every step.

    Raises:
        UsageError: it can't be imported, or returns something else than an error map.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._function = load_function(name, _ARGUMENTS)

    def __call__(self, sr: Tensor, target: Tensor, lr: Tensor) -> Tensor:
        found = self._function(sr, target, lr)
        if not isinstance(found, Tensor):
            raise UsageError(f"{self._name} returned {type(found).__name__}; it must return an error map (N, 1, h, w)")
        if found.dim() != 4 or found.shape[:2] != (len(sr), 1) or not found.numel():
            wanted = f"an error map [{len(sr)}, 1, h, w] for {len(sr)} crops"
            raise UsageError(f"{self._name} returned {list(found.shape)}; it must return {wanted}")
        return found.float()


def pixel_loss(term: Term) -> PixelLoss:
    """The function of a term that compares pixels.

    Raises:
        UsageError: see `UserLoss`.
    """
    return UserLoss(term.kind) if is_user_code(term.kind) else PIXEL_LOSSES[term.kind]


def check_user_code(recipe: Recipe, tell: Callable[[str], None]) -> None:
    """Warn that a recipe runs code of a user, if it does, and try that code out.

    Raises:
        UsageError: the code can't be imported, fails, or returns something of the wrong shape.
    """
    terms = [term for stage in recipe.stages.values() for term in stage.terms if is_user_code(term.kind)]
    config = recipe.network.config()
    trunk = [config.trunk] if config.user_code else []
    names = dict.fromkeys([*trunk, *(term.kind for term in terms)])
    if not names:
        return
    tell(f"warning: this recipe runs code that is not FxSR's: {', '.join(names)}")
    if trunk:
        build_user_trunk(config)
    for name in dict.fromkeys(term.kind for term in terms):
        _try_loss(name, recipe.data.patch, config.scale)


def _try_loss(name: str, patch: int, scale: int) -> None:
    """Call a loss with two random crops on the CPU, and take its gradient."""
    loss = UserLoss(name)
    rng = torch.Generator().manual_seed(0)
    sr, target, lr = (torch.rand(2, 3, side, side, generator=rng) for side in (patch, patch, patch // scale))
    sr.requires_grad_()
    try:
        mean = loss(sr, target, lr).mean()
        reaches = mean.requires_grad and torch.autograd.grad(mean, sr, allow_unused=True)[0] is not None
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{name} failed with two crops of {patch}x{patch}: {describe_failure(error)}") from error
    if not reaches:
        raise UsageError(f"{name}: no gradient reaches sr, so nothing can be learnt from it")
