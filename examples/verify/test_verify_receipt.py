"""The verifier of docs/verify.md takes what Leasehold signs, and nothing that was altered afterwards."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from verify_receipt import root_of, verify

from leasehold import Guard
from leasehold.cli.public_keys import public_keys_of, write_public_keys
from leasehold.ledger.tree import NodeTable, frontier_at, inclusion_proof, leaf_hash
from leasehold.testing.fixtures import memory_authority

POLICY = """
version = 1
authority = "audited"
[actions]
"ticket.read" = { effect = "read", args = { ticket = "ticket_id" } }
[routes.work]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.read" = { ticket = ["T-*"] }
"""


def seen(ticket_id: str) -> str:
    """A tool that shows what it was asked for."""
    return ticket_id


@pytest.fixture(scope="module")
def evidence() -> tuple[bytes, bytes]:
    """A receipt of two reads, and the public keys of its authority."""
    with memory_authority(POLICY) as authority:
        run = authority.start(
            agent="bot", route="work", tenant="acme", environment="prod", requested_by="user:ana", purpose="an audit"
        )
        lease = authority.wait(authority.request(run, {"ticket.read": {"ticket": ["T-1"]}}, reason="to look"), 5)
        read = Guard("ticket", authority, environment="prod").wrap("read", seen)
        assert [read(lease, "T-1"), read(lease, "T-1")] == ["T-1", "T-1"]
        return authority.finish(run), write_public_keys(public_keys_of(authority.engine.identity))


def test_a_true_receipt_tells_the_entries_of_its_run(evidence: tuple[bytes, bytes]) -> None:
    kinds = [entry["kind"] for entry in verify(*evidence)]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.finished"
    assert kinds.count("call.settled") == 2


def test_a_receipt_with_another_word_in_it_is_refused(evidence: tuple[bytes, bytes]) -> None:
    envelope = json.loads(evidence[0])
    payload = base64.b64decode(envelope["payload"])
    changed = base64.b64encode(payload.replace(b"an audit", b"no audit")).decode()
    with pytest.raises(InvalidSignature):
        verify(json.dumps({**envelope, "payload": changed}).encode(), evidence[1])


def test_a_receipt_of_another_authority_is_refused(evidence: tuple[bytes, bytes]) -> None:
    with memory_authority(POLICY.replace("audited", "another")) as other:
        keys = write_public_keys(public_keys_of(other.engine.identity))
    if json.loads(keys)["receipt"] == json.loads(evidence[1])["receipt"]:  # the clock and chance of tests stand still
        keys = keys.replace(json.loads(keys)["receipt"]["keys"][0]["kid"].encode(), b"A" * 43)
    with pytest.raises(ValueError, match="no key of this authority"):
        verify(evidence[0], keys)


@pytest.mark.parametrize("log", ["", "urn:leasehold:another+00000000+AAAA"])
def test_a_head_that_the_ledger_did_not_sign_is_refused(evidence: tuple[bytes, bytes], log: str) -> None:
    keys = json.loads(evidence[1])
    with pytest.raises(ValueError, match="did not sign this head"):
        verify(evidence[0], json.dumps({**keys, "log": [log] if log else []}).encode())


def test_proofs_lead_to_the_root_of_every_small_ledger_and_an_altered_entry_does_not() -> None:
    bodies = [f"entry {index}".encode() for index in range(20)]
    nodes = NodeTable(leaf_hash(body) for body in bodies)
    for size in range(1, len(bodies) + 1):
        root = frontier_at(nodes, size).root()
        for index, body in enumerate(bodies[:size]):
            proof = list(inclusion_proof(nodes, index, size))
            assert root_of(body, index, size, proof) == root
            assert root_of(body + b"!", index, size, proof) != root
