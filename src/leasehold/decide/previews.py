"""Previews: what a tool says that a call would change, seen by people before they agree and met again at the use.

The authority takes a preview only from the guard that was just admitted to make it, for the same arguments under the
same lease. Asked by admit and by requests for leases; what undo and reach a remote server claims is never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from leasehold.decide.documents import decode_admission
from leasehold.decide.facts import Facts
from leasehold.decide.rows import CallRow
from leasehold.model.call import CallState
from leasehold.model.card import Card, Change
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import ApprovalMode
from leasehold.model.grant import Grant, Grants
from leasehold.model.ids import LeaseId
from leasehold.model.instant import Instant
from leasehold.model.preview import Preview, PreviewMade, differences, shown_changes
from leasehold.model.run import Run
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import check_grants, need_for_call

__all__ = ["PreviewWanted", "how_it_moved", "is_previewed", "preview_needed", "refuse_preview", "with_previews"]

_STANDING = (CallState.ADMITTED, CallState.DONE)


def preview_needed(action: str, preview: str) -> Decision:
    """The answer to a guard that has to show people first what the call would change. Nothing is refused for good."""
    refusal = deny(
        Reason.PREVIEW_NEEDED,
        f"people are shown first what {action} would change",
        rule=f'actions."{action}".preview',
        check=f"the call comes with what {preview} says now",
        enough=f"a guard with a function for it: @guard.preview({action.rpartition('.')[2]!r})",
    )
    return replace(refusal, preview=preview)


class PreviewWanted(NamedTuple):
    """Of what a preview has to be the answer: the read, under which lease, of which arguments."""

    action: str
    lease_id: LeaseId
    arguments_digest: str


def refuse_preview(
    facts: Facts, tenant: str, made: PreviewMade, wanted: PreviewWanted, now: Instant
) -> Decision | None:
    """Why a preview does not count: it has to be the answer of its own admitted read, for this call, still fresh."""
    row = facts.get(CallRow, tenant, made.admission_id)
    admission = decode_admission(row.body) if row is not None else None
    if row is None or admission is None:
        check = f"{made.admission_id} is in this ledger"
    elif (admission.action, admission.lease_id, admission.arguments_digest) != wanted:
        check = f"{made.admission_id} is {wanted.action} of the same arguments under the same lease"
    elif row.state not in _STANDING or now.reached(row.finish_by):
        check = f"{made.admission_id} went well and is not over for long"
    else:
        return None
    return deny(
        Reason.PREVIEW_NEEDED, "this preview was not made for this call just now", check=check, enough="a fresh preview"
    )


def how_it_moved(approved: Card | None, approved_digest: str, now: Preview, now_digest: str) -> tuple[Change, ...]:
    """How a preview differs from the one on the approved card; that it differs where the card does not say how."""
    found: tuple[Change, ...] = ()
    if approved is not None:
        then = Preview(
            changes=approved.changes,
            objects=approved.objects,
            external=approved.external,
            undo=approved.preview_undo,
        )
        found = differences(then, replace(now, changes=shown_changes(now)[0], state=""))
    return found or (Change("state", approved_digest, now_digest),)


def is_previewed(policy: Policy, route: str, action: str, links: Sequence[Grants]) -> bool:
    """Whether people see a preview of each call of an action under these leases before they agree to it."""
    mode = need_for_call(policy, route, action, links).mode
    return bool(policy.action(action).preview) and mode is ApprovalMode.CALL


def with_previews(policy: Policy, route: Route, run: Run, asked: Grants, above: Sequence[Grants]) -> dict[str, Grant]:
    """The grants, with the preview of each action whose calls people have to see, for the same values.

    Only as far as the route, its delegation and all leases above offer it; what is asked for by name stays as it is.
    """
    allow = dict(asked)
    for action, grant in sorted(asked.items()):
        preview = policy.action(action).preview
        if preview in asked or (run.ancestors and preview not in route.delegation.actions):
            continue
        if not is_previewed(policy, route.name, action, [*above, asked]):
            continue
        mapped = Grant(preview, {name: grant.attributes[name] for name in policy.action(preview).args})
        earlier = allow.get(preview)
        if earlier is not None and mapped.within(earlier):
            continue
        is_wider = earlier is None or earlier.within(mapped)
        if is_wider and check_grants(policy, route.name, {preview: mapped}, above).is_allowed:
            allow[preview] = mapped
    return allow
