"""Turns a checkpoint into files for deployment: an ONNX graph with exact rewrites, engines, verification, a
manifest."""

from fxsr.export.engine.request import EngineRequest
from fxsr.export.exporter import ExportResult, export_model, write_onnx
from fxsr.export.request import ExportRequest

__all__ = ["EngineRequest", "ExportRequest", "ExportResult", "export_model", "write_onnx"]
