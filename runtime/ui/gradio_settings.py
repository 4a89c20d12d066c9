"""What Gradio reads from the environment."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_gradio(folder: Path) -> None:
    """Make Gradio keep its files in a folder, and send no analytics.

    Gradio reads the folder when it is imported, and again when it makes an app. Without this it uses `gradio` in the
    system's temporary folder, which another user may own, and read.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
