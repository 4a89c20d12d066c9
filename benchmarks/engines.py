"""What does the exported graph buy, against the torch network that it came from and against other ways to run it?

The sides take turns, each in a process of its own: see `fxsr.benchmarks.speed.interleave`.
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

Style = Literal["map", "uniform"]
STYLES: tuple[Style, ...] = ("map", "uniform")
_UNIFORM = ("eager PyTorch, t as 1x1", "fxsr ONNX, t baked in")
"""Sides that only one style makes sense of."""
_NOISE = re.compile(r"\(\w+\)|@.*|\b(Processor|CPU)\b")
"""What names of processors hold beside the name."""
_TURN = 0.1
"""Seconds that a side's turn lasts, or one run."""


@dataclass(frozen=True)
class TableRow:
    """One side on one network and style."""

    nb: int
    style: Style
    """"map": a t per pixel. "uniform": one t, as 1x1 where the side does not say otherwise."""
    side: str
    seconds: float | None = None
    """Median. None: it could not be run."""
    ratio: float | None = None
    """How many times as fast as eager PyTorch in the same round: the median, and its 95 % confidence interval."""
    low: float | None = None
    high: float | None = None
    host_mb: float | None = None
    """Peak resident memory of the process."""
    share: float | None = None
    """Of the FLOP/s that a matrix product reaches."""
    reason: str = ""
    """Why it could not be run."""


@dataclass(frozen=True)
class Table:
    """All rows of one go."""

    machine: str
    hardware: str
    """The processor or GPU."""
    size: int
    rounds: int
    device: str
    rows: tuple[TableRow, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_markdown(self, command: str) -> str:
        """With the command that made it, and today's date."""
        head = ("blocks", "style", "side", "time", "against eager", "host memory", "of peak")
        lines = [
            f"# Ways to run the network, on {self.hardware}",
            "",
            f"`{command}`, {datetime.now(UTC).date()}, {self.machine}. One {self.size}x{self.size} LR image; medians "
            f"of {self.rounds} interleaved rounds, ratios with their 95 % interval; memory is the peak of each side's "
            "own process. `docs/benchmarks.md` says what the sides are.",
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


def cells(row: TableRow) -> list[str]:
    """A measured row as text."""
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
    tell: Callable[[str], None] = lambda step: None,
) -> Table:
    """Time the sides whose name holds `only` on networks of so many blocks and otherwise published size, on one
    (size, size) LR image.

    Raises:
        FxsrError: a file can't be exported, or no side can be run.
    """
    rows: list[TableRow] = []
    where = ""
    for nb in blocks:
        with TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "network.safetensors"
            save_checkpoint(checkpoint, random_checkpoint(NetworkConfig(nb=nb)))
            graphs = _export(checkpoint, half=device != "cpu")
            for style in STYLES:
                options = BenchOptions(
                    sizes=((size, size),),
                    t=None if style == "map" else DEFAULT_T,
                    t_map=style == "map",
                    device=device,
                    seconds=rounds * _TURN,
                    rounds=rounds,
                )
                subjects = _sides(checkpoint, graphs, style, device, only)
                report = measure_models(subjects, options, True, lambda step: tell(f"nb {nb}, {style}: {step}"))  # noqa: B023
                rows += _rows(nb, style, report)
                where = report.machine
    return Table(where, hardware(Device.parse(device)), size, rounds, device, tuple(rows))


def write_table(table: Table, folder: Path, command: str) -> list[Path]:
    """Write `engines-HARDWARE.md` and `.json`, so that results of several machines lie side by side.

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
    """The graph as it is exported, without its rewrites, and with the style baked in."""
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


def _sides(checkpoint: Path, graphs: dict[str, Path], style: Style, device: str, only: str) -> list[Subject]:
    """The first is what the others are compared with. With one style that is given it as a full map, since the authors'
    code takes nothing else."""
    uniform, on_cpu = style == "uniform", device == "cpu"
    network = ModelFile(checkpoint, ModelFileKind.CHECKPOINT)
    naive, fxsr, baked = (ModelFile(graphs[name], ModelFileKind.ONNX) for name in ("naive", "fxsr", "baked"))
    sides = [
        Subject("eager PyTorch", network, "torch" if on_cpu else "torch-fp16", full_map=uniform),
        Subject(_UNIFORM[0], network, "torch" if on_cpu else "torch-fp16"),
        Subject("torch.compile", network, "torch-compile" if on_cpu else "torch-compile-fp16"),
        Subject("ONNX without rewrites", naive, "onnx"),
        Subject("fxsr ONNX", fxsr, "onnx"),
        Subject(_UNIFORM[1], baked, "onnx"),
        Subject("fxsr ONNX on OpenVINO", fxsr, "openvino") if on_cpu else Subject("fxsr engine", network, "plan"),
    ]
    wanted = [side for side in sides[1:] if only in side.label and (uniform or side.label not in _UNIFORM)]
    return [sides[0], *wanted]


def _rows(nb: int, style: Style, report: BenchReport) -> list[TableRow]:
    ratios = {pair.model: pair.ratio for pair in report.comparisons}
    rows = []
    for one in report.measurements:
        ratio = ratios.get(one.model)
        rows.append(
            TableRow(
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
    return rows + [TableRow(nb, style, side.model, reason=side.reason) for side in report.unavailable]


def random_checkpoint(config: NetworkConfig, seed: int = 0) -> Checkpoint:
    """Random weights of a sensible size: speed does not depend on what a network has learnt."""
    rng = np.random.default_rng(seed)
    weights = {
        key: (rng.standard_normal(shape) * (0.1 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5)).astype(np.float32)
        for key, shape in state_shapes(config).items()
    }
    return Checkpoint(config, weights, About(name="random", recipe="random weights, for timing"))
