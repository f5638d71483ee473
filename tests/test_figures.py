"""What tests count is told where everybody sees it."""

from __future__ import annotations

import re
from pathlib import Path


def test_no_test_prints_past_pytest() -> None:
    """It would be seen where one process runs the tests, and be lost in a worker of `make test`."""
    texts = {path.name: path.read_text() for path in Path(__file__).parent.rglob("*.py")}
    assert [name for name, text in texts.items() if re.search(r"\bcap(sys|fd)\.disabled\(", text)] == []
