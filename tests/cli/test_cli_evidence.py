"""`leasehold ledger`, `receipt`, `keys`: ask, export, verify offline, with keys that come from elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from terminal import Terminal

from leasehold.authority.receipts import sign_head
from leasehold.cli.public_keys import read_public_keys, write_public_keys
from leasehold.errors import InvalidError
from leasehold.guard import Guard
from leasehold.ledger import dsse
from leasehold.ledger.entry import Entry, EntryKind, encode_entry
from leasehold.ledger.export import write_export
from leasehold.ledger.receipt import PREDICATE_TYPE
from leasehold.ledger.tree import Frontier, TreeBuilder, leaf_hash
from leasehold.store.protocol import TreeHead
from leasehold.token.keys import SPREAD_SECONDS, SigningKey


def work(terminal: Terminal, run: str, ticket: str = "T-1") -> None:
    """One read that is done, and one that is refused."""
    lease = terminal.line("lease", "draw", terminal.ask(run, f"ticket.get ticket={ticket}"))
    words = ("exec", "--lease", lease, "ticket.get", "--ticket-id")
    terminal.run(*words, ticket, "--", "true")
    terminal.run(*words, "T-999", "--", "true", code=3)


def kept(terminal: Terminal, folder: Path) -> tuple[str, str]:
    """A whole export and the public keys, in another place than the state."""
    terminal.run("ledger", "export", "-o", str(folder / "all.jsonl"))
    terminal.run("keys", "export", "-o", str(folder / "authority.pub"))
    return str(folder / "all.jsonl"), str(folder / "authority.pub")


@pytest.mark.requirement("B4", "C8")
def test_all_that_anas_agents_did_today_is_one_command(terminal: Terminal) -> None:
    terminal.system.jump(seconds=-86_400)
    work(terminal, terminal.start(), "T-7")
    terminal.system.advance(seconds=86_400)
    work(terminal, terminal.start(), "T-8")
    today = terminal.json("ledger", "query", "--person", "user:ana", "--since", "today")
    calls = [(entry["kind"], entry.get("attributes")) for entry in today if entry["kind"].startswith("call.")]
    assert calls == [
        ("call.denied", {"ticket": ["T-999"]}),
        ("call.settled", None),
        ("call.admitted", {"ticket": ["T-8"]}),
    ]
    before = terminal.json("ledger", "query", "--person", "user:ana", "--until", "today", "--decision", "allow")
    assert {"ticket": ["T-7"]} in [entry.get("attributes") for entry in before]
    assert {"ticket": ["T-8"]} not in [entry.get("attributes") for entry in before]
    assert terminal.run("ledger", "query", "--person", "user:ben").stderr == "nothing found\n"


@pytest.mark.requirement("C8", "L11")
def test_the_ledger_answers_by_lease_attribute_decision_and_page(terminal: Terminal) -> None:
    run = terminal.start()
    work(terminal, run)
    denied = terminal.json("ledger", "query", "--decision", "deny")
    assert [entry["reason"] for entry in denied] == ["out_of_range"]
    one = terminal.json("ledger", "query", "--attribute", "ticket=T-1", "--lease", denied[0]["lease"], "--limit", "1")
    assert [entry["kind"] for entry in one] == ["call.admitted"]
    assert terminal.json("ledger", "query", "--attribute", "ticket:=1") == []
    page = terminal.run("ledger", "query", "--run", run, "--limit", "2")
    assert "there may be more: --before" in page.stderr
    index = page.stderr.split()[-1]
    following = terminal.json("ledger", "query", "--run", run, "--before", index, "--limit", "1")
    assert following[0]["index"] < int(index)
    assert terminal.json("ledger", "query", "--tenant", "globex") == []
    line = terminal.run("ledger", "query", "--decision", "deny").stdout.splitlines()[1]
    assert "\tticket.get ticket=T-999\tdeny out_of_range" in line


def test_a_query_that_cannot_be_meant_exits_2(terminal: Terminal) -> None:
    terminal.start()
    for words in (("--since", "soon"), ("--attribute", "ticket"), ("--decision", "maybe"), ("--limit", "0")):
        terminal.run("ledger", "query", *words, code=2)


@pytest.mark.requirement("L12")
def test_a_whole_export_verifies_offline_with_the_public_keys_alone(terminal: Terminal, tmp_path: Path) -> None:
    work(terminal, terminal.start())
    export, key = kept(terminal, tmp_path)
    shutil.rmtree(terminal.state)
    result = terminal.run("ledger", "verify", export, "--key", key, "--history", plain=True)
    assert result.stdout.startswith("verified: 7 of 7 entries, signed by urn:leasehold:")
    assert result.stdout.endswith("history: nothing in it is impossible\n")
    assert not terminal.state.exists()


@pytest.mark.requirement("L12")
@pytest.mark.case(96)
def test_an_altered_or_cut_export_names_the_first_bad_index_and_exits_1(terminal: Terminal, tmp_path: Path) -> None:
    work(terminal, terminal.start())
    export, key = kept(terminal, tmp_path)
    lines = Path(export).read_bytes().splitlines(keepends=True)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(b"".join([*lines[:4], lines[4].replace(b"T-1", b"T-2"), *lines[5:]]))
    assert "entry 3" in terminal.run("ledger", "verify", str(damaged), "--key", key, code=1).stderr
    damaged.write_bytes(b"".join(lines[:-2]))
    assert "ends after 5 of 7 entries" in terminal.run("ledger", "verify", str(damaged), "--key", key, code=1).stderr
    for junk in (b"", b"[1]\n", b"{}\n", b"\xff\n"):
        damaged.write_bytes(junk)
        terminal.run("ledger", "verify", str(damaged), "--key", key, code=1)


def test_the_key_to_trust_has_to_be_named_and_be_one(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    export, key = kept(terminal, tmp_path)
    assert "never taken from the export" in terminal.run("ledger", "verify", export, code=2).stderr
    terminal.run("ledger", "verify", export, "--key", export, code=2)
    terminal.run("ledger", "verify", export, "--key", str(tmp_path / "none"), code=2)
    terminal.run("ledger", "verify", str(tmp_path / "none"), "--key", key, code=2)
    (tmp_path / "other").mkdir()
    other = Terminal(tmp_path / "other", seed=1)
    other.start()
    strangers = kept(other, other.folder)[1]
    terminal.run("ledger", "verify", export, "--key", strangers, code=1)


def test_the_ledger_of_the_state_itself_can_be_verified(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    older = tmp_path / "older.note"
    older.write_text(json.loads((terminal.state / "anchor.json").read_text())["checkpoint"])
    terminal.start()
    assert terminal.json("ledger", "verify", "--checkpoint", str(older))["is_whole"]
    export, key = kept(terminal, tmp_path)
    assert terminal.json("ledger", "verify", export, "--key", key, "--checkpoint", str(older))["size"] == 3


@pytest.mark.case(96)
def test_an_export_that_does_not_reach_an_older_checkpoint_was_rolled_back(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    export, key = kept(terminal, tmp_path)
    terminal.start()
    newer = tmp_path / "newer.note"
    newer.write_text(json.loads((terminal.state / "anchor.json").read_text())["checkpoint"])
    refused = terminal.run("ledger", "verify", export, "--key", key, "--checkpoint", str(newer), code=1)
    assert "rolled back" in refused.stderr


def test_the_entries_of_one_run_can_be_exported_with_proofs(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    run = terminal.start()
    work(terminal, run)
    key = kept(terminal, tmp_path)[1]
    part = tmp_path / "part.jsonl"
    part.write_bytes(terminal.run("ledger", "export", "--run", run).stdout_bytes)
    found = terminal.json("ledger", "verify", str(part), "--key", key)
    assert (found["entries"], found["size"], found["is_whole"]) == (6, 8, False)
    older = ("--checkpoint", str(tmp_path / "x"))
    assert "export the whole" in terminal.run("ledger", "verify", str(part), "--key", key, *older, code=2).stderr
    terminal.run("ledger", "verify", str(part), "--key", key, "--history", code=1)


def test_a_history_that_cannot_have_happened_is_named(terminal: Terminal, tmp_path: Path) -> None:
    """The authority never writes one; so one that was signed all the same is put together with its own keys."""
    terminal.start()
    _, key = kept(terminal, tmp_path)
    settled = Entry(kind=EntryKind.CALL_SETTLED, index=0, time_ms=1, tenant="acme", admission="adm_x", outcome="done")
    body = encode_entry(settled)
    tree = TreeBuilder(Frontier())
    tree.append(leaf_hash(body))
    with terminal.authority() as authority:
        identity = authority.engine.identity
        note = sign_head(
            identity.issuer, identity.checkpoints.newest, TreeHead(epoch=1, size=1, root=tree.frontier().root())
        )
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(b"".join(write_export([body], note)))
    terminal.run("ledger", "verify", str(forged), "--key", key)
    found = terminal.run("ledger", "verify", str(forged), "--key", key, "--history", code=1)
    assert " at 0: call.settled: " in found.stdout
    assert "cannot have happened" in found.stderr


@pytest.mark.requirement("B10")
def test_a_receipt_is_verified_offline_and_compared_with_the_ledger(terminal: Terminal, tmp_path: Path) -> None:
    run = terminal.start()
    work(terminal, run)
    receipt = str(tmp_path / "receipt.json")
    terminal.run("run", "finish", run, "-o", receipt)
    export, key = kept(terminal, tmp_path)
    shutil.rmtree(terminal.state)
    lines = terminal.run("receipt", "verify", receipt, "--key", key, plain=True).stdout.splitlines()
    assert lines[0] == f"verified: the receipt of {run}"
    assert lines[3].startswith("answers: 0 signed with a key")
    assert lines[4] == "complete: not compared (--ledger)"
    whole = terminal.json("receipt", "verify", receipt, "--key", key, "--ledger", export)
    assert (whole["run"], whole["is_complete"]) == (run, True)


@pytest.mark.requirement("B10")
def test_a_receipt_that_was_altered_or_is_of_another_authority_exits_1(terminal: Terminal, tmp_path: Path) -> None:
    run = terminal.start()
    receipt = tmp_path / "receipt.json"
    terminal.run("run", "finish", run, "-o", str(receipt))
    key = kept(terminal, tmp_path)[1]
    envelope = json.loads(receipt.read_text())
    payload = envelope["payload"]
    for altered in (payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:], "AAAA"):
        receipt.write_text(json.dumps({**envelope, "payload": altered}))
        assert f"{receipt}: " in terminal.run("receipt", "verify", str(receipt), "--key", key, code=1).stderr
    receipt.write_text("{}")
    assert f"{receipt}: " in terminal.run("receipt", "inspect", str(receipt), code=1).stderr


def test_receipt_inspect_reads_as_a_story_and_says_whether_it_was_verified(terminal: Terminal, tmp_path: Path) -> None:
    terminal.people()
    run = terminal.start()
    work(terminal, run)
    request = terminal.ask(run, "ticket.close ticket=T-1", "ticket.get ticket=T-1")
    lease = terminal.line("lease", "draw", request)
    words = ("exec", "--lease", lease, "--key", "k", "ticket.close", "--ticket-id", "T-1", "--", "false")
    terminal.run(*words, code=4)
    call = terminal.json("request", "list")[0]["request_id"]
    terminal.run(
        "request", "approve", call, "--as", "user:ben", "--digest", terminal.digest(call), "--reason", "checked"
    )
    terminal.run(*words, code=1)
    terminal.run("hold", f"run:{run}", "--reason", "look at it")
    receipt = tmp_path / "receipt.json"
    terminal.run("run", "finish", run, "-o", str(receipt))
    unverified = terminal.run("receipt", "inspect", str(receipt))
    assert "NOT VERIFIED" in unverified.stderr
    text = unverified.stdout
    for line in (
        f"run: {run}, 1 attempt(s)",
        "agent: bot for user:ana (asserted)",
        "where: acme / prod, route support",
        "from 2026-05-06T12:00:00.000Z to 2026-05-06T12:00:00.000Z: done",
        "  call ticket.close ticket=T-1: used; approve by user:ben [same account, checked]"
        " (the customer confirmed the fix)",
        "  calls 2 of 25",
        "denied:",
        "used:",
        "stopped:",
        "  ticket.close ticket=T-1",
    ):
        assert line in text.splitlines(), line
    assert "failed, calls 1" in text
    assert "[approved by user:ben; tool holds its own authority; CommandFailedError]" in text
    assert "out_of_range" in text
    assert "stop.held run:" in text
    verified = terminal.run("receipt", "inspect", str(receipt), "--key", kept(terminal, tmp_path)[1])
    assert (verified.stdout, verified.stderr) == (text, "")
    assert terminal.json("receipt", "inspect", str(receipt))["ended"]["why"] == "done"


def test_a_receipt_names_sub_agents_calls_in_flight_and_denials_past_their_budget(
    terminal: Terminal, tmp_path: Path
) -> None:
    text = terminal.policy.read_text()
    offer = 'delegation = { depth = 1, children = 2, actions = ["ticket.get"] }'
    terminal.policy.write_text(text.replace("budget = { calls = 25", f"{offer}\nbudget = {{ calls = 25"))
    run = terminal.start()
    lease = terminal.line("lease", "draw", terminal.ask(run, "ticket.get ticket=T-1"))
    with terminal.authority() as authority:
        held = authority.engine.held(authority.desk.lease_status(lease).chain[-1].lease)
        authority.start(agent="helper", purpose="read it", parent=held)
        with Guard("ticket", authority, environment="prod").call(held, "get", {"ticket_id": "T-1"}) as capability:
            capability.touched("T-1")
            terminal.run("revoke", f"run:{run}", "--reason", "stop it")
            receipt = tmp_path / "receipt.json"
            terminal.run("run", "finish", run, "-o", str(receipt))
    shown = terminal.run("receipt", "inspect", str(receipt)).stdout
    assert "\nsub-agent\n" in shown
    assert f"in flight:\n  {capability.admission_id}" in shown
    assert f"; in flight {capability.admission_id}" in shown
    assert "of which uncertain 1" in shown


def test_what_is_no_receipt_is_said_to_be_none(terminal: Terminal, tmp_path: Path) -> None:
    signer = SigningKey.generate(b"x" * 32)
    for payload in ({"predicateType": "other", "predicate": {}}, {"predicateType": PREDICATE_TYPE, "predicate": {}}):
        path = tmp_path / f"{len(str(payload))}.json"
        path.write_bytes(dsse.sign(json.dumps(payload).encode(), "x", [signer]).encode())
        terminal.run("receipt", "inspect", str(path), code=1)


def test_the_public_key_file_reads_back_equal_and_nothing_else_reads(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    data = Path(kept(terminal, tmp_path)[1]).read_bytes()
    keys = read_public_keys(data)
    assert write_public_keys(keys) == data
    assert keys.issuer == keys.log[0].name
    members = json.loads(data)
    for change in ({"format": "x"}, {"more": 1}, {"log": ["x"]}, {"log": [1]}, {"lease": members["receipt"]}):
        with pytest.raises(InvalidError):
            read_public_keys(json.dumps({**members, **change}).encode())


def test_lease_keys_can_be_had_as_a_jwk_set_for_any_library(terminal: Terminal) -> None:
    terminal.start()
    (key,) = json.loads(terminal.run("keys", "export", "--jwks").stdout)["keys"]
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
    assert "d" not in key


def test_rotating_keys_keeps_old_evidence_verifiable(terminal: Terminal, tmp_path: Path) -> None:
    run = terminal.start()
    terminal.run("run", "finish", run, "-o", str(tmp_path / "old.json"))
    before = terminal.json("keys", "export")
    assert set(terminal.json("keys", "rotate")) == {"lease", "receipt", "checkpoint"}
    assert set(terminal.json("keys", "rotate", "receipt")) == {"receipt"}
    lease = {key["kid"]: key.get("retired_at") for key in terminal.json("keys", "export")["lease"]["keys"]}
    assert list(lease.values()) == [terminal.system.now().seconds + SPREAD_SECONDS, None]
    export, key = kept(terminal, tmp_path)
    terminal.run("receipt", "verify", str(tmp_path / "old.json"), "--key", key)
    terminal.run("ledger", "verify", export, "--key", key)
    after = json.loads(Path(key).read_text())
    assert after["issuer"] == before["issuer"]
    assert [len(after[name]["keys"]) for name in ("lease", "receipt")] == [2, 3]
    said = terminal.run("keys", "rotate", "lease", "--leaked").stderr
    assert "copy the *.keys.json files there now" in said
    leaked = [key.get("retired_at") for key in terminal.json("keys", "export")["lease"]["keys"]]
    assert leaked == [terminal.system.now().seconds - 900] * 2 + [None]
    terminal.run("keys", "rotate", "answer", code=2)


@pytest.mark.requirement("B10")
def test_a_receipt_is_amended_and_verified_with_what_became_known_later(terminal: Terminal, tmp_path: Path) -> None:
    run = terminal.start()
    lease = terminal.line("lease", "draw", terminal.ask(run, "ticket.get ticket=T-1"))
    with terminal.authority() as authority:
        held = authority.engine.held(authority.desk.lease_status(lease).chain[-1].lease)
        with Guard("ticket", authority, environment="prod").call(held, "get", {"ticket_id": "T-1"}):
            receipt = tmp_path / "receipt.json"
            receipt.write_bytes(authority.finish(authority.run(run)))
    _, keys = kept(terminal, tmp_path)
    amendment = str(tmp_path / "amendment.json")
    terminal.run("receipt", "amend", str(receipt), "-o", amendment)
    verified = terminal.run("receipt", "verify", str(receipt), "--key", keys, "--amendment", amendment)
    assert "amended: 1 later entries" in verified.stdout
    terminal.run("receipt", "verify", str(receipt), "--key", keys, "--amendment", str(receipt), code=1)


def test_entries_are_read_in_order_from_any_index_on(terminal: Terminal) -> None:
    work(terminal, terminal.start())
    everything = terminal.run("ledger", "read").stdout.splitlines()
    assert [json.loads(line)["index"] for line in everything] == list(range(len(everything)))
    assert len(everything) > 5
    assert terminal.run("ledger", "read", "--from", "2", "--limit", "3").stdout.splitlines() == everything[2:5]
    assert terminal.run("ledger", "read", "--from", str(len(everything))).stdout == ""
    behind = terminal.run("ledger", "read", "--from", str(len(everything) + 1), code=2).stderr
    assert "was put back from a backup since you read it. Epoch 1 began with entry 0" in behind
