"""What can be timed: a model file in the form that it runs in, and how it gets into that form and is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from fxsr.errors import UnavailableError
from fxsr.models.file import ModelFile, ModelFileKind, find_model
from fxsr.runtime.machine.cpus import available_cpus
from fxsr.runtime.open import open_session
from fxsr.runtime.session import Device, Session

Form = Literal["torch", "torch-fp16", "torch-compile", "torch-compile-fp16", "onnx", "openvino", "plan"]

_FORMS: dict[ModelFileKind, Form] = {
    ModelFileKind.ONNX: "onnx",
    ModelFileKind.ENGINE: "plan",
    ModelFileKind.CHECKPOINT: "torch",
}
"""The form in which a file runs as it is."""
_SOURCES: dict[Form, ModelFileKind] = {
    "onnx": ModelFileKind.ONNX,
    "openvino": ModelFileKind.ONNX,
    "plan": ModelFileKind.ENGINE,
}
"""What a form runs apart from checkpoints, which are exported for it."""


@dataclass(frozen=True)
class Subject:
    """One model in one form."""

    label: str
    """What it is called in reports."""
    file: ModelFile
    form: Form
    full_map: bool = False
    """Give it one style as a full map too."""


def parse_subject(text: str) -> Subject:
    """From `PATH_OR_NAME`, which runs as the file is, or `FORM:PATH_OR_NAME`.

    Raises:
        UsageError: no such file, or one that the form can't be made of.
    """
    prefix, colon, rest = text.partition(":")
    form: Form | None = next((form for form in get_args(Form) if colon and form == prefix), None)
    if form is None:
        file = find_model(text, *_FORMS)
        return Subject(text, file, _FORMS[file.kind])
    source = _SOURCES.get(form)
    file = find_model(rest, *([source] if source else []), ModelFileKind.CHECKPOINT)
    return Subject(text, file, form)


def make_file(subject: Subject, folder: Path, sizes: Sequence[tuple[int, int]], batch: int) -> Subject:
    """Export a checkpoint to the file that its form runs; an engine in half precision. Other subjects stay as they are.

    Args:
        subject: what is to run.
        folder: where to export to.
        sizes: heights and widths that an engine must take; none: the default tile.
        batch: that it must take.

    Raises:
        UnavailableError: the engine could not run here.
        MissingExtraError: a package for exporting is not installed.
        FxsrError: the export failed.
    """
    if subject.form.startswith("torch") or subject.file.kind is not ModelFileKind.CHECKPOINT:
        return subject
    from fxsr.export import EngineRequest, ExportRequest, export_model
    from fxsr.export.engine.engine import choose_flavour, why_none
    from fxsr.export.engine.profiles import Tiles
    from fxsr.export.graph.graph import GraphOptions
    from fxsr.runtime.machine.gpu import find_gpus

    checkpoint = subject.file.path
    if subject.form != "plan":
        onnx = export_model(ExportRequest(checkpoint, folder, check=False)).onnx
        return replace(subject, file=ModelFile(onnx, ModelFileKind.ONNX))
    if not find_gpus():
        raise UnavailableError("an engine needs an NVIDIA GPU, and there is none here")
    flavour = choose_flavour("auto")
    if flavour is None:
        raise UnavailableError(why_none())
    tiles = Tiles(batch=(batch,) * 3)
    if sizes:
        (small, large) = (tuple(map(pick, zip(*sizes, strict=True))) for pick in (min, max))
        tiles = Tiles(((small[0], small[1]), (large[0], large[1]), (large[0], large[1])), (batch,) * 3)
    request = ExportRequest(checkpoint, folder, GraphOptions("fp16"), EngineRequest(flavour, tiles), check=False)
    engine = export_model(request).engine
    assert engine is not None  # one was asked for
    return replace(subject, file=ModelFile(engine, ModelFileKind.ENGINE))


def open_subject(path: Path, form: Form, device: str, trust: bool = False) -> Session:
    """Open what `make_file` gave, in a process of its own: torch's number of threads is set there.

    Raises:
        FxsrError: as `open_session`.
    """
    if form == "openvino":
        from fxsr.benchmarks.speed.openvino_session import OpenVinoSession

        return OpenVinoSession(path)
    if not form.startswith("torch"):
        return open_session(path, device, trust=trust)
    from fxsr.models.checkpoint import load_checkpoint
    from fxsr.runtime.backends.torch import TorchSession

    session = TorchSession(
        load_checkpoint(path), Device.parse(device), half=form.endswith("fp16"), compiled="compile" in form
    )
    import torch

    torch.set_num_threads(available_cpus())
    return session
