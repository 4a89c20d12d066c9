"""What docs/embedding.md shows for GStreamer, DeepStream and Triton fits the graphs that are exported for them."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from fxsr.export import write_onnx
from fxsr.export.engine.triton import configure, to_text
from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.runtime.backends.onnxruntime import OrtSession
from fxsr.runtime.session import CPU
from tests.support import ROOT, TINY, golden_checkpoint

CHECKPOINT = golden_checkpoint(TINY, 4)


def block(language: str) -> str:
    """The only block of that language."""
    text = (ROOT / "docs/embedding.md").read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_gstreamer_pipeline_has_the_shapes_of_a_packed_graph_and_alpha_is_the_style(tmp_path: Path) -> None:
    pipeline = block("gst")
    sides = {
        name: [int(side) for side in shape.split(":")] for name, shape in re.findall(r"\b(\w+)=([\d:]+:1)", pipeline)
    }
    caps = {name: int(value) for name, value in re.findall(r"\b(width|height)=(\d+)", pipeline)}
    assert sides["input"] == [4, caps["width"], caps["height"], 1]
    assert sides["output"] == [3, 4 * caps["width"], 4 * caps["height"], 1]
    packed, plain = tmp_path / "packed.onnx", tmp_path / "plain.onnx"
    write_onnx(CHECKPOINT, GraphOptions(packed=True, io="uint8"), packed)
    write_onnx(CHECKPOINT, GraphOptions(), plain)
    rgba = np.random.default_rng(1).integers(0, 256, sides["input"][::-1], np.uint8)  # NNStreamer counts from inside
    session = ort.InferenceSession(packed)
    (made,) = session.run(None, {session.get_inputs()[0].name: rgba})
    assert (made.shape, made.dtype) == (tuple(sides["output"][::-1]), np.uint8)
    with OrtSession(plain, CPU) as whole:
        lr, t_map = np.split(rgba.transpose(0, 3, 1, 2).astype(np.float32) / 255, [3], 1)
        expected = whole.run(lr, t_map)[0].transpose(1, 2, 0).clip(0, 1) * 255
    assert np.abs(made[0] - expected).max() <= 1.5


def test_the_deepstream_configuration_describes_a_baked_graph(tmp_path: Path) -> None:
    config = configparser.ConfigParser()
    config.read_string(block("ini"))
    settings = config["property"]
    assert float(settings["net-scale-factor"]) == pytest.approx(1 / 255, rel=1e-12)
    shape = [int(side) for side in settings["infer-dims"].split(";")]
    model = tmp_path / "baked.onnx"
    write_onnx(CHECKPOINT, GraphOptions(baked_t=0.8), model)
    session = ort.InferenceSession(model)
    (given,) = session.get_inputs()
    blob = settings["output-blob-names"]
    (made,) = session.run([blob], {given.name: np.zeros((int(settings["batch-size"]), *shape), np.float32)})
    assert made.shape == (1, 3, 4 * shape[1], 4 * shape[2])


def test_the_triton_configuration_is_what_an_export_writes() -> None:
    shown = text_format.Parse(block("pbtxt"), schema.ModelConfig())
    model = model_facts(CHECKPOINT, GraphOptions("fp16"))
    written = text_format.Parse(to_text(configure(model, shown.name, None)), schema.ModelConfig())
    for field, _ in shown.ListFields():
        assert getattr(shown, field.name) == getattr(written, field.name)
