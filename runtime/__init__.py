"""Running models: sessions (ONNX Runtime, TensorRT, torch), tiles and blending, the upscaler, jobs over files.

Needs no torch and never imports `fxsr.export` or `fxsr.training`: a deployment installs numpy, an inference engine and
an image library, nothing more.
"""

from fxsr.runtime.open import open_session
from fxsr.runtime.session import Device, Session, SessionInfo
from fxsr.runtime.upscale.upscaler import Upscaler, load

__all__ = ["Device", "Session", "SessionInfo", "Upscaler", "load", "open_session"]
