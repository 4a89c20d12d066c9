"""Batches on a device, several under way at once: the real scheduling and session on a device of host memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fxsr.errors import DeviceError, FxsrError, ModelFileError, OutOfMemoryError, UsageError
from fxsr.export.graph.graph import GraphOptions
from fxsr.files import sha256
from fxsr.models.manifest import BuildOptions, FileFacts
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.backends.tensorrt.library import runtime_log
from fxsr.runtime.backends.tensorrt.session import load_engine
from fxsr.runtime.backends.tensorrt.undescribed import describe_engine
from fxsr.runtime.device.session import DeviceSession
from fxsr.runtime.session import Device
from fxsr.runtime.upscale.upscaler import Upscaler
from tests.hostdevice import HostMemory
from tests.rig import GPU, RNG, Batch, Rig, batch, make_rig

pytestmark = pytest.mark.usefixtures("cache_folder")


def upscale(session: DeviceSession, batches: list[Batch]) -> list[NDArray[Any]]:
    return [np.array(sr) for sr in session.stream(iter(batches))]


@pytest.mark.parametrize("restless", [False, True])
def test_many_batches_in_flight_give_what_each_gives_alone(restless: bool, tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory(restless=restless))
    batches = [batch(t=index % 3 % 2) for index in range(11)]
    with rig.session() as session:
        found = upscale(session, batches)
    for (lr, t_map), sr in zip(batches, found, strict=True):
        assert np.array_equal(sr, rig.expected(lr, t_map))


def test_shapes_and_batches_may_change_at_every_step(rig: Rig) -> None:
    sizes = [(8, 8, 1), (16, 9, 2), (12, 16, 1), (8, 8, 1), (16, 16, 2), (10, 10, 1), (11, 11, 1), (8, 8, 1)]
    batches = [batch(height, width, count, t=index % 2) for index, (height, width, count) in enumerate(sizes * 2)]
    with rig.session() as session:
        found = upscale(session, batches)
    for (lr, t_map), sr in zip(batches, found, strict=True):
        assert np.array_equal(sr, rig.expected(lr, t_map))


def test_a_closed_session_says_so(rig: Rig) -> None:
    with rig.session() as session:
        pass
    for use in (session.run, session.measure):
        with pytest.raises(UsageError, match="this session is closed; open the model again"):
            use(*batch())


def test_one_style_for_a_batch_that_is_fixed(tmp_path: Path) -> None:
    lr, t_map = batch(16, 16, 2, t=0)
    rig = Rig(tmp_path, GraphOptions(), "16x16,16x16,16x16", "2", HostMemory())
    with rig.session() as session:
        assert np.array_equal(session.run(lr, t_map[:1]), rig.expected(lr, t_map[:1]))
        assert session.measure(lr, t_map[:1]).total > 0


def test_scratch_memory_may_grow_to_all_that_there_is(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory())
    with rig.session() as session:
        session.run(*batch(16, 16))
        needed = rig.memory.used
    rig.memory.limit = needed + 1000
    with rig.session() as session:
        session.run(*batch(8, 8))
        lr, t_map = batch(16, 16)
        assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


def test_a_lost_device_is_closed_without_another_error(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: Any) -> None:
        raise DeviceError("the device is lost")

    session, closed = rig.session(), []
    session.run(*batch())
    for name in ("free", "copy"):
        monkeypatch.setattr(rig.memory, name, lost)
    monkeypatch.setattr(rig.memory, "close", lambda: closed.append("memory"))
    monkeypatch.setattr(session._engine, "close", lambda: closed.append("engine"))
    with pytest.raises(DeviceError, match="lost"), session:
        session.run(*batch())
    assert closed == ["engine", "memory"]


def test_several_batches_are_asked_for_before_the_first_result(rig: Rig) -> None:
    asked: list[int] = []

    def batches() -> Iterator[Batch]:
        for index in range(6):
            asked.append(index)
            yield batch()

    with rig.session() as session:
        results = session.stream(batches())
        next(results)
        assert len(asked) == 4  # three under way, and the one that takes the place of the first


def test_a_result_is_not_touched_while_the_next_ones_run(rig: Rig) -> None:
    with rig.session() as session:
        results = session.stream([batch() for _ in range(5)])
        first = next(results)
        before = first.copy()
        for stream in rig.memory.streams.values():
            stream.sync()
        assert np.array_equal(first, before)


def test_results_that_are_still_to_be_taken_are_not_written_over(rig: Rig) -> None:
    with rig.session() as session:
        results = session.stream([batch() for _ in range(5)])
        next(results)
        session.run(*batch())  # there is one slot that is free
        with pytest.raises(UsageError, match="results that were not taken"):
            session.run(*batch())


def test_work_is_recorded_as_a_graph_after_it_ran_once(rig: Rig) -> None:
    with rig.session() as session:
        upscale(session, [batch()] * 3)
        assert rig.memory.captured == 0
        upscale(session, [batch()] * 9)
        assert rig.memory.captured == 3  # one for each slot
        lr, t_map = batch()
        assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))
        assert rig.memory.captured == 3


def test_where_nothing_can_be_recorded_it_runs_all_the_same(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory(graphs=False))
    lr, t_map = batch()
    with rig.session() as session:
        found = upscale(session, [(lr, t_map)] * 7)
    assert all(np.array_equal(sr, rig.expected(lr, t_map)) for sr in found)


@pytest.mark.parametrize(
    "options",
    [{"precision": "fp16"}, {"io": "uint8"}, {"packed": True}, {"baked_t": 0.5}, {"io": "uint8", "packed": True}],
)
def test_every_form_of_graph(options: dict[str, Any], tmp_path: Path) -> None:
    rig = make_rig(tmp_path, **options)
    with rig.session() as session:
        dtype = session.info.dtype
        for t in (0, 1):
            lr, t_map = batch(t=t, dtype=dtype)
            assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


def test_everything_is_freed_and_the_kernels_are_kept(rig: Rig, cache_folder: Path) -> None:
    for _ in range(2):
        rig.memory.closed = False
        with rig.session() as session:
            session.run(*batch())
            assert session.device_memory() > 5
        assert rig.memory.closed  # it checks that nothing is left
        assert rig.memory.used == 0
    (file,) = cache_folder.iterdir()
    assert file.read_bytes() == b"kernels;kernels;"
    assert GPU.name.replace(" ", "-") in file.name


def test_kernels_are_kept_while_the_session_runs(rig: Rig, cache_folder: Path) -> None:
    with rig.session() as session:
        session.run(*batch())
        (file,) = cache_folder.iterdir()
        file.unlink()
        session.run(*batch())  # the same shape compiles nothing
        assert not file.exists()
        session.run(*batch(8, 8))
        assert file.exists()


def test_kernels_that_cannot_be_kept_keep_nothing_else_from_being_freed(rig: Rig, cache_folder: Path) -> None:
    with rig.session() as session:
        rig.trt.cache = None
        session.run(*batch())
    assert rig.memory.closed
    assert not cache_folder.exists()


def test_an_engine_without_weights_gets_those_of_its_graph(rig: Rig) -> None:
    onnx = rig.path.with_name("x.onnx")
    onnx.write_bytes(rig.path.read_bytes())
    graph = FileFacts(onnx.name, sha256(onnx), onnx.stat().st_size)
    built = replace(rig.file.facts, options=BuildOptions(strip_weights=True))
    rig.file = replace(rig.file, manifest=replace(rig.file.manifest, onnx=graph), facts=built)
    with rig.session():
        assert rig.trt.refitted == [str(onnx)]
    onnx.unlink()
    with pytest.raises(ModelFileError, match=r"holds no weights, and x\.onnx, which does, is missing or has changed"):
        rig.session()


def test_a_loop_that_is_left_early_leaves_the_session_usable(rig: Rig) -> None:
    with rig.session() as session:
        for _ in session.stream([batch()] * 6):
            break
        lr, t_map = batch()
        assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


def test_too_little_memory_is_named_and_smaller_batches_still_run(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory(limit=400_000))
    with rig.session() as session:
        small = batch(8, 8)
        session.run(*small)
        with pytest.raises(OutOfMemoryError):
            session.run(*batch(16, 16, 2))
        assert np.array_equal(session.run(*small), rig.expected(*small))


def test_idle_shapes_make_room_for_new_ones(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, HostMemory(limit=330_000))
    with rig.session() as session:
        for height, width in ((12, 12), (14, 14), (12, 16), (16, 12), (12, 12)):
            lr, t_map = batch(height, width)
            assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


def test_scratch_memory_that_has_to_grow_keeps_other_shapes_right(rig: Rig) -> None:
    small, large = batch(8, 8), batch(16, 16)
    with rig.session() as session:
        for lr, t_map in [small, small, small, large, small, large] * 2:
            assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


@pytest.mark.parametrize(
    ("height", "width", "count", "message"),
    [
        (32, 16, 1, "tile 32 exceeds 16: export again with --tile 32, or run with --tile 16"),
        (12, 12, 4, "a batch of 4 exceeds 2: export again with --batch 4"),
        (4, 12, 1, "a tile of 12x4 is less than 8"),
    ],
)
def test_what_no_profile_takes_is_named_with_the_cure(
    height: int, width: int, count: int, message: str, rig: Rig
) -> None:
    with rig.session() as session, pytest.raises(UsageError, match=message):
        session.run(*batch(height, width, count))


def test_a_failing_engine_is_named_with_its_reason_and_can_go_on(rig: Rig) -> None:
    with rig.session() as session:
        rig.trt.fail = "Cuda Runtime (an illegal instruction)"
        with pytest.raises(FxsrError, match="an illegal instruction"):
            session.run(*batch())
        rig.trt.fail = "Error Code 2: OutOfMemory (Requested size was 100)"
        with pytest.raises(OutOfMemoryError):
            session.run(*batch())
        rig.trt.fail = None
        lr, t_map = batch()
        assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


def test_a_file_that_the_library_refuses_is_named(rig: Rig) -> None:
    rig.path.write_bytes(b"junk")
    with pytest.raises(ModelFileError, match=r"x\.rtx\.plan: it can't be loaded \(.*kEXPECTED_MAGIC_TAG"):
        rig.session()


def test_an_engine_of_other_types_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, precision="fp16")
    inputs, outputs = (
        tuple(replace(tensor, dtype="float32") for tensor in side) for side in (rig.facts.inputs, rig.facts.outputs)
    )
    model = replace(rig.facts, inputs=inputs, outputs=outputs)
    rig.file = replace(rig.file, manifest=replace(rig.file.manifest, model=model))
    with pytest.raises(ModelFileError, match="lr is float16, not float32"):
        rig.session()


@pytest.mark.parametrize("options", [{"precision": "fp16"}, {"io": "uint8"}, {"packed": True}])
def test_an_engine_without_manifest_describes_itself(options: dict[str, Any], tmp_path: Path) -> None:
    rig = make_rig(tmp_path, **options)
    found = describe_engine(rig.trt, load_engine(rig.trt, runtime_log(rig.trt), rig.path), rig.path)
    model = found.manifest.model
    assert (model.scale, model.io, model.packed, model.dtype) == (4, rig.facts.io, rig.facts.packed, rig.facts.dtype)
    assert [each.layout for each in model.inputs] == [each.layout for each in rig.facts.inputs]
    assert [each.inputs for each in found.facts.profiles] == [each.inputs for each in rig.file.facts.profiles]
    rig.file = found
    lr, t_map = batch(dtype=np.float16 if "precision" in options else np.float32)
    with rig.session() as session:
        assert np.array_equal(session.run(lr, t_map), rig.expected(lr, t_map))


def test_one_batch_is_timed_piece_by_piece(rig: Rig) -> None:
    with rig.session() as session:
        timing = session.measure(*batch())
        assert timing.compute == timing.host_to_device == timing.device_to_host == 0.001
        assert timing.total > 0
        assert timing.enqueue is not None


def test_layers_are_timed(rig: Rig) -> None:
    with rig.session() as session:
        upscale(session, [batch()] * 3)
        for _ in range(2):
            assert session.profile_layers(*batch()) == [("conv_first", 0.002)]
        upscale(session, [batch()] * 3)
        profiled = [context for context in rig.trt.contexts if context.profiler]
        assert [len(context.profiler.times) for context in profiled] == [1, 1]  # nothing else ran in them


@pytest.mark.parametrize("options", [{}, {"io": "uint8"}, {"packed": True}])
def test_images_of_any_size_on_an_engine_of_one(options: dict[str, Any], tmp_path: Path) -> None:
    rig = Rig(tmp_path, GraphOptions(**options), "24x24,24x24,24x24", "2", HostMemory(restless=True))
    image = RNG.random((40, 70, 3), np.float32)
    t_map = np.zeros((40, 70))
    t_map[:, 45:] = RNG.random((40, 25))
    rig.expected(*batch(24, 24, 2))  # writes the graph
    with Upscaler(rig.session(), overlap=8) as up, OrtSession(tmp_path / "x.rtx.onnx", Device("cpu")) as onnx:
        found, expected = up(image, t_map), Upscaler(onnx, 24, 8)(image, t_map)
    assert np.abs(found - expected).max() < 1e-5
