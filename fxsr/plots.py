"""Plots in files, drawn with matplotlib and without a display. What is plotted is decided by the callers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fxsr.errors import UsageError, printable
from fxsr.extras import needs
from fxsr.files import atomic_path, remove_unfinished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT_FORMATS = (".png", ".svg", ".pdf")
_DPI = 120


def check_plot(path: Path) -> None:
    """Check, before long work, that a plot can be written to a file of this name.

    Raises:
        UsageError: the ending is none of `PLOT_FORMATS`.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in PLOT_FORMATS:
        raise UsageError(f"{path}: plots are written as {', '.join(PLOT_FORMATS[:-1])} or {PLOT_FORMATS[-1]}")
    with needs("plot"):
        import matplotlib  # noqa: F401


@contextmanager
def plot_file(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure that is written to `path` at the end of the block.

    Args:
        path: the file to write.
        width: in inches, of 120 pixels each.
        height: in inches.

    Raises:
        UsageError, MissingExtraError: as `check_plot`.
        FxsrError: `path` can't be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure: Any = Figure((width, height), layout="constrained")
    yield figure
    _take_literally(figure)
    remove_unfinished(path.parent)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def add_legend(panel: Any) -> None:
    """Add a legend to the right of a panel, where it covers nothing."""
    panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize="small")


def _take_literally(figure: Any) -> None:
    """Keep names in titles and legends from being read as formulas, and bytes that are not text from failing."""
    for panel in figure.axes:
        legend = panel.get_legend()
        for text in (panel.title, panel.xaxis.label, panel.yaxis.label, *(legend.get_texts() if legend else ())):
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))
