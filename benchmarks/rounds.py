"""Interleaved measuring: each round runs every case once, in a new order, so that drift of the machine hits all alike.

Called by every benchmark. A figure is the median over the rounds, a ratio the median of the ratios within each round.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TypeAlias

Case: TypeAlias = Callable[[], float]
"""Runs once and answers the seconds that one operation took."""


Round: TypeAlias = Mapping[str, float]
"""One round: the seconds of one operation by case."""


class Rounds:
    """What was measured of a set of cases."""

    def __init__(self, rounds: list[Round]) -> None:
        self._rounds = rounds

    def seconds(self, name: str) -> float:
        """The median time of one operation."""
        return statistics.median(one[name] for one in self._rounds)

    def ratio(self, of: Callable[[Round], float]) -> float:
        """The median of what a formula over the cases gives in each round."""
        return statistics.median(map(of, self._rounds))

    def quotient(self, name: str, yardstick: str) -> float:
        """The median of one case's time over another's."""
        return self.ratio(lambda one: one[name] / one[yardstick])


def interleave(title: str, cases: Mapping[str, Case], rounds: int) -> Rounds:
    """Run every case once in each round, shuffled, garbage collected before each."""
    measured: list[Round] = []
    order = list(cases)
    for number in range(rounds):
        progress(f"{title}: round {number + 1} of {rounds}")
        random.shuffle(order)
        measured.append({name: _run(cases[name]) for name in order})
    progress("")
    return Rounds(measured)


def _run(case: Case) -> float:
    gc.collect()
    return case()


def per_operation(operation: Callable[[], object], count: int) -> float:
    """The seconds of one operation, over `count` in a row."""
    began = perf_counter()
    for _ in range(count):
        operation()
    return (perf_counter() - began) / count


def progress(text: str) -> None:
    """Say on stderr what goes on; on a terminal in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
