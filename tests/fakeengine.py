"""Stand-ins for TensorRT's library and NVIDIA's driver, for libfxsr: engines that run ONNX Runtime on "a GPU" whose
memory is host memory."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import onnx

from fxsr.files import sha256
from fxsr.models.manifest import (
    METADATA_KEY,
    BuildOptions,
    EngineFacts,
    FileFacts,
    Flavour,
    Manifest,
    Profile,
    ShapeRange,
    decode_facts,
    write_manifest,
)
from tests.native import PROGRAMS, SOURCES, build_native, onnxruntime_library

FAKES = PROGRAMS / "faketrt"
GPU = "Fake GPU"
Range = tuple[int, int]


@dataclass(frozen=True)
class FakeKind:
    """A library that is stood in for."""

    flavour: Flavour
    version: str
    headers: Path
    option: str
    """CMake's option for its headers."""
    library: str
    target: str
    """CMake's target for the part of libfxsr that is compiled from the headers."""


KINDS = {
    "10": FakeKind("tensorrt", "10.6.0.post1", FAKES, "TENSORRT_INCLUDE", "libnvinfer.so.10", "fxsr_trt"),
    "11": FakeKind("tensorrt", "11.2.1", FAKES / "eleven", "TENSORRT_INCLUDE", "libnvinfer.so.11", "fxsr_trt"),
    "rtx": FakeKind(
        "tensorrt-rtx",
        "1.7.1.116",
        FAKES / "rtx",
        "TENSORRT_RTX_INCLUDE",
        "libtensorrt_rtx.so.1",
        "fxsr_trt_rtx",
    ),
}


def build_fakes(kind: FakeKind, built: Path, folder: Path) -> dict[str, str]:
    """Put libfxsr, its part for this kind, and the stand-ins into a folder.

    Args:
        kind: what is stood in for.
        built: build folder of libfxsr.
        folder: where to put them.

    Returns:
        The environment in which libfxsr finds the stand-ins.
    """
    part = build_native(SOURCES, kind.target, FXSR_BUILD_EXAMPLES="OFF", **{kind.option: str(kind.headers)})
    for file in (built / "libfxsr.so", part / f"lib{kind.target}.so.1"):
        (folder / file.name).symlink_to(file)
    driver, library = folder / "libcuda.so.1", folder / kind.library
    shared = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *shared, PROGRAMS / "fakecuda.c", "-Wl,-soname,libcuda.so.1", "-o", driver], check=True)
    includes = [kind.headers, SOURCES / "src" / "trt" / "cuda", SOURCES / "third_party" / "onnxruntime"]
    options = ["-std=c++17", *shared, *(f"-isystem{each}" for each in includes)]
    subprocess.run(["c++", *options, FAKES / "fakenvinfer.cpp", driver, "-o", library, "-ldl"], check=True)
    found = {"LD_LIBRARY_PATH": str(folder), "FXSR_TENSORRT": "", "FXSR_TRT": ""}
    return found | {"FXSR_ONNXRUNTIME": str(onnxruntime_library())}


def write_engine(
    graph: Path,
    engine: Path,
    kind: FakeKind,
    *,
    batch: Range = (1, 3),
    side: Range = (16, 32),
    failure: str = "-",
    strip_weights: bool = False,
) -> None:
    """A stand-in for an engine of an ONNX file, and its manifest.

    Args:
        graph: the ONNX file.
        engine: the file to write; its manifest is written next to it.
        kind: what it is for.
        batch, side: the smallest and the largest that it takes.
        failure: what the library logs when a run fails. "-": runs succeed.
        strip_weights: what the manifest says.
    """
    (entry,) = onnx.load(graph, load_external_data=False).metadata_props
    assert entry.key == METADATA_KEY
    facts = decode_facts(entry.value, str(graph))
    profiles = []
    for name in ("map", "uniform") if len(facts.inputs) == 2 else ("image",):
        ranges = {}
        for tensor in facts.inputs:
            low, high = (
                tuple(
                    (batch if axis == "N" else sides)[end] if axis != "C" else int(tensor.shape[place])
                    for place, axis in enumerate(tensor.layout)
                )
                for end in (0, 1)
                for sides in [(1, 1) if (tensor.name, name) == ("t_map", "uniform") else side]
            )
            ranges[tensor.name] = ShapeRange(low, high, high)
        profiles.append(Profile(name, ranges))
    words = ["fake", len(profiles)]
    for profile in profiles:
        words += [len(profile.inputs)]
        for tensor_name, sizes in profile.inputs.items():
            words += [tensor_name, *sizes.min, *sizes.max]
    engine.write_bytes(" ".join(map(str, [*words, failure])).encode() + b"\n" + graph.read_bytes())
    tensors = {tensor.name: tensor.dtype for tensor in (*facts.inputs, *facts.outputs)}
    described = FileFacts(engine.name, sha256(engine), engine.stat().st_size)
    made = EngineFacts(
        described,
        kind.flavour,
        kind.version,
        tuple(profiles),
        tensors,
        BuildOptions(strip_weights=strip_weights),
        onnx_sha256="",
        gpu=GPU,
    )
    manifest = Manifest(facts, FileFacts(graph.name, sha256(graph), graph.stat().st_size), engines=(made,))
    write_manifest(engine.with_name(engine.name.partition(".")[0] + ".json"), manifest)
