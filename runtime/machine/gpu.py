"""Finds this machine's NVIDIA GPUs: through the driver's management library, through CUDA, or with nvidia-smi."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FIELDS = "name,compute_cap,driver_version,memory.total,uuid,pci.bus_id"
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    name: str
    compute_capability: str
    """Such as "8.9"."""
    driver: str
    memory_mb: int
    uuid: str = ""
    pci: str = ""
    """PCI address, such as "00000000:3B:00.0"."""

    def has_address(self, pci: str) -> bool:
        """Whether a PCI address, in any library's notation, is this GPU's."""
        return bool(pci) and _address(self.pci) == _address(pci)


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that the driver reports and CUDA_VISIBLE_DEVICES does not hide, in that variable's order. Without a
    driver there are none.

    The driver is asked once per process, since GPUs neither come nor go. The variable is read at every call.
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if _has_driver():  # else importing the libraries would only take time
        if listed := _list_by_nvml():
            return _visible(listed, wanted)
        if listed := _list_by_cuda():
            return listed
    tool = shutil.which("nvidia-smi")
    return () if tool is None else _visible(_list_by_tool(tool), wanted)


@cache
def _has_driver() -> bool:
    """Whether the driver's library is here; loading it initialises nothing."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True


@cache
def _list_by_nvml() -> tuple[Gpu, ...]:
    """Ask the driver's management library, by the package nvidia-ml-py."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # not installed, or NVMLError, which only the import brings
        return ()
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return tuple(_ask_nvml(nvml, index, driver) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return ()
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _ask_nvml(nvml: Any, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        compute_capability=f"{major}.{minor}",
        driver=driver,
        memory_mb=int(nvml.nvmlDeviceGetMemoryInfo(handle).total) >> 20,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        pci=_text(nvml.nvmlDeviceGetPciInfo(handle).busId),
    )


@cache
def _list_by_cuda() -> tuple[Gpu, ...]:
    """Ask CUDA, by cuda-python, for the visible GPUs: it applies CUDA_VISIBLE_DEVICES itself, as it was at first."""
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        return ()
    status, count = runtime.cudaGetDeviceCount()
    return tuple(_ask_cuda(runtime, index) for index in range(count)) if int(status) == 0 else ()


def _ask_cuda(runtime: Any, index: int) -> Gpu:
    _, facts = runtime.cudaGetDeviceProperties(index)
    place = f"{facts.pciDomainID:08X}:{facts.pciBusID:02X}:{facts.pciDeviceID:02X}.0"
    capability = f"{facts.major}.{facts.minor}"
    return Gpu(_text(facts.name), capability, _kernel_driver(), int(facts.totalGlobalMem) >> 20, pci=place)


def _kernel_driver() -> str:
    """Version of the driver, from the kernel's module; CUDA only reports the version of CUDA that it supports."""
    with suppress(OSError):
        if found := re.search(r"\d+\.\d+(\.\d+)?", _KERNEL_MODULE.read_text()):
            return found[0]
    return "unknown"


@cache
def _list_by_tool(tool: str) -> tuple[Gpu, ...]:
    """Ask nvidia-smi."""
    command = [tool, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(map(_parse, listed.strip().splitlines()))


def _visible(gpus: tuple[Gpu, ...], wanted: str | None) -> tuple[Gpu, ...]:
    """Apply CUDA_VISIBLE_DEVICES as CUDA does: numbers and prefixes of UUIDs, up to the first that matches no GPU."""
    if wanted is None or "MIG-" in wanted:  # a MIG instance; the driver does not report which GPU it is part of
        return gpus
    found = []
    for word in (part.strip() for part in wanted.split(",")):
        matching = [gpu for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)]
        matching = matching or list(gpus[int(word) : int(word) + 1] if word.isdecimal() else ())
        if not matching:
            break
        found += matching[:1]
    return tuple(found)


def _parse(line: str) -> Gpu:
    name, capability, driver, memory, uuid, pci = (part.strip() for part in line.split(","))
    return Gpu(name, capability, driver, int(memory) if memory.isdigit() else 0, uuid, pci)


def _text(value: bytes | str) -> str:
    """Text of a library whose older versions return bytes."""
    return value.decode().rstrip("\0") if isinstance(value, bytes) else value


def _address(pci: str) -> list[int]:
    """Domain, bus, device and function. They are hexadecimal, and the domain has four digits or eight."""
    return [int(part, 16) for part in re.findall("[0-9a-fA-F]+", pci)]
