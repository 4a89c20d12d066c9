"""The exponentially averaged generator, which is measured and exported."""

from __future__ import annotations

from copy import deepcopy

from fxsr.extras import needs

with needs("train"):
    import torch
    from torch import Tensor, nn

    from fxsr.models.network import Generator


class Average(nn.Module):
    """Exponential moving average of a generator's weights.

    Its state dict has the names of torch's `AveragedModel`, which copies its count to the device and back in each
    update. Here the count stays on the host, so an update does not wait for a GPU.

    Args:
        generator: gives the first weights; it is copied.
        decay: largest decay. It grows from 0.1, so that the first, untrained weights are forgotten sooner.
    """

    module: Generator
    n_averaged: Tensor
    """Number of updates, on the host."""

    def __init__(self, generator: Generator, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(generator)
        self._decay = decay
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.int64, device="cpu"))

    @torch.no_grad()
    def update(self, generator: Generator) -> None:
        """Move the average towards these weights; the first update copies them."""
        count = int(self.n_averaged)
        averaged = [each.detach() for each in self.module.parameters()]
        current = [each.detach() for each in generator.parameters()]
        if count:
            torch._foreach_lerp_(averaged, current, 1 - min(self._decay, (1 + count) / (10 + count)))
        else:
            torch._foreach_copy_(averaged, current)
        self.n_averaged += 1
