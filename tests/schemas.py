"""JSON Schemas, in `docs/`, of what fxsr writes. `python -m tests.schemas` renews them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec

from fxsr.benchmarks.gpu.report import GpuReport
from fxsr.benchmarks.speed.report import BenchReport
from fxsr.models.manifest import Manifest

DOCS = Path(__file__).parent.parent / "docs"
KINDS: dict[str, type] = {
    "bench.schema.json": BenchReport,
    "gpu-report.schema.json": GpuReport,
    "manifest.schema.json": Manifest,
}


def schema_of(kind: type) -> bytes:
    """The schema of a dataclass that is written as JSON."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def check_schema(name: str, document: Any) -> None:
    """Fail unless a document is as one of the schemas in `docs/` says."""
    jsonschema.Draft202012Validator(json.loads((DOCS / name).read_bytes())).validate(document)


if __name__ == "__main__":
    for name, kind in KINDS.items():
        (DOCS / name).write_bytes(schema_of(kind))
