"""The log of a run in TensorBoard's format.

Events are written at once and in the calling thread. TensorBoard's own writer has a thread, in which a full disk ends
as a traceback on the terminal.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fxsr.errors import FxsrError
from fxsr.extras import needs
from fxsr.training.cache import Pixels

with needs("train"):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard import summary


class EventLog:
    """A log in a folder, which is created with the first event.

    Raises:
        FxsrError: from every method; the log can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._file: BinaryIO | None = None

    def add_scalars(self, stage: str, figures: Mapping[str, float], step: int) -> None:
        """Add figures by name at a step of a stage."""
        for name, figure in figures.items():
            self._write(step=step, summary=summary.scalar(f"{stage}/{name}", figure))  # type: ignore[no-untyped-call]

    def add_image(self, stage: str, name: str, pixels: Pixels, step: int) -> None:
        """Add an (H, W, 3) uint8 picture."""
        image = summary.image(f"{stage}/{name}", pixels, dataformats="HWC")  # type: ignore[no-untyped-call]
        self._write(step=step, summary=image)

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _write(self, **content: Any) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
                self._write(file_version="brain.Event:2")
            event = Event(wall_time=time.time(), **content)
            RecordWriter(self._file).write(event.SerializeToString())
        except OSError as error:
            raise FxsrError(f"cannot write {self._path}: {error.strerror or error}") from error
