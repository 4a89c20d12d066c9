"""ONNX Runtime's execution providers, which run its graphs, by the names that `--provider` accepts."""

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
from fxsr.models.foreign import foreign_file, read_head
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.session import CPU, Device

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
    """A session of ONNX Runtime, and the place where it runs."""

    session: Any
    provider: str
    """One of `PROVIDERS`, never "auto"."""
    device: Device


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, with its telemetry switched off.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with needs("cpu"):
        import onnxruntime
    return onnxruntime


def open_graph(path: Path, device: Device, provider: str = "auto", profile: Path | None = None) -> OpenGraph:
    """Open an ONNX file with one provider, or fail. ONNX Runtime itself would silently fall back to the CPU.

    Args:
        path: the file.
        device: where to run; "auto" is a GPU if the provider works on one.
        provider: one of `PROVIDERS`; "auto" is CUDA where it works, else the CPU.
        profile: path to write a profile to, without its ending. None: write none.

    Raises:
        UsageError: there is no such provider, or it can't run on the device.
        DeviceError: the provider or its GPU is absent.
        ModelFileError: the file can't be loaded.
        MissingExtraError: ONNX Runtime or the provider's package is not installed.
    """
    if provider not in PROVIDERS:
        raise UsageError(f"provider is {provider!r}; it must be one of {', '.join(PROVIDERS)}")
    if (provider == "cpu" and device.kind == "cuda") or (provider not in ("auto", "cpu") and device.kind == "cpu"):
        raise UsageError(f"provider {provider} does not run on {device}; leave out --provider or --device")
    ort = import_onnxruntime()
    options = _options(ort, profile)
    if provider == "cpu" or device.kind == "cpu":
        return OpenGraph(_create(ort, path, options, [_NAMES["cpu"]]), "cpu", CPU)
    gpu = Device("cuda", device.index)
    if provider == "tensorrt-rtx":
        _add_plugin(ort, options, device)
        session = _create(ort, path, options, None)
    else:
        wanted = "cuda" if provider == "auto" else provider
        if _NAMES[wanted] not in ort.get_available_providers():
            if provider == "auto" and device.kind == "auto":
                return OpenGraph(_create(ort, path, options, [_NAMES["cpu"]]), "cpu", CPU)
            missing = f"this ONNX Runtime has no {_LABELS[wanted]} provider"
            raise DeviceError(f"{missing}; type in the clone of FxSR: {install_line('gpu')}, or use --device cpu")
        ort.preload_dlls()
        session = _create(ort, path, options, [*_on_gpu(wanted, device.index), _NAMES["cpu"]])
    # it may still have fallen back to the CPU: check which provider it really uses
    used = next((name for name, full in _NAMES.items() if full == session.get_providers()[0]), "cpu")
    if used == "cpu":
        if provider == "auto" and device.kind == "auto":
            return OpenGraph(session, "cpu", CPU)
        raise DeviceError(f"{gpu} can't be used by ONNX Runtime (no such GPU, driver or library); try --device cpu")
    if provider not in ("auto", used):
        raise DeviceError(f"ONNX Runtime's {provider} provider can't be loaded; is its library installed?")
    return OpenGraph(session, used, gpu)


def _options(ort: Any, profile: Path | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = available_cpus()  # ONNX Runtime ignores affinity and quotas
    options.enable_mem_pattern = False  # patterns accumulate with every tile size, for hardly any gain
    options.log_severity_level = 4
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options


def _on_gpu(provider: str, index: int) -> list[tuple[str, dict[str, Any]]]:
    # an exhaustive search would stall at every new tile size, and tiles at the edges differ in size
    cuda = (_NAMES["cuda"], {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"})
    if provider == "cuda":
        return [cuda]
    cache = str(_cache_folder("tensorrt"))
    tensorrt = {
        "device_id": index,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": cache,
    }
    return [(_NAMES["tensorrt"], tensorrt), cuda]


def _add_plugin(ort: Any, options: Any, device: Device) -> None:
    """Add the TensorRT-RTX provider, a separate library that is registered once per process."""
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
    except Exception as error:  # from the plugin's import or from ONNX Runtime, whose errors have no common base
        raise DeviceError(f"the tensorrt-rtx provider can't be loaded ({first_line(error)})") from error
    if device.index >= len(devices):
        raise DeviceError(f"the tensorrt-rtx provider finds no usable GPU {device.index}; try --provider cuda")
    cache = {"nv_runtime_cache_path": str(_cache_folder("tensorrt-rtx"))}
    options.add_provider_for_devices([devices[device.index]], cache)


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
    except Exception as error:  # ONNX Runtime's errors have no common base class
        if (foreign := foreign_file(read_head(path))) is not None:
            raise ModelFileError(f"{path}: not an ONNX file: {foreign}") from error
        raise ModelFileError(f"{path}: ONNX Runtime can't load it ({first_line(error)})") from error
    _give_back_memory()
    return session


def _give_back_memory() -> None:
    """Return freed memory to the system: loading copies the weights more than once, and glibc would keep the copies."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
