"""Opens a GPU through cuda-python, or through the library that the environment variable FXSR_CUDA names."""

from __future__ import annotations

import os

from fxsr.errors import UsageError
from fxsr.runtime.device.cuda import CudaMemory
from fxsr.runtime.device.protocols import CUDA_LIBRARIES, DeviceMemory
from fxsr.runtime.device.pycuda import PycudaMemory


def open_device(index: int) -> DeviceMemory:
    """Open GPU number `index`.

    Raises:
        UsageError: FXSR_CUDA names neither "cuda-python" nor "pycuda".
        MissingExtraError: the library is not installed.
        DeviceError: there is no such GPU, or no driver.
    """
    provider = os.environ.get("FXSR_CUDA", CUDA_LIBRARIES[0])
    if provider == "cuda-python":
        return CudaMemory(index)
    if provider == "pycuda":
        return PycudaMemory(index)
    raise UsageError(f"FXSR_CUDA is {provider!r}; it must be {' or '.join(CUDA_LIBRARIES)}")
