"""A teacher that draws crops while training, instead of whole inputs before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fxsr.extras import needs
from fxsr.training.transfer import crop_index

with needs("train"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor


class CropTeacher:
    """A network that draws crops of a batch, on its device and without waiting for it.

    Args:
        forward: the network: (N, 3, h, w) to (N, 3, scale*h, scale*w), RGB in 0..1.
        colours: side, in input pixels, of the area over which mean colours are matched to the input; 0: off.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], colours: int) -> None:
        self._forward = forward
        self._colours = colours

    def __call__(self, lr: Tensor, others: Tensor, numbers: Sequence[int]) -> Tensor:
        """Pictures of the crops with these numbers.

        Args:
            lr: (N, 3, h, w), RGB in 0..1.
            others: (N, 3, scale*h, scale*w): the pictures of all other crops.
            numbers: of the crops.

        Returns:
            (N, 3, scale*h, scale*w), in 0..1.
        """
        if not numbers:
            return others
        chosen = crop_index(numbers, lr.device)
        lr = lr.index_select(0, chosen)
        with torch.no_grad():
            sr = self._forward(lr).clamp(0, 1)
            if self._colours:
                sr = match_colours(sr, lr, self._colours).clamp(0, 1)
        return others.index_copy(0, chosen, sr.to(others.dtype))


def match_colours(sr: Tensor, lr: Tensor, side: int) -> Tensor:
    """Give pictures the colours of their inputs: add the difference of their local means.

    The mean is taken twice over a square. Beyond the border, the difference is that at the border.

    Args:
        sr: (N, 3, scale*h, scale*w).
        lr: (N, 3, h, w).
        side: side of the square, in input pixels.

    Returns:
        (N, 3, scale*h, scale*w), not cut off at 0 and 1.
    """
    scale, reach = sr.shape[2] // lr.shape[2], max(side // 2, 1)
    difference = lr - F.avg_pool2d(sr, scale)
    for _ in range(2):
        for margins, window in (((reach, reach, 0, 0), (1, 2 * reach + 1)), ((0, 0, reach, reach), (2 * reach + 1, 1))):
            difference = F.avg_pool2d(F.pad(difference, margins, mode="replicate"), window, stride=1)
    return sr + difference.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
