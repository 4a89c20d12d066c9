"""Synthetic drawings for training: flat colours, gradients, shapes and text, which are rare in photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fxsr.images.image import repeat_pixels

_WORDS = (
    "the quick brown fox jumps over a lazy dog while 1234567890 people watch; Price: $49.99 (incl. VAT) & more see page"
)
_PURE = (0, 0, 255, 255, 128, 200)
"""Channel values of half of the colours, so that saturated colours are frequent."""

Colour = tuple[int, int, int]


def make_drawings(folder: Path, count: int, side: int = 512) -> None:
    """Write `count` drawings of `side` pixels to `folder`/NUMBER.png. The drawings are always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(draw(np.random.default_rng([3, number]), side)).save(folder / f"{number:04d}.png")


def make_plain(folder: Path, count: int, side: int = 512) -> None:
    """Write `count` images of flat colours to `folder`/NUMBER.png: by turns one colour, and 8x8 squares of one each.

    The images are always the same. The first kind shows what happens to a colour far from any edge, the second shows
    many colours at once. Half of the colours are as saturated as can be: GANs shift those most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng, squares = np.random.default_rng([4, number]), 8 if number % 2 else 1
        kind, shape = rng.random((squares, squares, 1)), (squares, squares, 3)
        others = np.where(kind < 0.75, rng.choice(_PURE, shape), rng.integers(0, 256, shape))
        colours = np.where(kind < 0.5, rng.choice((0, 255), shape), others).astype(np.uint8)
        Image.fromarray(repeat_pixels(colours, side // squares)).save(folder / f"{number:03d}.png")


def draw(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Make one drawing, (side, side, 3). It is drawn at twice the size and halved, so that edges are smooth."""
    big = 2 * side
    image = _background(rng, big)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 14))):
        _shape(pen, rng, big)
    for _ in range(int(rng.integers(2, 9))):
        _text(pen, rng, big)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def _colour(rng: np.random.Generator) -> Colour:
    pure = rng.random() < 0.5
    red, green, blue = (int(each) for each in (rng.choice(_PURE, 3) if pure else rng.integers(0, 256, 3)))
    return red, green, blue


def _background(rng: np.random.Generator, side: int) -> Image.Image:
    first, last = np.array(_colour(rng), float), np.array(_colour(rng), float)
    if rng.random() >= 0.3:
        return Image.new("RGB", (side, side), (int(first[0]), int(first[1]), int(first[2])))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:side, :side] / side - 0.5
    share = np.clip(x * np.cos(angle) + y * np.sin(angle) + 0.5, 0, 1)[..., None]
    return Image.fromarray((first * (1 - share) + last * share + 0.5).astype(np.uint8))


def _shape(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    x, y = (int(each) for each in rng.integers(-side // 10, side, 2))
    width, height = (int(each) for each in rng.integers(side // 50, side // 2, 2))
    box, colour = (x, y, x + width, y + height), _colour(rng)
    kind = int(rng.integers(4))
    if kind == 0:
        pen.rectangle(box, fill=colour)
    elif kind == 1:
        pen.ellipse(box, fill=colour)
    elif kind == 2:
        pen.line(box, fill=colour, width=int(rng.integers(2, 30)))
    else:
        pen.polygon([(int(a), int(b)) for a, b in rng.integers(0, side, (3, 2))], fill=colour)


def _text(pen: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> None:
    font = ImageFont.load_default(int(rng.integers(24, 150)))
    words = " ".join(rng.choice(_WORDS.split(), int(rng.integers(1, 6))))
    place = int(rng.integers(-60, side - 60)), int(rng.integers(-60, side - 60))
    if rng.random() < 0.5:
        left, top, right, bottom = pen.textbbox(place, words, font=font)
        pen.rectangle((left - 20, top - 20, right + 20, bottom + 20), fill=_colour(rng))
    pen.text(place, words, font=font, fill=_colour(rng))
