"""ONNX Runtime's execution providers, which run its graphs, by the names that `--provider` accepts."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from fxsr.errors import DeviceError, FxsrError, ModelFileError, UsageError, first_line, install_line
from fxsr.extras import needs
from fxsr.models.foreign import foreign_file, read_head
from fxsr.models.manifest import METADATA_KEY, decode_facts
from fxsr.runtime.backends.cuda_libraries import load_cuda_libraries
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.machine.gpu import find_gpus
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
_FATAL = 4
"""ONNX Runtime's highest severity of messages."""
_STDOUT = 1
_TRY_CPU, _USE_CPU = "; try --device cpu", ", or use --device cpu"
"""Ends of messages about a GPU that was asked for."""


@dataclass(frozen=True)
class OpenGraph:
    """A session of ONNX Runtime, and the place where it runs."""

    session: Any
    provider: str
    """One of `PROVIDERS`, never "auto"."""
    device: Device
    note: str = ""
    """Why the request "auto" runs on the CPU although a GPU, or ONNX Runtime for GPUs, is installed. One line."""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, with its telemetry and its own messages switched off.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with needs("cpu"):
        import onnxruntime
    onnxruntime.set_default_logger_severity(_FATAL)  # some messages do not go through a session's logger
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
    if provider == "cpu" or device.is_cpu:
        return _on_cpu(ort, path, profile)
    try:
        return _on_gpu(ort, path, device, provider, profile)
    except DeviceError as error:
        if provider != "auto" or device.kind != "auto":
            raise
        expected = _NAMES["cuda"] in ort.get_available_providers() or find_gpus()
        reason = str(error).removesuffix(_TRY_CPU).removesuffix(_USE_CPU)
        return _on_cpu(ort, path, profile, f"running on the CPU: {reason}" if expected else "")


def _on_cpu(ort: Any, path: Path, profile: Path | None, note: str = "") -> OpenGraph:
    session = _create(ort, path, _session_options(ort, profile), [_NAMES["cpu"]])
    return OpenGraph(session, "cpu", CPU, note)


def _on_gpu(ort: Any, path: Path, device: Device, provider: str, profile: Path | None) -> OpenGraph:
    """Open a graph on a GPU.

    Raises:
        DeviceError: the provider or its GPU is absent.
    """
    gpu = Device("cuda", device.index)
    wanted = "cuda" if provider == "auto" else provider
    options = _session_options(ort, profile)
    lacking = ""
    with _silent_output():
        if wanted == "tensorrt-rtx":
            _add_plugin(ort, options, device)
            session = _create(ort, path, options, None)
        else:
            if _NAMES[wanted] not in ort.get_available_providers():
                missing = f"this ONNX Runtime has no {_LABELS[wanted]} provider"
                raise DeviceError(f"{missing}; type in the clone of FxSR: {install_line('gpu')}{_USE_CPU}")
            lacking = str(load_cuda_libraries(getattr(ort, "cuda_version", "") or ""))
            ort.preload_dlls()  # takes what is loaded; on Windows it looks for all of them
            half = wanted == "tensorrt" and _is_half(ort, path)
            session = _create(ort, path, options, [*_gpu_providers(wanted, device.index, half), _NAMES["cpu"]])
    session.disable_fallback()  # a failing run would start again on the CPU, and print that
    # it may still have fallen back to the CPU: check which provider it really uses
    used = next((name for name, full in _NAMES.items() if full == session.get_providers()[0]), "cpu")
    if used == "cpu":
        known = ["" if find_gpus() else "no NVIDIA driver or GPU was found", lacking]
        reason = "; ".join(filter(None, known)) or "there is no such GPU"
        raise DeviceError(f"{gpu} can't be used by ONNX Runtime ({reason}){_TRY_CPU}")
    if provider not in ("auto", used):
        raise DeviceError(f"ONNX Runtime's {provider} provider can't be loaded; is its library installed?")
    return OpenGraph(session, used, gpu)


def cuda_options(index: int) -> dict[str, str]:
    """Options of the CUDA provider on GPU number `index`. `python -m fxsr.benchmarks gpu` compares them with others."""
    return {
        "device_id": str(index),
        # an exhaustive search would stall at every new tile size, and tiles at the edges differ in size
        "cudnn_conv_algo_search": "HEURISTIC",
        # convolutions in NHWC, with transposes at both ends of the graph: not yet measured on a GPU
        "prefer_nhwc": "0",
    }


def _session_options(ort: Any, profile: Path | None = None) -> Any:
    options = quiet_options(ort)
    options.intra_op_num_threads = available_cpus()  # ONNX Runtime ignores affinity and quotas
    options.enable_mem_pattern = False  # patterns accumulate with every tile size, for hardly any gain
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options


def quiet_options(ort: Any) -> Any:
    """Options of a session that prints nothing."""
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    return options


@contextmanager
def _silent_output() -> Iterator[None]:
    """Discard what this process writes to standard output inside the block.

    While a session is created ONNX Runtime prints its complaints there, from Python and from C++, into the middle of
    JSON or of an image. Errors of this package say the same in one line.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # closed
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            os.dup2(nowhere.fileno(), _STDOUT)
            yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _is_half(ort: Any, path: Path) -> bool:
    """Whether a graph computes in float16. Its facts are in the file, which ONNX Runtime reads without running it."""
    options = quiet_options(ort)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _create(ort, path, options, [_NAMES["cpu"]])
    facts = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return facts is not None and decode_facts(facts, str(path)).precision == "fp16"


def _gpu_providers(provider: str, index: int, half: bool) -> list[tuple[str, dict[str, Any]]]:
    """The provider with its options, and the CUDA provider for what TensorRT does not take."""
    cuda = (_NAMES["cuda"], cuda_options(index))
    if provider == "cuda":
        return [cuda]
    cache = str(_cache_folder("tensorrt"))
    tensorrt = {
        "device_id": index,
        "trt_fp16_enable": half,  # without it TensorRT computes a float16 graph in float32
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
        utf8 = not any("\ud800" <= character <= "\udfff" for character in str(path))  # it opens no other names
        session = ort.InferenceSession(str(path) if utf8 else path.read_bytes(), options, **chosen)
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
