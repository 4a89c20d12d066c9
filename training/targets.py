"""The pictures that crops are compared with: photos, teachers' pictures, and interpolations of two of them over t."""

from __future__ import annotations

from collections.abc import Sequence

from fxsr.extras import needs
from fxsr.training.data import Batch
from fxsr.training.transfer import to_device

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

    def __call__(self, ends: tuple[str, str]) -> Tensor:
        """(N, 3, H, W): (1-t)*A + t*B at each pixel's t, of two named pictures, which may be equal."""
        if ends not in self._found:
            first, last = (self._picture(name) for name in ends)
            target = first if ends[0] == ends[1] else between(first, last, self._batch.t_map)
            if self._own:
                numbers, pictures = self._own
                target = target.index_copy(0, crop_index(numbers, target.device), pictures.to(target.dtype))
            self._found[ends] = target
        return self._found[ends]

    def _picture(self, name: str) -> Tensor:
        return self._batch.hr if name == PHOTO else self._batch.teachers[name]


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


def crop_index(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Numbers of crops as an index tensor on a device, copied without waiting for it."""
    return to_device(torch.tensor(numbers, dtype=torch.int64), device)
