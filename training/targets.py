"""The pictures that crops are compared with: photos, teachers' pictures, and interpolations of two of them over t."""

from __future__ import annotations

from collections.abc import Sequence

from fxsr.extras import needs
from fxsr.training.data import Batch
from fxsr.training.transfer import crop_index

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

PHOTO = "photo"


class Targets:
    """The pictures that a batch is compared with.

    Args:
        batch: photos, teachers' pictures and t.
        own: (numbers of crops, pictures (n, 3, H, W)) that replace the targets of the recipe for these crops.
    """

    def __init__(self, batch: Batch, own: tuple[Sequence[int], Tensor] | None = None) -> None:
        self._batch = batch
        self._own = own
        self._found: dict[tuple[str, str], Tensor] = {}
        self._drawn: dict[str, Tensor] = {}
        self._settled: dict[str, set[int]] = {}
        """Numbers of the crops that each teacher has drawn, or need not draw."""

    def __call__(self, ends: tuple[str, str]) -> Tensor:
        """(N, 3, H, W): (1-t)*A + t*B at each pixel's t, of two named pictures, which may be equal."""
        if ends not in self._found:
            if ends[0] == ends[1]:
                target = self._picture(ends[0])
            else:
                first, last = self._picture(ends[0], unused=1), self._picture(ends[1], unused=0)
                target = between(first, last, self._batch.t_map)
            if self._own:
                numbers, pictures = self._own
                target = target.index_copy(0, crop_index(numbers, target.device), pictures.to(target.dtype))
            self._found[ends] = target
        return self._found[ends]

    def _picture(self, name: str, unused: float | None = None) -> Tensor:
        """A named picture of each crop; it is not drawn of crops whose t is `unused` everywhere."""
        batch = self._batch
        if name == PHOTO:
            return batch.hr
        if name in batch.teachers:
            return batch.teachers[name]
        if name not in self._settled:
            untaught = {number for number, taught in enumerate(batch.taught) if not taught}
            self._settled[name] = untaught.union(self._own[0] if self._own else ())
        used = [number for number, bounds in enumerate(batch.bounds) if bounds != (unused, unused)]
        numbers = [number for number in used if number not in self._settled[name]]
        self._settled[name].update(numbers)
        self._drawn[name] = batch.drawn[name](batch.lr, self._drawn.get(name, batch.hr), numbers)
        return self._drawn[name]


def between(first: Tensor, last: Tensor, t_map: Tensor) -> Tensor:
    """(1-t)*first + t*last, of two (N, 3, H, W); t (N, 1, h, w) is repeated to their size."""
    t = t_map if t_map.shape[2:] == (1, 1) else F.interpolate(t_map, first.shape[2:], mode="nearest")
    return torch.lerp(first, last, t.to(first.dtype))


def own_line(network: nn.Module, batch: Batch) -> tuple[Sequence[int], Tensor] | None:
    """Interpolate the network's own pictures at t = 0 and t = 1, for crops that are not all t = 0 or all t = 1.

    Returns:
        The argument `own` of `Targets`; None if there is no such crop.
    """
    numbers = [number for number, (low, high) in enumerate(batch.bounds) if not low == high == round(low)]
    if not numbers:
        return None
    chosen = crop_index(numbers, batch.lr.device)
    lr, t_map = batch.lr.index_select(0, chosen), batch.t_map.index_select(0, chosen)
    ends = torch.zeros(2 * len(numbers), 1, 1, 1, device=lr.device)
    ends[len(numbers) :] = 1
    with torch.no_grad():
        first, last = network(torch.cat([lr, lr]), ends).float().clamp(0, 1).chunk(2)
        return numbers, between(first, last, t_map)
