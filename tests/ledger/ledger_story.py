"""A ledger told by hand: entries as the steps write them, stamped in order, its tree and its signed checkpoints."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec.structs import replace

from leasehold.ledger.checkpoint import Checkpoint, sign
from leasehold.ledger.entry import Entry, EntryKind, encode_entry
from leasehold.ledger.note import NoteKey
from leasehold.ledger.tree import NodeTable, consistency_proof, frontier_at, inclusion_proof, leaf_hash

ORIGIN = "leasehold.example/acme"
BEGIN_MS = 1_778_068_800_000
BEGIN = BEGIN_MS // 1000


class SeededSigner:
    """A key that is always the same."""

    def __init__(self, seed: int) -> None:
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.keyid = f"seed-{seed}"

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._private_key.public_key()

    def sign(self, data: bytes) -> bytes:
        return self._private_key.sign(data)


LOG = SeededSigner(1)
LOG_KEY = NoteKey(name=ORIGIN, public_key=LOG.public_key)


class Story:
    """A ledger that grows by one entry a second. Each method writes what the step of its name would write, and answers
    the entry; `fields` and `detail` replace what it would say."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.now_ms = BEGIN_MS

    def add(self, entry: Entry, **fields: object) -> Entry:
        detail = {**entry.detail, **(fields.pop("detail", None) or {})}  # type: ignore[dict-item]
        fields = {"index": len(self.entries), "time_ms": self.now_ms, **fields}
        entry = replace(entry, detail={name: value for name, value in detail.items() if value is not None}, **fields)
        self.entries.append(entry)
        self.now_ms += 1000
        return entry

    def start(self, run: str = "run_1", parent: Entry | None = None, **fields: object) -> Entry:
        detail: dict[str, object] = {"purpose": "answer T-1", "requester": "asserted", "expires_at": BEGIN + 1800}
        if parent is None:
            detail["budget"] = ("calls=10000000", "children=2000000", "usd=1000000")
        entry = Entry(
            kind=EntryKind.RUN_STARTED,
            tenant="acme",
            environment="prod",
            run=run,
            parent_run=parent.run if parent is not None else "",
            attempt=1,
            agent="support-bot" if parent is None else "sub-bot",
            requested_by="user:ana",
            route="support/close",
            lease=parent.lease if parent is not None else "",
            policy="sha256:p",
            detail=detail,
        )
        return self.add(entry, **fields)

    def ask(self, run: Entry, request: str = "req_1", **fields: object) -> Entry:
        return self.add(
            _about(
                run,
                EntryKind.REQUEST_MADE,
                request=request,
                outcome="approved",
                detail={
                    "kind": "lease",
                    "reason": "the customer confirmed",
                    "allow": ('ticket.close {"ticket":["T-1"]}', 'ticket.update {"ticket":["T-*"]}'),
                    "approval": "none",
                    "budget": ("calls=5000000", "usd=500000"),
                },
            ),
            **fields,
        )

    def answer(self, request: Entry, person: str = "user:ben", verdict: str = "approve", **fields: object) -> Entry:
        entry = _about(
            request,
            EntryKind.REQUEST_ANSWERED,
            request=request.request,
            person=person,
            decision="allow",
            outcome="approved" if verdict == "approve" else "denied",
            detail={"verdict": verdict, "key": "key-1", "signature": "sig", "public_key": "aa"},
        )
        return self.add(entry, **fields)

    def issue(self, request: Entry, lease: str = "lease_1", above: Entry | None = None, **fields: object) -> Entry:
        entry = _about(
            request,
            EntryKind.LEASE_ISSUED,
            request=request.request,
            lease=lease,
            parents=(*above.parents, above.lease) if above is not None else (),
            capability="sha256:c",
            approvals=("policy",),
            detail={
                "allow": request.detail["allow"],
                "deny": ("secrets.*",),
                "expires_at": BEGIN + 300,
                "approval": "none",
                "quorum": 0,
                "reason": "the customer confirmed",
            },
        )
        return self.add(entry, **fields)

    def admit(self, lease: Entry, admission: str = "adm_1", /, **fields: object) -> Entry:
        entry = _about(
            lease,
            EntryKind.CALL_ADMITTED,
            request=lease.request,
            lease=lease.lease,
            parents=lease.parents,
            capability=lease.capability,
            admission=admission,
            action="ticket.update",
            effect="write",
            attributes={"ticket": ("T-1",)},
            arguments_digest="hmac-sha256:a",
            key=f"key of {admission}",
            decision="allow",
            approvals=lease.approvals,
            detail={"reserved": ("calls=1000000", "usd=50000"), "approval": "none", "quorum": 0},
        )
        return self.add(entry, **fields)

    def settle(self, call: Entry, outcome: str = "done", **fields: object) -> Entry:
        cost = {} if outcome == "not_started" else {"calls": 1_000_000, "usd": 20_000}
        entry = replace(
            call,
            kind=EntryKind.CALL_SETTLED,
            attributes={},
            decision="",
            approvals=(),
            outcome=outcome,
            duration_micros=1500,
            cost=cost,
            detail={"touched": ("T-1",), "contacted": ("zendesk",)},
        )
        return self.add(entry, **fields)

    def give_up(self, call: Entry, **fields: object) -> Entry:
        entry = replace(call, kind=EntryKind.CALL_UNKNOWN, attributes={}, decision="", outcome="unknown", detail={})
        return self.add(entry, **fields)

    def refuse(self, lease: Entry, **fields: object) -> Entry:
        entry = _about(
            lease,
            EntryKind.CALL_DENIED,
            request=lease.request,
            lease=lease.lease,
            action="db.query",
            attributes={"table": ("users",)},
            decision="deny",
            reason="not_granted",
            detail={"message": "it is not granted", "check": "granted", "rule": "lease.allow"},
        )
        return self.add(entry, **fields)

    def ask_for_call(self, call_like: Entry, request: str = "req_call", **fields: object) -> Entry:
        """A request for the call that `call_like` would admit."""
        entry = replace(
            call_like,
            kind=EntryKind.REQUEST_MADE,
            request=request,
            admission="",
            decision="",
            approvals=(),
            outcome="pending",
            detail={
                "kind": "call",
                "lease_request": call_like.request,
                "reason": "the customer confirmed",
                "allow": ('ticket.update {"ticket":["T-1"]}',),
                "approval": "call",
            },
        )
        return self.add(entry, **fields)

    def end_lease(self, lease: Entry, outcome: str = "expired", **fields: object) -> Entry:
        entry = _about(
            lease, EntryKind.LEASE_ENDED, request=lease.request, lease=lease.lease, outcome=outcome, detail={}
        )
        return self.add(entry, **fields)

    def retry(self, run: Entry, **fields: object) -> Entry:
        return self.add(_about(run, EntryKind.RUN_RETRIED, **{"attempt": 2, **fields}))

    def finish(self, run: Entry, outcome: str = "done", **fields: object) -> Entry:
        return self.add(_about(run, EntryKind.RUN_FINISHED, outcome=outcome, detail={"denials": 0}), **fields)

    def stop(self, scope: str, kind: EntryKind = EntryKind.REVOKED, **fields: object) -> Entry:
        entry = Entry(
            kind=kind, tenant="acme", scope=scope, person="user:eva", detail={"reason": "a leak", "in_flight": ()}
        )
        return self.add(entry, **fields)

    def event(self, kind: EntryKind, **fields: object) -> Entry:
        return self.add(Entry(kind=kind), **fields)

    # the log

    @property
    def bodies(self) -> list[bytes]:
        return [encode_entry(entry) for entry in self.entries]

    @property
    def nodes(self) -> NodeTable:
        return NodeTable(map(leaf_hash, self.bodies))

    def head(self, size: int | None = None) -> Checkpoint:
        size = len(self.entries) if size is None else size
        return Checkpoint(origin=ORIGIN, size=size, root=frontier_at(self.nodes, size).root())

    def note(self, size: int | None = None) -> bytes:
        return sign(self.head(size), LOG_KEY, LOG).encode()

    def proofs(self, entries: list[Entry] | tuple[Entry, ...], size: int | None = None) -> list[tuple[bytes, ...]]:
        nodes, size = self.nodes, len(self.entries) if size is None else size
        return [inclusion_proof(nodes, entry.index, size) for entry in entries]

    def growth(self, old: int) -> tuple[bytes, ...]:
        return consistency_proof(self.nodes, old, len(self.entries))


def _about(entry: Entry, kind: EntryKind, **fields: object) -> Entry:
    """An entry about the same run as another."""
    about = Entry(
        kind=kind,
        tenant=entry.tenant,
        environment=entry.environment,
        run=entry.run,
        parent_run=entry.parent_run,
        attempt=entry.attempt,
        agent=entry.agent,
        requested_by=entry.requested_by,
        route=entry.route,
        policy="sha256:p",
    )
    return replace(about, **fields)
