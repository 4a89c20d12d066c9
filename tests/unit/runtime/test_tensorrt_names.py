"""The names that this package asks of TensorRT's Python modules, which have no type hints and are rarely installed.

`tests/golden/tensorrt-names.json` lists what versions of the modules have, of the classes that are used here;
`python -m tests.tensorrt_names MODULE` prints it for an installed module.
"""

from __future__ import annotations

import importlib
import json

import pytest

from tests.support import GOLDEN
from tests.tensorrt_names import ASKED, SOURCES, list_names, names_in

LISTED: dict[str, dict[str, list[str]]] = json.loads((GOLDEN / "tensorrt-names.json").read_text())
LOOKED_UP = {
    "tensorrt 10.6.0.post1": {
        "ICudaEngine.create_runtime_config",
        "PreviewFeature.RUNTIME_ACTIVATION_RESIZE_10_10",
    },
    "tensorrt_rtx 1.7.1.116": set[str](),
}
"""Names that a version lacks: the code looks whether they are there."""
RTX_ONLY = {
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "IExecutionContext.is_stream_capturable",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    "IRuntimeConfig.set_execution_context_allocation_strategy",
    "IRuntimeConfig.set_runtime_cache",
    "IRuntimeCache.deserialize",
    "IRuntimeCache.serialize",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "Runtime.engine_header_size",
    "Runtime.get_engine_validity",
}
"""Names that are asked of TensorRT-RTX alone, or of what `ICudaEngine.create_runtime_config` returned."""


@pytest.mark.parametrize("version", LISTED)
def test_every_version_has_the_names_that_are_asked(version: str) -> None:
    there = {f"{kind}.{name}" for kind, names in LISTED[version].items() for name in names}
    excused = LOOKED_UP[version] | (set() if version.startswith("tensorrt_rtx") else RTX_ONLY)
    assert ASKED - there <= excused
    assert LOOKED_UP[version].isdisjoint(there)


def test_the_asked_names_are_those_in_the_source() -> None:
    """A name of TensorRT that the code begins to use must be added to `ASKED`, and is then checked for all versions."""
    members = {name for listed in LISTED.values() for names in listed.values() for name in names}
    known = {name.partition(".")[2] for name in ASKED}
    assert {name for source in SOURCES for name in names_in(source) & members} == known


@pytest.mark.parametrize("version", LISTED)
def test_the_list_is_that_of_the_installed_module(version: str) -> None:
    module, _, number = version.partition(" ")
    try:
        installed = importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} can't be imported: {error}")
    if installed.__version__ != number:
        pytest.skip(f"{module} {installed.__version__} is installed")
    assert list_names(installed) == LISTED[version]
