"""The subjects of measurements: model files, the forms in which they run, and how they are exported and opened."""

from __future__ import annotations

from collections import Counter
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
"""The form in which a file of each kind runs as it is."""
_SOURCES: dict[Form, ModelFileKind] = {
    "onnx": ModelFileKind.ONNX,
    "openvino": ModelFileKind.ONNX,
    "plan": ModelFileKind.ENGINE,
}
"""The kind of file that runs in a form. Checkpoints are exported to that kind."""


@dataclass(frozen=True)
class Subject:
    """One model in one form."""

    label: str
    """Name in reports. No two subjects of a report share one."""
    file: ModelFile
    form: Form
    full_map: bool = False
    """Give it a single style as a full map."""


def parse_subjects(texts: Sequence[str]) -> list[Subject]:
    """Parse the models of one report. Repeated ones are numbered: "x.onnx", then "x.onnx (2)".

    Raises:
        UsageError: see `parse_subject`.
    """
    seen: Counter[str] = Counter()
    subjects = []
    for text in texts:
        subject = parse_subject(text)
        seen[text] += 1
        label = f"{subject.label} ({seen[text]})" if seen[text] > 1 else subject.label
        subjects.append(replace(subject, label=label))
    return subjects


def parse_subject(text: str) -> Subject:
    """Parse `PATH_OR_NAME`, which runs as the file is, or `FORM:PATH_OR_NAME`.

    Raises:
        UsageError: there is no such file, or it can't run in that form.
    """
    prefix, colon, rest = text.partition(":")
    form: Form | None = next((form for form in get_args(Form) if colon and form == prefix), None)
    if form is None:
        file = find_model(text, *_FORMS)
        return Subject(text, file, _FORMS[file.kind])
    source = _SOURCES.get(form)
    file = find_model(rest, *([source] if source else []), ModelFileKind.CHECKPOINT)
    return Subject(text, file, form)


def export_subject(subject: Subject, folder: Path, sizes: Sequence[tuple[int, int]], batch: int) -> Subject:
    """Export a checkpoint to the kind of file that its form needs; engines are in half precision. Other subjects are
    returned unchanged.

    Args:
        subject: the model, and the form to run it in.
        folder: the folder to export to.
        sizes: heights and widths that an engine must take. Empty: the default tile.
        batch: the batch that an engine must take.

    Raises:
        UnavailableError: an engine can't be built or run on this machine.
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
        raise UnavailableError("an engine needs an NVIDIA GPU, and this machine has none")
    flavour = choose_flavour("auto")
    if flavour is None:
        raise UnavailableError(why_none())
    tiles = Tiles(batch=(batch,) * 3)
    if sizes:
        (small, large) = (tuple(map(pick, zip(*sizes, strict=True))) for pick in (min, max))
        tiles = Tiles(((small[0], small[1]), (large[0], large[1]), (large[0], large[1])), (batch,) * 3)
    request = ExportRequest(checkpoint, folder, GraphOptions("fp16"), EngineRequest(flavour, tiles), check=False)
    engine = export_model(request).engine
    assert engine is not None  # the request names one
    return replace(subject, file=ModelFile(engine, ModelFileKind.ENGINE))


def open_subject(path: Path, form: Form, device: str, trust: bool = False) -> Session:
    """Open a subject's file. This sets the number of torch's threads, so run it in a separate process.

    Raises:
        FxsrError: see `open_session`.
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
