"""Budgets in words. Called by `run inspect` and `lease inspect`."""

from __future__ import annotations

from collections.abc import Iterable

from leasehold.decide.rows import AccountRow
from leasehold.model.budget import format_amount

__all__ = ["account_values", "left", "show_accounts"]


def left(account: AccountRow) -> int:
    """What can still be reserved, in millionths; below zero after an overrun."""
    return account.limit - account.settled - account.reserved - account.unknown


def account_values(accounts: Iterable[AccountRow]) -> list[dict[str, str]]:
    """Accounts for JSON, amounts as decimal text."""
    return [
        {
            "unit": account.unit,
            "limit": format_amount(account.limit),
            "settled": format_amount(account.settled),
            "reserved": format_amount(account.reserved),
            "unknown": format_amount(account.unknown),
            "left": format_amount(left(account)),
        }
        for account in accounts
    ]


def show_accounts(accounts: Iterable[AccountRow]) -> str:
    """What is left of each unit: `calls 28 of 30, usd 0.95 of 1`."""
    return (
        ", ".join(
            f"{account.unit} {format_amount(left(account))} of {format_amount(account.limit)}" for account in accounts
        )
        or "none"
    )
