"""Finds the C library on this machine, for programs that are compiled against it. docs/embedding.md is about those."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path

from fxsr.errors import UnavailableError
from fxsr.extras import needs
from fxsr.models.manifest import Flavour

_TENSORRT: dict[Flavour, tuple[str, str]] = {
    "tensorrt": ("tensorrt_libs", "libnvinfer.so.*"),
    "tensorrt-rtx": ("tensorrt_rtx_libs", "libtensorrt_rtx.so.*"),
}
"""Packages that hold the libraries, and how these are called."""
_PACKAGE = "fxsr_native"
_INSTALL = "pip install ./runtime/native"


@dataclass(frozen=True)
class NativeLibrary:
    """The installed package fxsr-native."""

    folder: Path
    """Prefix under which `include` and `lib` lie."""

    @property
    def cmake_dir(self) -> Path:
        """The value of `fxsr_DIR`, with which `find_package(fxsr)` finds the library."""
        return self.folder / "lib" / "cmake" / "fxsr"

    @property
    def cflags(self) -> str:
        """Options for a compiler."""
        return shlex.join([f"-I{self.folder / 'include'}"])

    @property
    def libs(self) -> str:
        """Options for a linker; programs find the library where it is now."""
        lib = self.folder / "lib"
        return shlex.join([f"-L{lib}", f"-Wl,-rpath,{lib}", "-lfxsr"])


def find_native() -> NativeLibrary:
    """The installed C library.

    Raises:
        UnavailableError: it is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / "include" / "fxsr.h").is_file():
            return NativeLibrary(Path(folder))
    raise UnavailableError(f"the C library is not installed; type in the clone of FxSR: {_INSTALL}")


def find_onnxruntime() -> Path:
    """ONNX Runtime's library in its pip package: the value of FXSR_ONNXRUNTIME for the C library.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        UnavailableError: its package has no separate library.
    """
    with needs("cpu"):
        spec = importlib.util.find_spec("onnxruntime")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
    capi = Path(spec.origin).parent / "capi"
    for pattern in ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll"):
        for path in sorted(capi.glob(pattern)):
            return path
    raise UnavailableError(f"{capi} has no library of ONNX Runtime that a C program could load")


def find_tensorrt(flavour: Flavour) -> Path:
    """The library of TensorRT or TensorRT-RTX in its pip package: the value of FXSR_TENSORRT for the C library.

    Raises:
        UnavailableError: it is not installed.
    """
    package, pattern = _TENSORRT[flavour]
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob(pattern)):
            return path
    raise UnavailableError(f"{package} has no {pattern}, or is not installed; type: pip install {flavour}")
