"""Validation pictures as files: RUN/validation/STAGE-STEP/NUMBER-NAME-tT.png, every image at every t."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from fxsr.images.image import Picture, write_image
from fxsr.training.cache import Pixels
from fxsr.training.recipe import STAGES

_FOLDER = re.compile(rf"({'|'.join(STAGES)})-(\d{{7,}})")


class PictureFiles:
    """The pictures of the newest measurements.

    Args:
        folder: contains a folder for each measurement.
        most: number of measurements whose pictures are kept.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most

    def writer(self, stage: str, step: int) -> Callable[[int, str, float, Pixels], None]:
        """A function that writes a picture (H, W, 3) of this measurement, by number and name of its image, and t.

        Raises:
            FxsrError: from that function; the file can't be written.
        """
        folder = self._folder / f"{stage}-{step:07d}"

        def write(number: int, name: str, t: float, sr: Pixels) -> None:
            if self._most:
                write_image(folder / f"{number:03d}-{Path(name).stem}-t{t:g}.png", Picture(sr))

        return write

    def remove_old(self) -> None:
        """Delete all but the newest measurements' pictures."""

        def age(path: Path) -> tuple[int, int]:
            stage, step = path.name.rsplit("-", 1)
            return STAGES.index(stage), int(step)

        found = [path for path in self._folder.glob("*") if path.is_dir() and _FOLDER.fullmatch(path.name)]
        for path in sorted(found, key=age, reverse=True)[self._most :]:
            shutil.rmtree(path, ignore_errors=True)
