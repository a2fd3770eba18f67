"""The documents do what they say: worked examples are carried out, tables of fields and tests are held against the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_helpers import DOCS, carry_out, copy_checkout

WORKED = sorted(page.name for page in DOCS.glob("add_*.md"))


@pytest.mark.parametrize("page", WORKED)
def test_worked_example(page: str, tmp_path: Path) -> None:
    carry_out(DOCS / page, copy_checkout(tmp_path / "checkout"))
