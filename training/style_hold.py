"""Style layers that learn without changing what a network does at one t."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from fxsr.extras import needs
from fxsr.models.config import COND_SLOPE
from fxsr.training.initial import bias_of, style_branches

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from fxsr.models.network import Generator

_Branch = tuple[nn.Conv2d, nn.Conv2d]


class StyleHold:
    """Holds the scales and shifts of all style layers at one t at the values that they have now.

    The last bias of each branch is no parameter of its own any more, but what the branch's other parameters leave of
    the value. Call `pass_on` before each step of the optimiser, and `apply` after it.

    Args:
        generator: its biases will follow; it stays as it is.
        t: the style that is held.
    """

    def __init__(self, generator: Generator, t: float) -> None:
        self._t = torch.full((1,), float(t), device=generator.conv_first.weight.device)
        self._condition = generator.CondNet
        self._groups = _groups(generator)
        names = {id(parameter): name for name, parameter in generator.named_parameters()}
        self._names = [[names[id(bias_of(last))] for _, last in group] for group in self._groups]
        with torch.no_grad():
            self._values = [_biases(group) + self._rest(group) for group in self._groups]

    def state_dict(self) -> dict[str, Tensor]:
        """The values that are held, by the names of their biases. Computing them anew would round them otherwise."""
        named = zip(self._names, self._values, strict=True)
        return {name: value for names, values in named for name, value in zip(names, values, strict=True)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Hold the values of another time."""
        self._values = [torch.stack([state[name] for name in names]).to(self._t.device) for names in self._names]

    def pass_on(self) -> None:
        """Add the gradients of the last biases to those of the parameters that these depend on, and clear them."""
        for group in self._groups:
            given = torch.stack([_gradient(bias_of(last)) for _, last in group])
            depended: list[Tensor] = list(self._condition.parameters())
            for first, last in group:
                depended += [first.weight, bias_of(first), last.weight]
            found = torch.autograd.grad(self._rest(group), depended, -given)
            for parameter, more in zip(depended, found, strict=True):
                _gradient(parameter).add_(more)
            for _, last in group:
                bias_of(last).grad = None

    @torch.no_grad()
    def apply(self) -> None:
        """Set the last biases so that all values are those that are held."""
        for group, values in zip(self._groups, self._values, strict=True):
            biases = [bias_of(last) for _, last in group]
            torch._foreach_copy_(biases, list((values - self._rest(group)).unbind()))

    def _rest(self, group: Sequence[_Branch]) -> Tensor:
        """(branches, channels): the values of a group's branches at the held t without their last biases."""
        cond = self._t
        for layer in self._condition:  # as products of matrices: a GPU rounds convolutions to TF32
            cond = F.linear(cond, layer.weight[:, :, 0, 0], layer.bias) if isinstance(layer, nn.Conv2d) else layer(cond)
        first = torch.stack([first.weight[:, :, 0, 0] for first, _ in group]) @ cond
        hidden = F.leaky_relu(first + torch.stack([bias_of(first) for first, _ in group]), COND_SLOPE)
        last = torch.stack([last.weight[:, :, 0, 0] for _, last in group])
        return torch.bmm(last, hidden[:, :, None])[:, :, 0]


def _groups(generator: Generator) -> list[list[_Branch]]:
    """The branches of all style layers, those with the same number of channels together, since they can be stacked."""
    branches = sorted(style_branches(generator), key=lambda branch: branch[1].out_channels)
    return [list(group) for _, group in groupby(branches, lambda branch: branch[1].out_channels)]


def _biases(group: Sequence[_Branch]) -> Tensor:
    return torch.stack([bias_of(last) for _, last in group])


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
