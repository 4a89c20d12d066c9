"""Group 1 of the hardware report: the machine, its libraries, and why a backend can't be used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from fxsr.benchmarks.gpu.models import ModelSpec
from fxsr.benchmarks.gpu.steps import Journal
from fxsr.errors import FxsrError, UnavailableError, first_line
from fxsr.export.engine.engine import builder_version, choose_flavour
from fxsr.models.manifest import Flavour
from fxsr.runtime.backends.tensorrt.engine_file import EXTRAS, load_flavour
from fxsr.runtime.describe import examine_machine
from fxsr.runtime.device.open import open_device
from fxsr.runtime.machine.gpu import find_gpus
from fxsr.runtime.open import open_session

_PREFIXES = ("nvidia-", "cuda-", "cupy", "tensorrt", "torch", "triton", "onnxruntime", "numpy", "pycuda")
"""Beginnings of the names of packages that matter on a GPU."""


def describe_machine(journal: Journal) -> None:
    """What `fxsr doctor` reports, and the versions of all packages that concern a GPU."""
    for name, value in examine_machine().items():
        journal.add(name, value=str(value))
    for name, version in sorted(_packages().items()):
        journal.add(f"package {name}", value=version)


def check_backends(journal: Journal) -> None:
    """Try every backend, and name the reason where one can't be used. The step itself fails only without any GPU.

    Raises:
        UnavailableError: the driver reports no GPU.
    """
    attempts: dict[str, Callable[[], str]] = {
        "driver": _driver,
        "cuda-python": _cuda,
        "torch": _torch,
        "cupy": _cupy,
        "onnxruntime CUDA": partial(_onnxruntime, journal, "cuda"),
        "onnxruntime TensorRT": partial(_onnxruntime, journal, "tensorrt"),
        **{flavour: partial(_builder, flavour) for flavour in EXTRAS},
    }
    for name, attempt in attempts.items():
        try:
            journal.add(name, usable=True, detail=attempt())
        except FxsrError as error:
            journal.add(name, usable=False, detail=str(error))
        except Exception as error:  # a library that is broken on this machine
            journal.add(name, usable=False, detail=f"{type(error).__name__}: {first_line(error)}")
    if not find_gpus():
        raise UnavailableError("the driver reports no NVIDIA GPU, or there is no driver")


def _packages() -> dict[str, str]:
    found = {}
    for distribution in importlib.metadata.distributions():
        with suppress(KeyError, TypeError):
            name = distribution.metadata["Name"].lower()
            if name.startswith(_PREFIXES):
                found[name] = distribution.version
    return found


def _driver() -> str:
    gpus = find_gpus()
    if not gpus:
        raise UnavailableError("no GPU, or no driver")
    return "; ".join(
        f"{gpu.name}, compute capability {gpu.compute_capability}, driver {gpu.driver}, at {gpu.pci}" for gpu in gpus
    )


def _cuda() -> str:
    with open_device(0) as memory, memory.current():
        free, total = memory.available()
    return f"{memory.name} at {memory.pci}, {free >> 20} of {total >> 20} MiB free"


def _torch() -> str:
    if importlib.util.find_spec("torch") is None:
        raise UnavailableError("torch is not installed")
    import torch

    if not torch.cuda.is_available():
        raise UnavailableError(f"torch {torch.__version__} finds no GPU")
    cudnn: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}"


def _cupy() -> str:
    if importlib.util.find_spec("cupy") is None:
        raise UnavailableError("CuPy is not installed")
    cupy = importlib.import_module("cupy")
    return f"{cupy.__version__}, {cupy.cuda.runtime.getDeviceCount()} GPUs"


def _onnxruntime(journal: Journal, provider: str) -> str:
    with open_session(ModelSpec("small").graph(journal.work, "fp32"), "cuda", provider=provider) as session:
        return f"runs on {session.info.device}"


def _builder(flavour: Flavour) -> str:
    choose_flavour(flavour)
    load_flavour(flavour)  # a package may be there without its libraries
    return f"{builder_version(flavour)} can build here"
