"""From a checkpoint to files that deploy: the ONNX graph with its exact rewrites, verification, the manifest."""

from fxsr.export.exporter import Exported, export_model, write_onnx

__all__ = ["Exported", "export_model", "write_onnx"]
