"""Which names of TensorRT the code asks for, and which an installed module has.

`python -m tests.tensorrt_names tensorrt_rtx` prints the latter as `tests/golden/tensorrt-names.json` holds it.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

from tests.support import ROOT

SOURCES = (*sorted((ROOT / "runtime/backends/tensorrt").glob("*.py")), ROOT / "export/engine/builder.py")
ASKED = frozenset(
    f"{kind}.{name}"
    for kind, names in {
        "BuilderFlag": "REFIT REFIT_IDENTICAL REQUIRE_USER_ALLOCATION STRIP_PLAN VERSION_COMPATIBLE",
        "Builder": "build_serialized_network create_builder_config create_network create_optimization_profile",
        "DynamicShapesKernelSpecializationStrategy": "EAGER",
        "ExecutionContextAllocationStrategy": "USER_MANAGED",
        "HardwareCompatibilityLevel": "AMPERE_PLUS",
        "IBuilderConfig": "add_optimization_profile builder_optimization_level create_timing_cache get_timing_cache "
        "hardware_compatibility_level num_compute_capabilities progress_monitor set_compute_capability set_flag "
        "set_memory_pool_limit set_preview_feature set_timing_cache",
        "ICudaEngine": "create_execution_context create_runtime_config get_tensor_dtype get_tensor_mode "
        "get_tensor_name get_tensor_profile_shape num_io_tensors num_optimization_profiles",
        "IExecutionContext": "execute_async_v3 get_tensor_shape infer_shapes is_stream_capturable profiler "
        "set_device_memory set_input_shape set_optimization_profile_async set_tensor_address "
        "update_device_memory_size_for_shapes",
        "ILogger": "ERROR INFO log",
        "INetworkDefinition": "get_input get_output num_inputs num_outputs",
        "IOptimizationProfile": "set_shape",
        "IRuntimeCache": "deserialize serialize",
        "IRuntimeConfig": "create_runtime_cache dynamic_shapes_kernel_specialization_strategy "
        "set_execution_context_allocation_strategy set_runtime_cache",
        "ITensor": "dtype name",
        "ITimingCache": "serialize",
        "IHostMemory": "nbytes",
        "MemoryPoolType": "WORKSPACE",
        "NetworkDefinitionCreationFlag": "STRONGLY_TYPED",
        "OnnxParser": "get_error parse_from_file",
        "OnnxParserRefitter": "refit_from_file",
        "ParserError": "desc file node_name",
        "PreviewFeature": "RUNTIME_ACTIVATION_RESIZE_10_10",
        "Refitter": "refit_cuda_engine",
        "Runtime": "deserialize_cuda_engine engine_header_size engine_host_code_allowed get_engine_validity",
        "TensorIOMode": "INPUT",
    }.items()
    for name in names.split()
)
"""Class and member. `ParserError.file` and `IHostMemory.nbytes` stand for uses of these words for other things."""


def list_names(module: ModuleType) -> dict[str, list[str]]:
    """Public members of the classes in `ASKED` that a module has, by class."""
    kinds = sorted({name.partition(".")[0] for name in ASKED})
    there = {kind: getattr(module, kind) for kind in kinds if hasattr(module, kind)}
    return {kind: [name for name in sorted(dir(found)) if not name.startswith("_")] for kind, found in there.items()}


def names_in(source: Path) -> set[str]:
    """Attributes that a Python file uses, and names that it looks up with `getattr` or `hasattr`."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            found |= {
                each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
    return found


if __name__ == "__main__":
    loaded = importlib.import_module(sys.argv[1])
    print(json.dumps({f"{sys.argv[1]} {loaded.__version__}": list_names(loaded)}, indent=1))
