"""Rules of the history checker about authority: who approved what, and who granted it (invariants I4, I6).

A rule yields, in words, what an entry breaks in view of everything before it; `leasehold.ledger.rules` applies them.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.replay import Past
from leasehold.ledger.standing import RequestPast
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import grants_within
from leasehold.model.request import RequestKind, RequestState, Verdict

__all__ = [
    "answers_for_others",
    "grants_no_more_than_above",
    "is_approved",
    "is_granted_by_every_link",
    "uses_its_approval_once",
]


# I4: approved by the right people, for exactly this, used once


def uses_its_approval_once(entry: Entry, past: Past) -> Iterator[str]:
    """A call that names an approval has one for exactly this call, approved and not yet used."""
    if not entry.approval:
        return
    request = past.requests.get((entry.tenant, entry.approval))
    if request is None or detail.text(request.made, "kind") != RequestKind.CALL:
        yield f"{entry.approval} is no request for a call"
        return
    if request.state != RequestState.APPROVED:
        yield f"{entry.approval} is {request.state}" + (f" by {request.used_by}" if request.used_by else "")
    for name in ("run", "attempt", "action", "effect", "arguments_digest", "key"):
        if getattr(entry, name) != getattr(request.made, name):
            yield f"{entry.approval} was for another {name}"
    if detail.text(request.made, "lease_request") != entry.request:
        yield f"{entry.approval} was made under another lease request"
    yield from _lacks_people(entry, request)


def is_approved(entry: Entry, past: Past) -> Iterator[str]:
    """A call or lease that needs people has the word of as many as its rule demands."""
    mode = detail.text(entry, "approval")
    if mode not in list(ApprovalMode):
        yield "it does not say whether people had to agree"
    if mode == ApprovalMode.NONE or entry.approval:
        return
    request = past.requests.get((entry.tenant, entry.request))
    if entry.kind is EntryKind.CALL_ADMITTED and mode == ApprovalMode.CALL:
        yield "people had to agree to this call and it names no approval"
    elif request is None:
        yield f"people had to agree and no request {entry.request!r} was made in this tenant"
    else:
        yield from _lacks_people(entry, request)


def _lacks_people(entry: Entry, request: RequestPast) -> Iterator[str]:
    """Whose word is missing: each that the entry names must have approved, and they must be enough."""
    for person in entry.approvals:
        if person not in request.answers:
            yield f"{person} has not approved {request.made.request}"
        if person == entry.requested_by and entry.effect == Effect.DESTRUCTIVE:
            yield f"{person} approved their own destructive call"
    needed = max(1, detail.number(entry, "quorum"))
    if len(set(entry.approvals)) < needed:
        yield f"{needed} approvals were needed and {len(set(entry.approvals))} counted"


def answers_for_others(entry: Entry, past: Past) -> Iterator[str]:
    """Nobody approves their own request, but where the route lets requesters confirm their writes, and no key twice."""
    if entry.decision == "deny" or detail.text(entry, "verdict") != Verdict.APPROVE:
        return
    request = past.requests.get((entry.tenant, entry.request))
    if entry.person == entry.requested_by:
        if not detail.text(entry, "own_request"):
            yield f"{entry.person} approved their own request"
        elif request is not None and request.made.effect == Effect.DESTRUCTIVE:
            yield f"{entry.person} approved their own destructive request"
    elif request is not None and entry.person in detail.texts(request.made, "edited_by"):
        yield f"{entry.person} approved what they edited themselves"
    earlier = request.answers.get(entry.person) if request is not None else None
    if earlier is not None and detail.vouched_by(earlier) == detail.vouched_by(entry):
        yield f"{entry.person} approved {entry.request} twice"


def says_how_it_was_given(entry: Entry, past: Past) -> Iterator[str]:  # noqa: ARG001 - every rule takes both
    """An answer carries the signature of a key or passkey, or names its session or chat and claims no signature."""
    if entry.decision == "deny":
        return
    proof = detail.text(entry, "proof") or "key"
    given = {name for name in _PARTS_OF_PROOFS if detail.text(entry, name)}
    if given != _PROOFS.get(proof):
        yield f"the answer of {entry.person} is given by {proof!r} with {sorted(given)}"


_PROOFS = {
    "key": {"key", "signature", "public_key"},
    "passkey": {"sign_in", "public_key", "authenticator_data", "client_data", "signature"},
    "session": {"sign_in", "method"},
    "chat": {"channel", "speaker", "delivery"},
}
_PARTS_OF_PROOFS = sorted({name for names in _PROOFS.values() for name in names})


# I6: a child's authority is within its parent's at every moment


def is_granted_by_every_link(entry: Entry, past: Past) -> Iterator[str]:
    """Each lease of the chain exists in this tenant, and grants the whole call."""
    named = (*entry.parents, entry.lease)
    chain = {lease.issued.lease: lease for lease in past.chain(entry)}
    for name in named:
        if name not in chain:
            yield f"no lease {name!r} was issued in this tenant"
        elif name == entry.lease and chain[name].issued.run != entry.run:
            yield f"{name} is a lease of another run"
        elif entry.action not in chain[name].allow or not chain[name].allow[entry.action].covers(entry.attributes):
            yield f"{name} does not grant {entry.action} with these attributes"
    if set(chain) - set(named):
        yield "it leaves out a lease that stands above"


def grants_no_more_than_above(entry: Entry, past: Past) -> Iterator[str]:
    """A lease is within what was requested and within each lease above it, which are those of its run's parents."""
    allow = detail.grants(entry, "allow")
    request = past.requests.get((entry.tenant, entry.request))
    if request is None or (request.made.run, request.made.attempt) != (entry.run, entry.attempt):
        yield f"no request {entry.request!r} was made by this attempt of the run"
    elif (wider := grants_within(allow, request.allow)) is not None:
        yield f"{wider} is wider than it was requested"
    above = past.chain(entry)
    if len(above) < len(entry.parents):
        yield "a lease above it was never issued in this tenant"
    if (above[-1].issued.run if above else "") != entry.parent_run:
        yield "the lease above it is not one of the parent run"
    for lease in above:
        if (wider := grants_within(allow, lease.allow)) is not None:
            yield f"{wider} is wider than {lease.issued.lease} grants"
