"""From a checkpoint to files that deploy: ONNX graph with its exact rewrites, engines, verification, manifest."""

from fxsr.export.exporter import Exported, export_model, write_onnx
from fxsr.export.request import EngineRequest, ExportRequest

__all__ = ["EngineRequest", "ExportRequest", "Exported", "export_model", "write_onnx"]
