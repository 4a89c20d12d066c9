"""Small detection networks whose ONNX files come inside other packages; ONNX Runtime runs them on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import MissingExtraError, UnavailableError, first_line, install_line
from fxsr.extras import needs

Network = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""Takes the batch that the network's only input takes, and returns all its outputs."""


def open_network(package: str, pattern: str, extra: str) -> Network:
    """Open a network that lies in an installed package. The package itself is not imported.

    Args:
        package: its import name.
        pattern: where the ONNX file lies in the package's folder; of several matches, the first by name is used.
        extra: the extra of FxSR that installs the package.

    Raises:
        MissingExtraError: the package, or onnxruntime, is not installed.
        UnavailableError: the installed version holds no such file, or a damaged one.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(package, extra)
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(folder.glob(pattern))
    if not files:
        raise UnavailableError(
            f"the package {package} holds no {pattern}; {install_line(extra)} installs one that does"
        )
    with needs("cpu"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session: Any = onnxruntime.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common type
        raise UnavailableError(f"{files[0]} can't be opened ({first_line(error)}); install {package} again") from error
    (entrance,) = session.get_inputs()

    def run(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = session.run(None, {entrance.name: np.ascontiguousarray(batch)})
        return outputs

    return run


def is_installed(package: str) -> bool:
    """Whether `open_network` would find the package."""
    return find_spec(package) is not None
