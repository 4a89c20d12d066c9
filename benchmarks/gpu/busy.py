"""How busy a GPU is while something runs: samples of the driver's own counters."""

from __future__ import annotations

import importlib
import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fxsr.errors import UnavailableError

_INTERVAL_S = 0.1


@dataclass
class BusyShare:
    """What was sampled while the block ran; complete when it has ended."""

    percents: list[float] = field(default_factory=list)
    """Share of time with a kernel on the GPU, in percent, as the driver reports it for its last sampling period."""

    @property
    def mean(self) -> float | None:
        """Mean in percent. None: nothing was sampled."""
        return statistics.fmean(self.percents) if self.percents else None


@contextmanager
def watch_gpu(
    index: int, sample: Callable[[], float] | None = None, interval_s: float = _INTERVAL_S
) -> Iterator[BusyShare]:
    """Sample how busy GPU number `index` is while the block runs. `sample` replaces the driver, for tests.

    Raises:
        UnavailableError: neither the package nvidia-ml-py nor nvidia-smi can be used.
    """
    read = sample or _sampler(index)
    share = BusyShare()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(interval_s):
            share.percents.append(read())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield share
    finally:
        stop.set()
        thread.join()


def _sampler(index: int) -> Callable[[], float]:
    """A function that returns how busy the GPU is, in percent."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except ImportError:
        pass
    except Exception as error:  # NVMLError, which exists only if the import succeeded
        raise UnavailableError(f"the driver's management library can't be used ({error})") from error
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise UnavailableError("neither the package nvidia-ml-py nor nvidia-smi is here")
    command = [tool, "-i", str(index), "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
