"""The process of a step: `python -m fxsr.benchmarks.gpu.worker FUNCTION JOURNAL WORK ARGUMENTS`.

Exit status: 0 passed, 1 failed, 3 the step can't run on this machine. The reason is in the journal.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from fxsr.benchmarks.gpu.steps import PACKAGE, Journal
from fxsr.errors import FxsrError, UnavailableError, first_line


def main(function: str, journal_path: str, work: str, arguments: str) -> int:
    """Run a step and return the exit status."""
    signal.signal(signal.SIGTERM, _stop)  # so that temporary folders are removed
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # GPUs are numbered as the driver numbers them
    journal = Journal(Path(journal_path), Path(work))
    module, _, name = function.rpartition(".")
    try:
        getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)(journal, **json.loads(arguments))
    except UnavailableError as error:
        journal.explain(str(error))
        return 1 if journal.faults else error.exit_status
    except FxsrError as error:
        journal.fail(str(error))
    except Exception as error:  # another library's, which the report must name
        traceback.print_exc()
        journal.fail(f"{type(error).__name__}: {first_line(error)}")
    if journal.faults:
        journal.explain("; ".join(journal.faults))
    return 1 if journal.faults else 0


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
