"""Reserve before, settle after, on every account of the chain at once (invariant I2). Pure arithmetic over rows.

One call draws on the account of its request, of each request above it, and of the root run, so siblings and children
share what their ancestors have. Each has the limit that it was opened with, or what the live policy gives a run of the
route, whichever is less. Amounts are millionths; nothing is ever refunded without proof that nothing started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from leasehold.decide.facts import Facts, Need, Ref
from leasehold.decide.rows import AccountRow
from leasehold.model.budget import MAX_AMOUNT, format_amount
from leasehold.model.call import CallState
from leasehold.model.decision import Decision, Reason, deny

__all__ = ["account_needs", "open_accounts", "refuse_overspend", "remaining", "reserve", "settle_accounts"]


def account_needs(tenant: str, accounts: Iterable[str], units: Iterable[str]) -> list[Need]:
    """The account rows of some units."""
    listed = sorted(units)
    return [Ref(AccountRow, (tenant, account, unit)) for account in dict.fromkeys(accounts) for unit in listed]


def open_accounts(tenant: str, account: str, limits: Mapping[str, int]) -> list[AccountRow]:
    """Fresh account rows with these limits."""
    return [
        AccountRow(tenant=tenant, account=account, unit=unit, limit=limit, settled=0, reserved=0, unknown=0)
        for unit, limit in sorted(limits.items())
    ]


def remaining(row: AccountRow, most: int) -> int:
    """What can still be reserved where the live policy gives no more than `most`; never negative, though an overrun may
    have taken more than there was, and a policy may give less than was spent."""
    return max(0, min(row.limit, most) - row.settled - row.reserved - row.unknown)


def reserve(
    facts: Facts, tenant: str, accounts: tuple[str, ...], wanted: Mapping[str, int | None], live: Mapping[str, int]
) -> tuple[dict[str, int], list[AccountRow]] | Decision:
    """Reserve on all accounts or on none. None as an amount means all that is left of the unit everywhere.

    `live` is the budget of the route in the active policy; a unit that it does not name is worth nothing any more.

    Returns the amounts and the changed rows, or the refusal.
    """
    changed: list[AccountRow] = []
    amounts: dict[str, int] = {}
    for unit, amount in sorted(wanted.items()):
        rows = [facts.get(AccountRow, tenant, account, unit) for account in dict.fromkeys(accounts)]
        present = [row for row in rows if row is not None]
        if len(present) < len(rows):
            return deny(
                Reason.BUDGET,
                f"there is no budget of {unit}",
                check=f"{unit} is budgeted",
                enough=f"a route with a budget of {unit}",
            )
        most = live.get(unit, 0)
        take = min(remaining(row, most) for row in present) if amount is None else amount
        for row in present:
            if refusal := refuse_overspend(row, max(take, 1) if amount is None else take, most):
                return refusal
        amounts[unit] = take
        changed += [replace(row, reserved=row.reserved + take) for row in present]
    return amounts, changed


def refuse_overspend(row: AccountRow, amount: int, most: int) -> Decision | None:
    """Why an amount does not fit an account, where the live policy gives no more than `most`."""
    left = remaining(row, most)
    if amount <= left:
        return None
    return deny(
        Reason.BUDGET,
        f"the budget of {row.unit} of {row.account} is used up: {format_amount(left)} of "
        f"{format_amount(min(row.limit, most))} left, {format_amount(amount)} needed",
        rule=f"budget.{row.unit}",
        check=f"{format_amount(amount)} <= {format_amount(left)}",
        enough=f"a request with a larger budget of {row.unit}, within the run's",
    )


def settle_accounts(
    facts: Facts,
    tenant: str,
    accounts: tuple[str, ...],
    reserved: Mapping[str, int],
    actual: Mapping[str, int],
    outcome: CallState,
) -> list[AccountRow]:
    """The account rows after a call ended.

    done and failed: the reservation becomes the actual cost, in full even where it is more; not_started: the
    reservation is given back; unknown: it stays, as spent by nobody knows whom.
    """
    changed = []
    for account in dict.fromkeys(accounts):
        for unit in sorted(reserved.keys() | actual.keys()):
            row = facts.get(AccountRow, tenant, account, unit) or open_accounts(tenant, account, {unit: 0})[0]
            held = reserved.get(unit, 0)
            row = replace(row, reserved=row.reserved - held)
            if outcome is CallState.UNKNOWN:
                row = replace(row, unknown=row.unknown + held)
            elif outcome is not CallState.NOT_STARTED:
                row = replace(row, settled=min(MAX_AMOUNT, row.settled + actual.get(unit, 0)))
            changed.append(row)
    return changed
