"""The log's row, whether its ledger ends where it says, and whether it is behind what stands outside.

Called by every database at every opening.
"""

from __future__ import annotations

from typing import cast

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError, VerificationError
from leasehold.ledger.tree import Frontier, Nodes, frontier_at
from leasehold.store.columns import SHAPES, decoded
from leasehold.store.protocol import TreeHead

__all__ = ["check_anchored", "check_end", "check_outside", "control_in", "damaged", "gone"]


def control_in(place: object, text: str) -> ControlRow:
    """The log's row, out of the JSON array of all rows that its table holds.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        rows = decoded(SHAPES[ControlRow], text)
    except ValueError as error:
        raise StoreError(f"{place}: the control row is damaged; restore a backup: {error}") from error
    if len(rows) != 1:
        raise StoreError(f"{place}: the control row is missing; restore a backup")
    return cast(ControlRow, rows[0])


def check_end(nodes: Nodes, place: object, control: ControlRow, last: int | None) -> None:
    """Refuse a ledger that does not end as its log's row says; `last` is the index of its last entry. `place` names it.

    Raises:
        StoreError: it does not.
    """
    if (-1 if last is None else last) != control.size - 1:
        raise damaged(place, f"the ledger should hold {control.size} entries and ends at index {last}")
    try:
        whole = frontier_at(nodes, control.size)
        recorded = Frontier.from_bytes(control.frontier)
    except VerificationError as error:
        raise damaged(place, str(error)) from error
    if whole != recorded:
        raise damaged(place, "the ledger does not have the right edge that was recorded with its last entry")


def check_outside(
    nodes: Nodes, place: object, control: ControlRow, anchored: TreeHead | None, *, is_anchored: bool
) -> None:
    """Compare a database with what stands outside. `is_anchored` says that something is to stand there.

    Raises:
        StoreError: as `check_anchored`, or nothing stands outside although the ledger has entries.
    """
    if anchored is not None:
        check_anchored(nodes, place, control, anchored)
    elif is_anchored and control.size:
        raise StoreError(
            f"{place}: the database has {control.size} ledger entries, but what was recorded outside is missing: "
            "anchor.json. Put it back, or declare a restore with: leasehold db restore"
        )


def check_anchored(nodes: Nodes, place: object, control: ControlRow, anchored: TreeHead) -> None:
    """Refuse a database that is behind what was kept outside it, or holds another history (threat cases 52, 62, 96).

    One of a later epoch was restored on purpose and may be smaller.

    Raises:
        StoreError: it was rolled back, replaced, or its ledger rewritten; or a standby took over that lacked the rest.
    """
    if control.epoch > anchored.epoch:
        return
    if control.epoch < anchored.epoch or control.size < anchored.size:
        raise StoreError(
            f"{place}: the database stands at epoch {control.epoch} with {control.size} ledger entries, but epoch "
            f"{anchored.epoch} with {anchored.size} was recorded outside: it was rolled back or replaced, or another "
            "server took over without it. Put the newest one back, or declare a restore with: leasehold db restore"
        )
    try:
        root = frontier_at(nodes, anchored.size).root()
    except VerificationError as error:
        raise damaged(place, str(error)) from error
    if root != anchored.root:
        raise StoreError(
            f"{place}: the first {anchored.size} ledger entries are not those that were recorded outside: the ledger "
            "was rewritten or belongs to another authority, or another server took over without them. Compare it with "
            "a backup: leasehold ledger verify; what is to stay is declared with: leasehold db restore"
        )


def gone(place: object, how: str, anchored: TreeHead) -> StoreError:
    """The error of a database that is not there although one is remembered outside."""
    return StoreError(
        f"{place}: the database is {how}, but {anchored.size} ledger entries were recorded outside, in anchor.json. "
        "Put it back, or declare a restore with: leasehold db restore. A new authority needs a state of its own"
    )


def damaged(place: object, what: str) -> StoreError:
    """The error of a database that cannot be trusted."""
    return StoreError(f"{place}: the database is damaged: {what}. Restore a backup: leasehold db restore")
