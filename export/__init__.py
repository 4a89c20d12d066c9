"""From a checkpoint to files that deploy: ONNX graph with its exact rewrites, engines, verification, manifest."""

from fxsr.export.engine.request import EngineRequest
from fxsr.export.exporter import ExportResult, export_model, write_onnx
from fxsr.export.request import ExportRequest

__all__ = ["EngineRequest", "ExportRequest", "ExportResult", "export_model", "write_onnx"]
