"""The JSON Schemas in `docs/` are those of what is written."""

from __future__ import annotations

import pytest

from tests.schemas import DOCS, KINDS, schema_of


@pytest.mark.parametrize("name", KINDS)
def test_schemas_in_the_docs_are_current(name: str) -> None:
    assert (DOCS / name).read_bytes() == schema_of(KINDS[name]), "renew it: python -m tests.schemas"
