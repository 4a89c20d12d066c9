"""Builds the C library, and calls it through ctypes, as any language with a foreign function interface can."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_int64, c_uint32, c_uint64, c_void_p, sizeof
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from tests.support import ROOT

SOURCES = ROOT / "runtime" / "native"
PROGRAMS = ROOT / "tests" / "integration" / "native"
UNITY = ("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0")
"""All sources in one, a third less work for the compiler: for builds beside the first, which compiles file by file."""
_ENDINGS = (".c", ".cpp", ".h", ".hpp", ".txt", ".in", ".map")
STATUS = {
    "bad argument": -1,
    "bad image": -2,
    "bad style": -3,
    "bad model": -4,
    "no runtime": -5,
    "no device": -6,
    "no memory": -7,
    "failed": -8,
}
TYPES = {np.dtype(name): number for number, name in enumerate(("uint8", "uint16", "float16", "float32"))}


class Struct(ctypes.Structure):
    """A struct of fxsr.h, whose first field is its size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(sizeof(type(self)), **values)


class Options(Struct):
    _fields_: ClassVar = [
        ("size", c_uint32),
        ("provider", c_int32),
        ("device", c_int32),
        ("threads", c_int32),
        ("tile", c_int32),
        ("overlap", c_int32),
        ("onnxruntime", c_char_p),
        ("cache", c_char_p),
        ("tensorrt", c_char_p),
    ]


class Info(Struct):
    _fields_: ClassVar = [
        ("size", c_uint32),
        ("scale", c_int32),
        ("name", c_char_p),
        ("variant", c_char_p),
        ("precision", c_char_p),
        ("licence", c_char_p),
        ("bits8", c_int32),
        ("baked_t", c_float),
    ]


class Image(Struct):
    _fields_: ClassVar = [
        ("size", c_uint32),
        ("type", c_int32),
        ("memory", c_int32),
        ("device", c_int32),
        ("width", c_int32),
        ("height", c_int32),
        ("channels", c_int32),
        ("data", c_void_p),
        ("row_stride", c_int64),
        ("pixel_stride", c_int64),
        ("channel_stride", c_int64),
    ]

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> Image:
        """An (H, W) or (H, W, C) array, with any strides. The array must stay alive."""
        view = pixels[..., None] if pixels.ndim == 2 else pixels
        image = cls(type=TYPES[view.dtype], data=view.ctypes.data)
        image.height, image.width, image.channels = view.shape
        image.row_stride, image.pixel_stride, image.channel_stride = view.strides
        return image


class Style(Struct):
    _fields_: ClassVar = [("size", c_uint32), ("t", c_float), ("map", POINTER(Image)), ("feather", c_float)]


class OutputSize(Struct):
    _fields_: ClassVar = [
        ("size", c_uint32),
        ("width", c_int32),
        ("height", c_int32),
        ("tiles", c_int32),
        ("row_bytes", c_uint64),
        ("bytes", c_uint64),
        ("work_bytes", c_uint64),
    ]


class NativeError(Exception):
    """A call failed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Native:
    """The library."""

    def __init__(self, path: Path | str) -> None:
        self.lib = ctypes.CDLL(str(path))
        for name in ("fxsr_open_error", "fxsr_error", "fxsr_status_name"):
            getattr(self.lib, name).restype = c_char_p
        self.lib.fxsr_open_error.argtypes = self.lib.fxsr_close.argtypes = [c_void_p]
        self.lib.fxsr_error.argtypes = self.lib.fxsr_worker_free.argtypes = [c_void_p]
        self.lib.fxsr_open.argtypes = [c_char_p, POINTER(Options), POINTER(c_void_p)]
        self.lib.fxsr_get_info.argtypes = [c_void_p, POINTER(Info)]
        self.lib.fxsr_worker_new.argtypes = [c_void_p, POINTER(c_void_p)]
        call: list[Any] = [c_void_p, POINTER(Image), POINTER(Style)]
        self.lib.fxsr_measure.argtypes = [*call, POINTER(OutputSize)]
        self.lib.fxsr_run.argtypes = [*call, POINTER(Image)]
        self.lib.fxsr_submit.argtypes = [*call, POINTER(Image), c_void_p, POINTER(c_uint64)]
        self.lib.fxsr_done.argtypes = self.lib.fxsr_wait.argtypes = [c_void_p, c_uint64]

    def options(self, **values: Any) -> Options:
        """`fxsr_options_init`, then one thread, since threads that spin are slow on busy CPUs, then these values."""
        options = Options()
        self.lib.fxsr_options_init(byref(options))
        options.threads = 1
        for name, value in values.items():
            setattr(options, name, value)
        return options

    @contextmanager
    def model(self, path: Path | str, **options: Any) -> Iterator[c_void_p]:
        """`fxsr_open`; closed at the end of the block.

        Raises:
            NativeError: it fails.
        """
        model = c_void_p()
        status = self.lib.fxsr_open(str(path).encode(), byref(self.options(**options)), byref(model))
        try:
            if status:
                raise NativeError(status, self.lib.fxsr_open_error(model).decode())
            yield model
        finally:
            self.lib.fxsr_close(model)

    def info(self, model: c_void_p) -> Info:
        info = Info()
        assert self.lib.fxsr_get_info(model, byref(info)) == 0
        return info

    @contextmanager
    def worker(self, path: Path | str, **options: Any) -> Iterator[Worker]:
        """A worker of a model that is opened for it alone."""
        with self.model(path, **options) as model, Worker.of(self, model) as worker:
            yield worker


class Worker:
    """A worker."""

    def __init__(self, native: Native, handle: c_void_p, scale: int) -> None:
        self._native = native
        self.lib = native.lib
        self.handle = handle
        self.scale = scale

    @classmethod
    @contextmanager
    def of(cls, native: Native, model: c_void_p) -> Iterator[Worker]:
        """`fxsr_worker_new`; freed at the end of the block."""
        handle = c_void_p()
        assert native.lib.fxsr_worker_new(model, byref(handle)) == 0
        try:
            yield cls(native, handle, native.info(model).scale)
        finally:
            native.lib.fxsr_worker_free(handle)

    def check(self, status: int) -> int:
        """The status of a call.

        Raises:
            NativeError: it is negative.
        """
        if status < 0:
            raise NativeError(status, self.lib.fxsr_error(self.handle).decode())
        return status

    def measure(self, image: Image, style: Style | None = None) -> OutputSize:
        found = OutputSize()
        self.check(self.lib.fxsr_measure(self.handle, byref(image), style and byref(style), byref(found)))
        return found

    def run(
        self,
        pixels: NDArray[Any],
        t: float | NDArray[Any] = 0.8,
        feather: float = 0,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Upscale an array; the result has its type and layout, or is `out`."""
        out = self.output(pixels) if out is None else out
        self.check(
            self.lib.fxsr_run(self.handle, byref(Image.of(pixels)), byref(style_of(t, feather)), byref(Image.of(out)))
        )
        return out

    def output(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """An array for the result."""
        height, width = pixels.shape[:2]
        return np.zeros((height * self.scale, width * self.scale, *pixels.shape[2:]), pixels.dtype)

    def submit(
        self, pixels: NDArray[Any], out: NDArray[Any], t: float | NDArray[Any] = 0.8, stream: int | None = None
    ) -> int:
        return self.submit_images(Image.of(pixels), Image.of(out), style_of(t), stream)

    def submit_images(self, given: Image, out: Image, style: Style, stream: int | None = None) -> int:
        ticket = c_uint64()
        images = byref(given), byref(style), byref(out)
        self.check(self.lib.fxsr_submit(self.handle, *images, stream, byref(ticket)))
        return ticket.value

    def done(self, ticket: int) -> bool:
        return bool(self.check(self.lib.fxsr_done(self.handle, ticket)))

    def wait(self, ticket: int) -> None:
        self.check(self.lib.fxsr_wait(self.handle, ticket))


def style_of(t: float | NDArray[Any], feather: float = 0) -> Style:
    """A style; a map must stay alive."""
    if isinstance(t, np.ndarray):
        return Style(map=ctypes.pointer(Image.of(t)), feather=feather)
    return Style(t=t)


def onnxruntime_library() -> Path:
    """The library in the pip package, which needs no header and no link."""
    import onnxruntime

    return next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))


def run_program(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may load ONNX Runtime, and require that it succeeds."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env=os.environ | {"FXSR_ONNXRUNTIME": str(onnxruntime_library()), **environment},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def build_native(source: Path = SOURCES, target: str = "all", **options: str) -> Path:
    """Build a CMake project, or one target of it, and return its build folder. Sources that did not change are not
    compiled again.

    Skips the test where there is no compiler or no CMake.
    """
    for program in ("cmake", "c++"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; on Debian: apt-get install g++ cmake")
    digest = hashlib.sha256(repr((target, sorted(options.items()))).encode())
    for path in sorted(
        file
        for folder in {SOURCES, source, PROGRAMS / "faketrt"}
        for file in folder.rglob("*")
        if file.suffix in _ENDINGS
    ):
        digest.update(str(path).encode() + path.read_bytes())
    folder = ROOT / "build" / f"native-{digest.hexdigest()[:16]}"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            settings = [f"-D{name}={value}" for name, value in {"CMAKE_INSTALL_LIBDIR": "lib", **options}.items()]
            for command in (
                ["cmake", "-S", source, "-B", folder, *settings, *(() if source == SOURCES else UNITY)],
                ["cmake", "--build", folder, "--parallel", "2", "--target", target],
            ):
                done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
                assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
                assert "warning:" not in done.stdout + done.stderr, done.stdout + done.stderr
            (folder / "complete").touch()
    return folder
