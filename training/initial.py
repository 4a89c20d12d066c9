"""Initial weights of a network, and a second initialisation of its style layers for the conditional stage."""

from __future__ import annotations

from typing import Literal

from fxsr.extras import needs
from fxsr.models.config import COND_SLOPE, USER_TRUNK, is_style

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from fxsr.models.network import SFT, Generator


def initialise(generator: Generator, init_t: Literal[0, 1] = 0) -> Generator:
    """Set fresh weights of a tenth of the usual size, so that residual branches start near 0 (ESRGAN, section 3.1).

    Style layers start as the identity. A trunk that is code of a user keeps its own weights.

    Args:
        init_t: the t at which styles have no effect at first; see `fxsr.training.recipe.Recipe.init_t`.
    """
    for name, module in generator.named_modules():
        if name.startswith(f"{USER_TRUNK}."):
            continue
        if isinstance(module, nn.Conv2d) and not is_style(f"{name}."):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 0.1
            nn.init.zeros_(bias_of(module))
    for _, last in style_branches(generator):
        nn.init.zeros_(bias_of(last))
    _spread(generator, init_t)
    return generator


def restart_style(generator: Generator) -> Generator:
    """Reset the style layers so that they do at every t what they did at t = 0.

    A stage that does not use t trains them to ignore it, and unlearning that takes long.
    """
    with torch.no_grad():
        cond = generator.CondNet(torch.zeros(1, 1, 1, 1, device=generator.conv_first.weight.device))
        for first, last in style_branches(generator):
            value: Tensor = last(F.leaky_relu(first(cond), COND_SLOPE))
            bias_of(last).copy_(value.flatten())
        _spread(generator, 0)
    return generator


def _spread(generator: Generator, init_t: Literal[0, 1]) -> None:
    """Make the condition features proportional to the distance of t from `init_t`, and their effect 0.

    Without other biases the branch is proportional to that distance, leaky ReLUs included, so the effect of the style
    starts linear in t.
    """
    begin, end = (module for module in generator.CondNet if isinstance(module, nn.Conv2d))
    nn.init.constant_(begin.weight, 1 - 2 * init_t)
    nn.init.normal_(end.weight)
    nn.init.constant_(bias_of(begin), init_t)
    nn.init.zeros_(bias_of(end))
    for first, last in style_branches(generator):
        nn.init.kaiming_normal_(first.weight, a=COND_SLOPE)
        nn.init.zeros_(bias_of(first))
        nn.init.zeros_(last.weight)


def style_branches(generator: Generator) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
    """The two convolutions of every scale and every shift of a generator's style layers."""
    branches = []
    for layer in (module for module in generator.modules() if isinstance(module, SFT)):
        branches += [(layer.SFT_scale_conv0, layer.SFT_scale_conv1), (layer.SFT_shift_conv0, layer.SFT_shift_conv1)]
    return branches


def bias_of(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    assert conv.bias is not None
    return conv.bias
