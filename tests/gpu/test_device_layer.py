"""The device layer on a real GPU without any engine library, with two kernels that CuPy compiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fxsr.errors import DeviceError, FxsrError, UnavailableError, UsageError
from fxsr.runtime.device.open import open_device
from fxsr.runtime.device.protocols import Stream
from fxsr.runtime.machine.gpu import find_gpus
from tests.devicelayer import DeviceLayer, DeviceLayerTests, Launch, device_layer, inputs, is_right
from tests.requirements import import_or_skip, missing

SOURCE = r"""
extern "C" __global__ void darken(const float* lr, float* scratch, int count) {
    long long begin = clock64();
    while (clock64() - begin < 200000) {}
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        scratch[i] = lr[i] * 0.5f;
}
extern "C" __global__ void enlarge(
    const float* scratch, const float* t, float* sr, int n, int h, int w, int th, int tw) {
    int count = n * 3 * 16 * h * w;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        int x = i % (4 * w) / 4, y = i / (4 * w) % (4 * h) / 4, plane = i / (16 * h * w);
        float style = t[(plane / 3 * th + (th > 1 ? y : 0)) * tw + (tw > 1 ? x : 0)];
        sr[i] = scratch[(plane * h + y) * w + x] + style;
    }
}
"""


class CupyKernels:
    """The two kernels, compiled for this GPU."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        module = cupy.RawModule(code=SOURCE)
        self._darken, self._enlarge = map(module.get_function, ("darken", "enlarge"))

    def launch(self, launch: Launch, stream: Stream) -> None:
        size = [np.int32(each) for each in (launch.n, launch.h, launch.w, launch.th, launch.tw)]
        count = np.int32(launch.n * 3 * launch.h * launch.w)
        with self._cupy.cuda.ExternalStream(stream.handle):
            self._darken((64,), (256,), (launch.lr, launch.scratch, count))
            self._enlarge((256,), (256,), (launch.scratch, launch.t_map, launch.sr, *size))


@pytest.fixture
def layer() -> Iterator[DeviceLayer]:
    try:
        memory = open_device(0)
    except UnavailableError as error:
        missing("cuda", str(error))
    cupy = import_or_skip("cupy", "cupy")
    with memory.current():
        kernels = CupyKernels(cupy)
    opened = device_layer(memory, kernels)
    yield opened
    opened.session.close()


class TestOnGpu(DeviceLayerTests):
    def test_the_driver_and_cuda_report_the_same_gpu(self, layer: DeviceLayer) -> None:
        assert find_gpus()[0].has_address(layer.memory.pci)

    def test_timed_parts_fit_into_the_total(self, layer: DeviceLayer) -> None:
        given = inputs(256, 256, style_map=True)
        last = [layer.session.measure(*given) for _ in range(12)][-1]
        assert 0 < last.compute < last.total
        assert (last.host_to_device or 0) + last.compute + (last.device_to_host or 0) <= last.total * 1.2

    def test_arrays_of_torch_on_its_streams(self, layer: DeviceLayer, gpu_torch: Any) -> None:
        lr, t_map = inputs(64, 64, style_map=True)
        source = gpu_torch.from_numpy(lr).cuda()
        image, style = gpu_torch.zeros_like(source), gpu_torch.from_numpy(t_map).cuda()
        out = gpu_torch.zeros((1, 3, 256, 256), device="cuda")
        gpu_torch.cuda.synchronize()
        theirs, ours = gpu_torch.cuda.Stream(), gpu_torch.cuda.Stream()
        with gpu_torch.cuda.stream(theirs):  # still being written when it is handed over
            gpu_torch.cuda._sleep(100_000_000)
            image.copy_(source)
            layer.session.run_device(image, style, out, stream=ours)
        ours.synchronize()
        assert is_right(out.cpu().numpy(), lr, t_map)
        out.zero_()
        layer.session.run_device(image, style, out)  # on the default stream
        gpu_torch.cuda.synchronize()
        assert is_right(out.cpu().numpy(), lr, t_map)

    def test_arrays_of_torch_that_are_refused(self, layer: DeviceLayer, gpu_torch: Any) -> None:
        lr, t_map = (gpu_torch.from_numpy(each).cuda() for each in inputs(64, 64, style_map=True))
        out = gpu_torch.zeros((1, 3, 256, 256), device="cuda")
        with pytest.raises(UsageError):
            layer.session.run_device(lr.flip(3)[..., ::2], t_map, out)
        with pytest.raises(DeviceError):
            layer.session.run_device(lr.cpu(), t_map, out)
        with pytest.raises(UsageError):
            layer.session.run_device(lr.double(), t_map, out)

    def test_arrays_of_cupy_on_their_stream(self, layer: DeviceLayer) -> None:
        cupy = import_or_skip("cupy", "cupy")
        lr, t_map = inputs(64, 48)
        out = cupy.zeros((1, 3, 256, 192), cupy.float32)
        image, style = cupy.asarray(lr), cupy.asarray(t_map)
        cupy.cuda.get_current_stream().synchronize()
        with cupy.cuda.Stream(non_blocking=True) as stream:
            layer.session.run_device(image, style, out, stream=stream)
            stream.synchronize()
        assert is_right(out.get(), lr, t_map)

    def test_work_that_cannot_be_captured_leaves_the_stream_usable(self, layer: DeviceLayer) -> None:
        memory = layer.memory

        def refuse(stream: Stream) -> None:
            raise FxsrError("refused")

        with memory.current():
            stream = memory.stream()
            assert memory.capture(refuse, stream) is None
            assert memory.capture(lambda each: each.sync(), stream) is None  # no waiting while a stream is captured
            stream.sync()
            block = memory.alloc(1 << 20)
            try:
                memory.copy(block, block, 1 << 19, stream)
                stream.sync()
            finally:
                memory.free(block)
