from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fxsr.errors import ModelFileError
from fxsr.export.graph.graph import GraphOptions, model_facts
from fxsr.models.checkpoint import About
from fxsr.models.manifest import (
    Check,
    FileFacts,
    Manifest,
    Precision,
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


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.json: it can't be read"):
        read_manifest(tmp_path / "gone.json")
