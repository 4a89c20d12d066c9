"""Compares the speed of the exported graph with the torch network, and with other ways to run it.

The compared subjects run in turns, each in a process of its own: see `fxsr.benchmarks.speed.interleave`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec
import numpy as np

from fxsr.benchmarks.speed.measure import BenchOptions, measure_models
from fxsr.benchmarks.speed.report import BenchReport
from fxsr.benchmarks.speed.subjects import Subject
from fxsr.files import atomic_path
from fxsr.models.checkpoint import About, Checkpoint, save_checkpoint
from fxsr.models.config import NetworkConfig, state_shapes
from fxsr.models.file import ModelFile, ModelFileKind
from fxsr.runtime.machine.name import hardware
from fxsr.runtime.session import Device
from fxsr.styles.style_map import DEFAULT_T

StyleForm = Literal["map", "uniform"]
STYLE_FORMS: tuple[StyleForm, ...] = ("map", "uniform")
_UNIFORM_ONLY = ("eager PyTorch, t as 1x1", "fxsr ONNX, t baked in")
"""Subjects that are compared only with one style for all pixels."""
_NOISE = re.compile(r"\(\w+\)|@.*|\b(Processor|CPU)\b")
"""Parts of processor names that are left out of file names."""
_TURN = 0.1
"""Duration of a subject's turn in seconds; at least one run."""


@dataclass(frozen=True)
class EngineRow:
    """One subject on one network and style."""

    nb: int
    style: StyleForm
    """"map": one t per pixel. "uniform": one t for all pixels, as a 1x1 map unless `side` says otherwise."""
    side: str
    """Name of the subject."""
    seconds: float | None = None
    """Median time of a run. None: it could not run."""
    ratio: float | None = None
    """Speed relative to eager PyTorch in the same round: the median. `low` and `high` are its 95 % confidence
    interval."""
    low: float | None = None
    high: float | None = None
    host_mb: float | None = None
    """Peak resident memory of the process, in MB."""
    share: float | None = None
    """Share of the FLOP/s that a matrix product reaches."""
    reason: str = ""
    """Why it could not run."""


@dataclass(frozen=True)
class EngineTable:
    """The results of one run of the benchmark."""

    machine: str
    hardware: str
    """Name of the processor or GPU."""
    size: int
    rounds: int
    device: str
    rows: tuple[EngineRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The table as names and values."""
        return asdict(self)

    def to_markdown(self, command: str) -> str:
        """The table in Markdown, with the command that made it and today's date."""
        head = ("blocks", "style", "side", "time", "against eager", "host memory", "of peak")
        lines = [
            f"# Ways to run the network, on {self.hardware}",
            "",
            f"`{command}`, {datetime.now(UTC).date()}, {self.machine}. One {self.size}x{self.size} LR image; medians "
            f"of {self.rounds} interleaved rounds, ratios with their 95 % interval; memory is the peak of each side's "
            "own process. `docs/benchmarks.md` describes the sides.",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *(f"| {' | '.join(cells(row))} |" for row in self.rows if row.seconds is not None),
            "",
            *(
                f"Not measured: {text}"
                for text in dict.fromkeys(f"{r.side}: {r.reason}" for r in self.rows if r.reason)
            ),
        ]
        return "\n".join(lines).rstrip() + "\n"


def cells(row: EngineRow) -> list[str]:
    """A row of the table as text."""
    time = (
        "" if row.seconds is None else f"{row.seconds:.3f} s" if row.seconds >= 0.1 else f"{row.seconds * 1e3:.3f} ms"
    )
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x ({row.low:.2f}..{row.high:.2f})"
    memory = "" if row.host_mb is None else f"{row.host_mb:.0f} MB"
    return [str(row.nb), row.style, row.side, time, ratio, memory, "" if row.share is None else f"{row.share:.0%}"]


def compare_engines(
    blocks: Sequence[int],
    size: int,
    rounds: int,
    device: str,
    only: str = "",
    on_step: Callable[[str], None] = lambda step: None,
) -> EngineTable:
    """Compare the speed of all subjects on networks of the published size, apart from the number of blocks.

    Args:
        blocks: numbers of blocks.
        size: side of the LR image in pixels.
        rounds: turns of each subject.
        device: "cpu" or "cuda:N".
        only: leave out subjects whose name does not contain this text, except the first.
        on_step: called at the beginning of each step.

    Raises:
        FxsrError: a file can't be exported, or no subject can run.
    """
    rows: list[EngineRow] = []
    where = ""
    for nb in blocks:
        with TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "network.safetensors"
            save_checkpoint(checkpoint, random_checkpoint(NetworkConfig(nb=nb)))
            graphs = _export(checkpoint, half=device != "cpu")
            for style in STYLE_FORMS:
                options = BenchOptions(
                    sizes=((size, size),),
                    t=None if style == "map" else DEFAULT_T,
                    t_map=style == "map",
                    device=device,
                    seconds=rounds * _TURN,
                    rounds=rounds,
                )
                subjects = _subjects(checkpoint, graphs, style, device, only)
                report = measure_models(subjects, options, True, lambda step: on_step(f"nb {nb}, {style}: {step}"))  # noqa: B023
                rows += _rows(nb, style, report)
                where = report.machine
    return EngineTable(where, hardware(Device.parse(device)), size, rounds, device, tuple(rows))


def write_table(table: EngineTable, folder: Path, command: str) -> list[Path]:
    """Write `engines-HARDWARE.md` and `.json`, and return their paths.

    Raises:
        FxsrError: the folder can't be written to.
    """
    name = "-".join(["engines", *re.findall(r"[a-z0-9]+", _NOISE.sub("", table.hardware).lower())])
    texts = {f"{name}.md": table.to_markdown(command).encode(), f"{name}.json": msgspec.json.encode(table)}
    for file, text in texts.items():
        with atomic_path(folder / file) as temporary:
            temporary.write_bytes(msgspec.json.format(text, indent=2) + b"\n" if file.endswith(".json") else text)
    return [folder / file for file in texts]


def _export(checkpoint: Path, half: bool) -> dict[str, Path]:
    """Export the graph with all rewrites, without them, and with a fixed style. Returns the paths by name."""
    from fxsr.export import ExportRequest, export_model
    from fxsr.export.graph.graph import GraphOptions

    ours = GraphOptions("fp16" if half else "fp32")
    forms = {
        "fxsr": ours,
        "naive": replace(ours, fold_styles=False, phase_upsampling=False, strips=False),
        "baked": replace(ours, baked_t=DEFAULT_T),
    }
    return {
        name: export_model(ExportRequest(checkpoint, checkpoint.parent / name, graph, check=False)).onnx
        for name, graph in forms.items()
    }


def _subjects(checkpoint: Path, graphs: dict[str, Path], style: StyleForm, device: str, only: str) -> list[Subject]:
    """The subjects to compare, the reference first. With a uniform style it gets a full map, the only form that the
    authors' code takes."""
    uniform, on_cpu = style == "uniform", device == "cpu"
    network = ModelFile(checkpoint, ModelFileKind.CHECKPOINT)
    naive, fxsr, baked = (ModelFile(graphs[name], ModelFileKind.ONNX) for name in ("naive", "fxsr", "baked"))
    sides = [
        Subject("eager PyTorch", network, "torch" if on_cpu else "torch-fp16", full_map=uniform),
        Subject(_UNIFORM_ONLY[0], network, "torch" if on_cpu else "torch-fp16"),
        Subject("torch.compile", network, "torch-compile" if on_cpu else "torch-compile-fp16"),
        Subject("ONNX without rewrites", naive, "onnx"),
        Subject("fxsr ONNX", fxsr, "onnx"),
        Subject(_UNIFORM_ONLY[1], baked, "onnx"),
        Subject("fxsr ONNX on OpenVINO", fxsr, "openvino") if on_cpu else Subject("fxsr engine", network, "plan"),
    ]
    wanted = [side for side in sides[1:] if only in side.label and (uniform or side.label not in _UNIFORM_ONLY)]
    return [sides[0], *wanted]


def _rows(nb: int, style: StyleForm, report: BenchReport) -> list[EngineRow]:
    ratios = {pair.model: pair.ratio for pair in report.comparisons}
    rows = []
    for one in report.measurements:
        ratio = ratios.get(one.model)
        rows.append(
            EngineRow(
                nb,
                style,
                one.model,
                one.total.median,
                ratio=ratio.median if ratio else None,
                low=ratio.low if ratio else None,
                high=ratio.high if ratio else None,
                host_mb=None if one.memory.host is None else one.memory.host / 1e6,
                share=one.work.share if one.work else None,
            )
        )
    return rows + [EngineRow(nb, style, side.model, reason=side.reason) for side in report.unavailable]


def random_checkpoint(config: NetworkConfig, seed: int = 0) -> Checkpoint:
    """A checkpoint with random weights of realistic magnitude. Speed does not depend on what a network has learnt."""
    rng = np.random.default_rng(seed)
    weights = {
        key: (rng.standard_normal(shape) * (0.1 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5)).astype(np.float32)
        for key, shape in state_shapes(config).items()
    }
    return Checkpoint(config, weights, About(name="random", recipe="random weights, for timing"))
