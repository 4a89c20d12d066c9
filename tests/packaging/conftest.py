"""What tests of fresh environments share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def outside() -> dict[str, str]:
    """The environment of a user: that of the tests, with its Python, must not help. Compiling all packages is slow."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "PYTHON"))}
    return kept | {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
