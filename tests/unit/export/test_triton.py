"""Model repositories against Triton's own schema, and against the files that they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from fxsr.errors import FxsrError
from fxsr.export import ExportRequest, export_model
from fxsr.export.engine.profiles import engine_profiles, parse_tiles
from fxsr.export.engine.triton import configure, to_text, write_repository
from fxsr.export.exporter import ExportResult
from fxsr.export.graph.graph import GraphOptions
from fxsr.models.checkpoint import save_checkpoint
from fxsr.models.manifest import BuildOptions, EngineFacts, FileFacts
from tests.support import TINY, golden_checkpoint

FORMS = {
    "fp32": GraphOptions(),
    "fp16": GraphOptions("fp16"),
    "bf16": GraphOptions("bf16"),
    "bytes": GraphOptions(io="uint8"),
    "packed": GraphOptions(packed=True),
    "baked": GraphOptions(baked_t=0.5),
}


def export(folder: Path, options: GraphOptions) -> ExportResult:
    checkpoint = folder / "tiny.safetensors"
    save_checkpoint(checkpoint, golden_checkpoint(TINY, 3))
    return export_model(ExportRequest(checkpoint, folder / "engines", options, check=False))


def parse(text: str) -> Any:
    return text_format.Parse(text, schema.ModelConfig())


@pytest.mark.parametrize("form", FORMS)
def test_a_repository_says_what_its_graph_takes(tmp_path: Path, form: str) -> None:
    exported = export(tmp_path, FORMS[form])
    folder = write_repository(exported.manifest, exported.onnx.parent, tmp_path / "repository")
    config = parse((folder / "config.pbtxt").read_text())
    assert config.name == folder.name == exported.onnx.stem
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    assert (folder / "1" / "model.onnx").read_bytes() == exported.onnx.read_bytes()
    if form == "bf16":  # ONNX Runtime's CPU can't load it
        return
    graph = ort.InferenceSession(folder / "1" / "model.onnx")
    for ours, theirs in ((config.input, graph.get_inputs()), (config.output, graph.get_outputs())):
        assert [(each.name, list(each.dims)) for each in ours] == [
            (each.name, [size if isinstance(size, int) else -1 for size in each.shape[1:]]) for each in theirs
        ]
        names = {"tensor(float)": "TYPE_FP32", "tensor(float16)": "TYPE_FP16", "tensor(uint8)": "TYPE_UINT8"}
        assert [schema.DataType.Name(each.data_type) for each in ours] == [names[each.type] for each in theirs]
    for warm_up in config.model_warmup:  # what Triton would run
        dtypes = {"TYPE_FP32": np.float32, "TYPE_FP16": np.float16, "TYPE_UINT8": np.uint8}
        given = {
            name: np.zeros((warm_up.batch_size, *tensor.dims), dtypes[schema.DataType.Name(tensor.data_type)])
            for name, tensor in warm_up.inputs.items()
        }
        graph.run(None, given)
    assert len(config.model_warmup) == len(graph.get_inputs())


@pytest.mark.parametrize("batch", ["1", "1,2,4"])
def test_an_engine_brings_its_profiles_and_its_batch(tmp_path: Path, batch: str) -> None:
    exported = export(tmp_path, FORMS["fp16"])
    model = exported.manifest.model
    profiles = engine_profiles(model, parse_tiles(96, None, batch))
    engine = EngineFacts(FileFacts("x.plan", "", 1), "tensorrt", "10.9", profiles, {}, BuildOptions(), "")
    config = parse(to_text(configure(model, "x", engine)))
    assert config.platform == "tensorrt_plan"
    assert config.max_batch_size == int(batch[-1])
    assert config.HasField("dynamic_batching") is (batch != "1")
    (group,) = config.instance_group
    assert list(group.profile) == ["0", "1"]
    assert {name: [*tensor.dims] for name, tensor in config.model_warmup[1].inputs.items()} == {
        "lr": [3, 96, 96],
        "t_map": [1, 1, 1],
    }
    (exported.onnx.parent / "x.plan").write_bytes(b"engine")
    manifest = replace(exported.manifest, engines=(engine,))
    folder = write_repository(manifest, exported.onnx.parent, tmp_path / "r", Path("x.plan"))
    assert (folder / "1" / "model.plan").read_bytes() == b"engine"
    rtx = replace(manifest, engines=(replace(engine, flavour="tensorrt-rtx"),))
    write_repository(rtx, exported.onnx.parent, tmp_path / "r", Path("x.plan"))
    assert [path.name for path in (folder / "1").iterdir()] == ["model.onnx"]  # replaced, and nothing else is left
    assert [path.name for path in (tmp_path / "r").iterdir()] == [folder.name]


def test_a_repository_that_cannot_be_written_keeps_what_was_there(tmp_path: Path) -> None:
    exported = export(tmp_path, FORMS["fp32"])
    folder = write_repository(exported.manifest, exported.onnx.parent, tmp_path / "r")
    before = (folder / "config.pbtxt").read_bytes()
    exported.onnx.unlink()
    with pytest.raises(FxsrError, match="cannot write"):
        write_repository(exported.manifest, exported.onnx.parent, tmp_path / "r")
    assert (folder / "config.pbtxt").read_bytes() == before
    assert [path.name for path in (tmp_path / "r").iterdir()] == [folder.name]
    (tmp_path / "file").write_text("")
    with pytest.raises(FxsrError, match="cannot write"):
        write_repository(exported.manifest, exported.onnx.parent, tmp_path / "file")
