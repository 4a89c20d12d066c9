"""Finds and loads the CUDA and cuDNN libraries that ONNX Runtime's CUDA provider needs.

ONNX Runtime itself looks in the site-packages folder that it is installed in, and where the system's loader looks. The
libraries may also have come with another package, such as torch, in another folder of Python's path.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NEEDED = ("cudart", "cublasLt", "cublas", "curand", "cudnn")
_USEFUL = ("nvJitLink", "nvrtc", "cufft")
"""Loaded if they are there."""
_VERSIONED = ("cudart", "cublasLt", "cublas", "nvrtc", "nvJitLink")
"""Libraries whose version is that of CUDA."""


@dataclass(frozen=True)
class LibrarySearch:
    """Which libraries were loaded, and where they were looked for."""

    missing: tuple[str, ...]
    """Needed libraries that are nowhere, such as "libcudnn.so.*"."""
    folders: tuple[Path, ...]

    def __str__(self) -> str:
        """What was looked for where, for an error's message; empty if nothing is missing."""
        if not self.missing:
            return ""
        names = ", ".join(self.missing)
        if not self.folders:
            return f"the system's loader does not find {names}, and no Python package has a folder nvidia/*/lib"
        return f"neither the system's loader nor {', '.join(map(str, self.folders))} has {names}"


def load_cuda_libraries(cuda_version: str, folders: Sequence[Path] | None = None) -> LibrarySearch:
    """Load the libraries into this process, before ONNX Runtime looks for them itself.

    A library that is loaded already is left as it is: a second copy from another folder, beside the first, makes cuDNN
    fail with CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH.

    Args:
        cuda_version: the version that ONNX Runtime was built for, such as "13.0". Empty: any.
        folders: where to look before the system's loader. None: all folders `nvidia/*/lib` on Python's path.
    """
    folders = nvidia_folders() if folders is None else folders
    if sys.platform != "linux":
        return LibrarySearch((), tuple(folders))  # there ONNX Runtime's own search is the right one
    major = cuda_version.partition(".")[0]
    missing = []
    for name in (*_USEFUL, *_NEEDED):
        pattern = f"lib{name}.so.{major}" if major and name in _VERSIONED else f"lib{name}.so.*"
        if not _load(name, pattern, folders) and name in _NEEDED:
            missing.append(pattern)
    return LibrarySearch(tuple(missing), tuple(folders))


def nvidia_folders() -> list[Path]:
    """The folders `nvidia/*/lib` on Python's path, where NVIDIA's packages put their libraries."""
    spec = importlib.util.find_spec("nvidia")
    places: Iterable[str] = spec.submodule_search_locations or () if spec else ()
    return [folder for place in places for folder in sorted(Path(place).glob("*/lib")) if folder.is_dir()]


def _load(name: str, pattern: str, folders: Sequence[Path]) -> bool:
    """Load the first library that fits; for cuDNN all its parts, which it opens by name."""
    if any(_is_loaded(soname) for soname in _sonames(name, pattern)):
        return True
    for folder in folders:
        found = sorted(folder.glob(pattern))
        if not found:
            continue
        parts = sorted(folder.glob("libcudnn_*.so.*")) if name == "cudnn" else []
        loaded = [_open(str(path)) for path in (found[-1], *parts)]
        if loaded[0] is not None:
            return True
    return any(_open(soname) is not None for soname in _sonames(name, pattern))


def _sonames(name: str, pattern: str) -> list[str]:
    """Names for the system's loader, which takes no patterns."""
    if not pattern.endswith("*"):
        return [pattern]
    versions = {"cudnn": (9,), "curand": (10,), "cufft": (12, 11)}.get(name, (13, 12))
    return [f"lib{name}.so.{version}" for version in versions]


def _is_loaded(soname: str) -> bool:
    """Whether this process has loaded a library of this name, from wherever."""
    return _open(soname, os.RTLD_NOLOAD) is not None


def _open(path: str, mode: int = ctypes.RTLD_GLOBAL) -> Any:
    try:
        return ctypes.CDLL(path, mode=mode)
    except OSError:
        return None
