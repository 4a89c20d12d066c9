"""Trunks that are code of a user: a recipe's `network.trunk = "python:module.function"`.

The function receives the network's configuration and returns a module: `trunk(config)(x, cond) -> features`, with x and
the result (N, nf, h, w), and cond (N or 1, nc, h or 1, w or 1), the condition features of t.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.user_code import describe_failure, load_function

if TYPE_CHECKING:
    from torch import nn

_SIDE = 8
"""Side of the features with which a trunk is tried out."""


class TrunkSettings(Protocol):
    """What is read here of `fxsr.models.config.NetworkConfig`."""

    @property
    def trunk(self) -> str: ...

    @property
    def nf(self) -> int: ...

    @property
    def nc(self) -> int: ...


def build_user_trunk(config: TrunkSettings) -> nn.Module:
    """Call the function that `config.trunk` names, and try out what it returns.

    Raises:
        UsageError: the function can't be imported or fails, or what it returns is not such a module.
    """
    with needs("export"):
        import torch
        from torch import nn
    name = config.trunk
    function = load_function(name, ["config"])
    try:
        trunk = function(config)
    except Exception as error:
        raise UsageError(f"{name} failed: {describe_failure(error)}") from error
    if not isinstance(trunk, nn.Module):
        raise UsageError(f"{name} returned {type(trunk).__name__}; it must return a torch.nn.Module")
    if buffers := [key for key, _ in trunk.named_buffers()]:
        raise UsageError(f"{name}: its module has the buffer {buffers[0]}; checkpoints hold parameters only")
    device = next((each.device for each in trunk.parameters()), torch.device("cpu"))
    x = torch.zeros(2, config.nf, _SIDE, _SIDE, device=device)
    for shape in ((1, config.nc, 1, 1), (2, config.nc, _SIDE, _SIDE)):
        try:
            with torch.no_grad():
                found: Any = trunk(x, torch.zeros(shape, device=device))
        except Exception as error:
            given = f"x {list(x.shape)} and cond {list(shape)}"
            raise UsageError(f"{name}: its module failed with {given}: {describe_failure(error)}") from error
        if not isinstance(found, torch.Tensor) or found.shape != x.shape:
            what = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise UsageError(f"{name}: its module returned {what} for x {list(x.shape)}; it must keep that shape")
    return trunk


def user_trunk_shapes(config: TrunkSettings) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every parameter of such a trunk.

    Raises:
        UsageError: see `build_user_trunk`.
    """
    with needs("export"):
        import torch
    with torch.random.fork_rng(devices=[]):  # first weights of a module made afterwards stay the same
        trunk = build_user_trunk(config)
    for key, value in trunk.named_parameters():
        yield key, tuple(value.shape)
