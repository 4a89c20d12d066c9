from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fxsr.errors import ModelFileError
from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.models.checkpoint import About
from fxsr.models.manifest import (
    BuildOptions,
    Check,
    EngineFacts,
    FileFacts,
    Manifest,
    Precision,
    Profile,
    ShapeRange,
    Verification,
    decode_facts,
    encode_facts,
    model_stem,
    read_manifest,
    write_manifest,
)
from tests.support import TINY, golden_checkpoint

FACTS = model_facts(golden_checkpoint(TINY, 0), GraphOptions())
MANIFEST = Manifest(
    FACTS,
    FileFacts("golden-x4-fp32.onnx", "ab" * 32, 1234),
    Verification(False, "PSNR >= 50 dB", (Check("cat", False, None, 0.5, None),)),
)


def test_manifest_round_trip(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.json", MANIFEST)
    assert read_manifest(tmp_path / "m.json") == MANIFEST


def test_facts_round_trip() -> None:
    assert decode_facts(encode_facts(FACTS), "here") == FACTS


def test_facts_from_before_there_were_two_trunks_are_read() -> None:
    document = json.loads(encode_facts(FACTS))
    assert document["config"].pop("trunk") == "rrdb"
    assert decode_facts(json.dumps(document), "here") == FACTS


def test_an_impossible_config_is_refused_with_the_place() -> None:
    document = json.loads(encode_facts(FACTS))
    document["config"]["trunk"] = "rb"
    with pytest.raises(ModelFileError, match=r"here: not a manifest of fxsr \(gc is 4; it must be 0"):
        decode_facts(json.dumps(document), "here")


@pytest.mark.parametrize(
    ("name", "precision", "stem"),
    [
        ("fxsr-pd", "fp16", "fxsr-pd-x4-fp16"),
        ("fxsr-pd-x4-small", "fp32", "fxsr-pd-x4-small-fp32"),
        ("max4", "fp32", "max4-x4-fp32"),
    ],
)
def test_file_names_hold_the_scale_once(name: str, precision: Precision, stem: str) -> None:
    checkpoint = replace(golden_checkpoint(TINY, 0), about=About(name))
    assert model_stem(model_facts(checkpoint, GraphOptions(precision=precision))) == stem


def damaged(**changes: object) -> bytes:
    document = json.loads(encode_facts(FACTS))
    return json.dumps({"model": document, "onnx": {}, "schema": 1} | changes).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a manifest of fxsr"),
        (b"{", "not a manifest of fxsr"),
        (b"\xff\xfe", "not a manifest of fxsr"),
        (b"[]", "not a manifest of fxsr"),
        (damaged(), r"missing required field `file`"),
        (b'{"schema": 1, "model": {"x": ' + b"[" * 300_000 + b"]" * 300_000 + b"}}", "not a manifest of fxsr"),
        (damaged(model=3), r"\$\.model"),
        (damaged(schema=99), "written with schema 99, but this fxsr reads 1; export it again"),
    ],
)
def test_bad_manifests_are_refused_with_the_place(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(data)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_manifest(tmp_path / "m.json")
    assert str(tmp_path / "m.json") in str(caught.value)


def edited(change: Any) -> bytes:
    """A manifest with an engine, changed by `change`."""
    shapes = {"lr": ShapeRange(*((1, 3, 8, 8),) * 3), "t_map": ShapeRange(*((1, 1, 8, 8),) * 3)}
    engine = EngineFacts(
        FileFacts("a.plan", "", 1), "tensorrt", "10.6.0", (Profile("map", shapes),), {}, BuildOptions(), "ab"
    )
    document = msgspec.to_builtins(replace(MANIFEST, engines=(engine,)))
    change(document)
    return json.dumps(document).encode()


LIES = [
    (lambda d: d["onnx"].update(file="../elsewhere/a.onnx"), "must be the name of a file in the manifest's own folder"),
    (lambda d: d["onnx"].update(file="/etc/a.onnx"), "must be the name of a file"),
    (lambda d: d["onnx"].update(file=".."), "must be the name of a file"),
    (lambda d: d["onnx"].update(file="C:\\a.onnx"), "must be the name of a file"),
    (lambda d: d["engines"][0]["file"].update(file="x/a.plan"), "must be the name of a file"),
    (lambda d: d["engines"][0].update(profiles=[]), "an engine must have a profile"),
    (lambda d: d["engines"][0]["profiles"][0]["inputs"]["lr"].update(max=[1]), "four axes each"),
    (lambda d: d["engines"][0]["profiles"][0]["inputs"]["lr"].update(min=[1, 3, 9, 8]), "in ascending order"),
    (lambda d: d["engines"][0]["profiles"][0]["inputs"].pop("t_map"), "profiles of engines must be for lr, t_map"),
    (lambda d: d["model"].update(inputs=[]), "the graph must have the inputs lr, t_map"),
    (lambda d: d["model"].update(outputs=[]), "the output sr"),
    (lambda d: d["model"]["inputs"][0].update(layout="XYZ"), "lr has the layout 'XYZ'"),
    (lambda d: d["model"]["inputs"][0].update(dtype="float99"), "lr is of type 'float99'"),
    (lambda d: d["model"]["inputs"][0].update(dtype="float16"), "must be of one type"),
    (lambda d: d["model"]["inputs"][0].update(shape=["n", 7, "h", "w"]), "it is no tensor of fxsr"),
    (lambda d: d["model"].update(io="uint8"), "not those of io uint8"),
    (lambda d: d["model"].update(packed=True), "the inputs lr_t"),
    (lambda d: d["model"].update(baked_t=7, inputs=d["model"]["inputs"][:1]), "baked_t is 7"),
]


@pytest.mark.parametrize(("change", "message"), LIES)
def test_manifests_that_cannot_be_true_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(edited(lambda document: None))
    read_manifest(tmp_path / "m.json")
    (tmp_path / "m.json").write_bytes(edited(change))
    with pytest.raises(ModelFileError, match=message):
        read_manifest(tmp_path / "m.json")


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.json: it can't be read"):
        read_manifest(tmp_path / "gone.json")
