"""`fxsr native`: what a C or C++ build needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from fxsr.cli.options import Json
from fxsr.errors import UsageError


def native(
    cmake_dir: Annotated[bool, typer.Option("--cmake-dir", help="Print the folder for `-Dfxsr_DIR=`.")] = False,
    cflags: Annotated[bool, typer.Option("--cflags", help="Print options for the compiler.")] = False,
    libs: Annotated[bool, typer.Option("--libs", help="Print options for the linker.")] = False,
    onnxruntime: Annotated[
        bool, typer.Option("--onnxruntime", help="Print ONNX Runtime's library, the value of FXSR_ONNXRUNTIME.")
    ] = False,
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Print TensorRT's library, the value of FXSR_TENSORRT.")
    ] = False,
    tensorrt_rtx: Annotated[
        bool, typer.Option("--tensorrt-rtx", help="Print TensorRT-RTX's library, the value of FXSR_TENSORRT.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Report what a C or C++ program needs to use the C library, which `pip install ./runtime/native` builds."""
    from fxsr.cli.print import print_facts
    from fxsr.runtime.embedding import find_native, find_onnxruntime, find_tensorrt

    makers: dict[str, tuple[bool, Callable[[], str]]] = {
        "cmake-dir": (cmake_dir, lambda: str(find_native().cmake_dir)),
        "cflags": (cflags, lambda: find_native().cflags),
        "libs": (libs, lambda: find_native().libs),
        "onnxruntime": (onnxruntime, lambda: str(find_onnxruntime())),
    }
    engines: dict[str, tuple[bool, Callable[[], str]]] = {  # few have these, so they are printed on request only
        "tensorrt": (tensorrt, lambda: str(find_tensorrt("tensorrt"))),
        "tensorrt-rtx": (tensorrt_rtx, lambda: str(find_tensorrt("tensorrt-rtx"))),
    }
    asked = [name for name, (wanted, _) in (makers | engines).items() if wanted]
    if asked and as_json:
        raise UsageError(f"--json prints everything; leave out --{asked[0]}")
    if asked:
        typer.echo(" ".join((makers | engines)[name][1]() for name in asked))
    else:
        print_facts({name: make() for name, (_, make) in makers.items()}, as_json)
