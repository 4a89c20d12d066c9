"""The command line from a checkout, nothing installed: `python cli.py run photo.jpg`.

The folders export/, runtime/, training/ and benchmarks/ are sub-packages of fxsr (see pyproject.toml); in a checkout
they are found by putting this folder on the package's path.
"""

from pathlib import Path

import fxsr

_ROOT = str(Path(__file__).resolve().parent)
if _ROOT not in fxsr.__path__:
    fxsr.__path__.append(_ROOT)

if __name__ == "__main__":
    from fxsr.cli import main

    main()
