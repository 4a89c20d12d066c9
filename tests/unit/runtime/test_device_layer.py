"""The tests of `tests/devicelayer.py` on a device of host memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fxsr.runtime.device.protocols import Stream
from tests.devicelayer import DeviceLayer, DeviceLayerTests, Launch, device_layer, expected
from tests.hostdevice import HostMemory


class HostKernels:
    """The two kernels in numpy, as work of a lazy stream."""

    def __init__(self, memory: HostMemory) -> None:
        self._memory = memory

    def launch(self, launch: Launch, stream: Stream) -> None:
        n, h, w = launch.n, launch.h, launch.w

        def darken() -> None:
            self._array(launch.scratch, n, 3, h, w)[:] = self._array(launch.lr, n, 3, h, w) * np.float32(0.5)

        def enlarge() -> None:
            style = self._array(launch.t_map, n, 1, launch.th, launch.tw)
            bright = self._array(launch.scratch, n, 3, h, w) * 2
            self._array(launch.sr, n, 3, 4 * h, 4 * w)[:] = expected(bright, style)

        self._memory.streams[stream.handle].give(darken)
        self._memory.streams[stream.handle].give(enlarge)

    def _array(self, address: int, *shape: int) -> Any:
        return self._memory.span(address, int(np.prod(shape)) * 4).view(np.float32).reshape(shape)


@pytest.fixture(params=[False, True], ids=["idle", "restless"])
def layer(request: pytest.FixtureRequest) -> Iterator[DeviceLayer]:
    memory = HostMemory(limit=4 << 30, restless=request.param)
    opened = device_layer(memory, HostKernels(memory))
    yield opened
    opened.session.close()


class TestOnHostMemory(DeviceLayerTests):
    pass
