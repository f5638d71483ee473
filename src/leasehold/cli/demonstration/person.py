"""Who answers in the demo: a scripted person, or whoever sits at the terminal. Called by its story.

Either way the answer is signed with a key that the demo made for somebody who is not the requester.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import click

from leasehold.cli.demonstration.policy import APPROVER
from leasehold.model.card import Card
from leasehold.model.request import Verdict

__all__ = ["Person", "ask_terminal", "scripted"]

Person: TypeAlias = Callable[[Card], Verdict]
"""Looks at a card and gives a verdict."""


def scripted(card: Card) -> Verdict:
    """Approve the one kind of change that the script expects, and nothing else."""
    return Verdict.APPROVE if [line.action for line in card.lines] == ["repo.edit"] else Verdict.DENY


def ask_terminal(_card: Card) -> Verdict:
    """Ask the person at the terminal; whatever is not a yes is a no."""
    is_approved = click.confirm(f"   you      do you, as {APPROVER}, approve this?", default=False)
    return Verdict.APPROVE if is_approved else Verdict.DENY
