"""Which part of ONNX Runtime runs a graph: its execution providers, by the names that `--provider` takes."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from fxsr.errors import DeviceError, FxsrError, ModelFileError, UsageError, first_line, install_line
from fxsr.extras import needs
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.session import Device

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt", "tensorrt-rtx")
_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
_LABELS = {"cuda": "CUDA", "tensorrt": "TensorRT"}
_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


@dataclass(frozen=True)
class OpenGraph:
    """A session of ONNX Runtime, and where it runs."""

    session: Any
    provider: str
    """One of `PROVIDERS`, but "auto"."""
    device: str
    """"cpu", "cuda:0", ..."""


def import_onnxruntime() -> Any:
    """ONNX Runtime, without its reports to its makers, which it sends unless told not to.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with needs("cpu"):
        import onnxruntime
    return onnxruntime


def open_graph(path: Path, device: Device, provider: str = "auto", profile: Path | None = None) -> OpenGraph:
    """Open an ONNX file with one provider, or an error: ONNX Runtime itself would fall back to the CPU in silence.

    Args:
        path: the file.
        device: "auto" takes a GPU if the provider works on one.
        provider: one of `PROVIDERS`; "auto" is CUDA where it works, else the CPU.
        profile: where to write a profile to, without ending. None: don't.

    Raises:
        UsageError: no such provider, or it does not go with the device.
        DeviceError: the provider or its GPU is not there.
        ModelFileError: the file can't be loaded.
        MissingExtraError: ONNX Runtime or the provider's package is not installed.
    """
    if provider not in PROVIDERS:
        raise UsageError(f"provider is {provider!r}; it must be one of {', '.join(PROVIDERS)}")
    if (provider == "cpu" and device.kind == "cuda") or (provider not in ("auto", "cpu") and device.kind == "cpu"):
        raise UsageError(f"provider {provider} does not run on {device}; leave out one of the two")
    ort = import_onnxruntime()
    options = _options(ort, profile)
    if provider == "cpu" or device.kind == "cpu":
        return OpenGraph(_create(ort, path, options, [_NAMES["cpu"]]), "cpu", "cpu")
    gpu = f"cuda:{device.index}"
    if provider == "tensorrt-rtx":
        _add_plugin(ort, options, device)
        session = _create(ort, path, options, None)
    else:
        wanted = "cuda" if provider == "auto" else provider
        if _NAMES[wanted] not in ort.get_available_providers():
            if provider == "auto" and device.kind == "auto":
                return OpenGraph(_create(ort, path, options, [_NAMES["cpu"]]), "cpu", "cpu")
            missing = f"this ONNX Runtime has no {_LABELS[wanted]} provider"
            raise DeviceError(f"{missing}; type in the clone of FxSR: {install_line('gpu')}, or use --device cpu")
        ort.preload_dlls()
        session = _create(ort, path, options, [*_on_gpu(wanted, device.index), _NAMES["cpu"]])
    # it may have fallen back to the CPU all the same: look at what it really took
    taken = next((name for name, full in _NAMES.items() if full == session.get_providers()[0]), "cpu")
    if taken == "cpu":
        if provider == "auto" and device.kind == "auto":
            return OpenGraph(session, "cpu", "cpu")
        raise DeviceError(f"{gpu} can't be used by ONNX Runtime (no such GPU, driver or library); try --device cpu")
    if provider not in ("auto", taken):
        raise DeviceError(f"ONNX Runtime's {provider} provider can't be loaded; is its library installed?")
    return OpenGraph(session, taken, gpu)


def _options(ort: Any, profile: Path | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cpus()  # ONNX Runtime itself ignores affinity and quotas
    options.enable_mem_pattern = False  # patterns pile up with every tile size seen, and gain next to nothing here
    options.log_severity_level = 4
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options


def _on_gpu(provider: str, index: int) -> list[tuple[str, dict[str, Any]]]:
    # searching the fastest algorithm anew for each tile size would stall; edge tiles differ in size
    cuda = (_NAMES["cuda"], {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"})
    if provider == "cuda":
        return [cuda]
    kept = str(_cache_folder("tensorrt"))
    tensorrt = {
        "device_id": index,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": kept,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": kept,
    }
    return [(_NAMES["tensorrt"], tensorrt), cuda]


def _add_plugin(ort: Any, options: Any, device: Device) -> None:
    """TensorRT-RTX comes as a library of its own, registered once in a process."""
    if importlib.util.find_spec(_PLUGIN) is None:
        raise DeviceError(
            "ONNX Runtime's tensorrt-rtx provider is not installed; type: pip install "
            "onnxruntime-ep-nv-tensorrt-rtx-cu13, or export an engine and run that"
        )
    try:
        plugin = importlib.import_module(_PLUGIN)
        name = plugin.get_ep_name()
        if not any(each.ep_name == name for each in ort.get_ep_devices()):
            ort.register_execution_provider_library(name, plugin.get_library_path())
        devices = [each for each in ort.get_ep_devices() if each.ep_name == name]
    except Exception as error:  # of the plugin's import, or one of ONNX Runtime's, which have no common base
        raise DeviceError(f"the tensorrt-rtx provider can't be loaded ({first_line(error)})") from error
    if device.index >= len(devices):
        raise DeviceError(f"the tensorrt-rtx provider finds no GPU {device.index} that it can use; try --provider cuda")
    kept = {"nv_runtime_cache_path": str(_cache_folder("tensorrt-rtx"))}
    options.add_provider_for_devices([devices[device.index]], kept)


def _cache_folder(provider: str) -> Path:
    folder = platformdirs.user_cache_path("fxsr") / "onnxruntime" / provider
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FxsrError(f"cannot write {folder}: {error.strerror}") from error
    return folder


def _create(ort: Any, path: Path, options: Any, providers: list[Any] | None) -> Any:
    chosen = {} if providers is None else {"providers": providers}
    try:
        session = ort.InferenceSession(str(path), options, **chosen)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ModelFileError(f"{path}: ONNX Runtime can't load it ({first_line(error)})") from error
    _give_back_memory()
    return session


def _give_back_memory() -> None:
    """Loading copies the weights more than once; glibc would keep what was freed of that, as much as they take."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
