"""What tests counted, told at the end of a session: how many processes were killed, how many trials found nothing.

A test tells it through the fixture `figures`. What it printed itself would be lost in the process of a worker.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

__all__ = ["FIGURES", "Figures", "figures_of"]

Figures = Callable[[str], None]
FIGURES = "figures"
_ENDS = ("passed", "failed", "xfailed", "xpassed")


def figures_of(terminalreporter: pytest.TerminalReporter) -> list[str]:
    """A line for everything that was told, in the order of the tests' names."""
    reports = [report for end in _ENDS for report in terminalreporter.stats.get(end, ()) if report.when == "call"]
    return [
        str(value)
        for report in sorted(reports, key=lambda report: report.nodeid)
        for name, value in report.user_properties
        if name == FIGURES
    ]
