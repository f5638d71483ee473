"""Keys that were rotated while processes run: nobody's lease is refused until all of them were started again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.assemble import issuer_of, open_authority
from leasehold.authority.followed_ring import LOOK_MS, FollowedRing
from leasehold.authority.lease_keys import LeaseKeys
from leasehold.authority.receipts import checkpoint_keys
from leasehold.config import StateFiles, rotate_key_ring
from leasehold.errors import ConfigError, Denied, TokenError, VerificationError
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.note import NoteKey
from leasehold.ledger.receipt import verify_receipt
from leasehold.model.instant import Instant
from leasehold.model.lease import HeldLease
from leasehold.testing.clock import FrozenSystem
from leasehold.token.cache import VerifiedCache
from leasehold.token.keys import SPREAD_SECONDS, DocumentType, KeyRing, SigningKey
from stage import POLICY, Stage

ISSUER = "urn:leasehold:authority:01JZ8Q5X0M3V7K2N9B4C6D8E0F"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leasehold.toml").write_text(POLICY)
    return tmp_path


@contextmanager
def opened(folder: Path, system: FrozenSystem) -> Iterator[Stage]:
    with open_authority(folder / "leasehold.toml", state=folder / "state", system=system, sweep=False) as authority:
        yield Stage(authority=authority, system=system)


def rotate(folder: Path, system: FrozenSystem, kind: DocumentType = DocumentType.LEASE, *, after: int = 0) -> str:
    """The new key of a kind of document, which signs after so many seconds; negative where the old one leaked."""
    file, now = StateFiles(folder / "state").key_ring(kind), system.now()
    fresh = SigningKey.generate(system.random_bytes(32), created_at=now.seconds)
    return rotate_key_ring(file, kind, fresh, now=now, retire_at=now.seconds + after).newest.kid


def signer(lease: HeldLease, stage: Stage) -> str:
    """The key that signed a lease, as the authority of the stage reads it."""
    token = lease.token_for("ticket")
    return stage.authority.engine.lease_keys.inspect(token, now=stage.system.now()).kid


@pytest.mark.case(12)
def test_process_takes_what_a_newer_key_of_its_authority_signed_and_signs_with_it_itself(folder: Path) -> None:
    system = FrozenSystem()
    with opened(folder, system) as old:
        before = old.lease()
        newest = rotate(folder, system)
        with opened(folder, FrozenSystem(seed=1)) as new:
            drawn = new.lease()
            assert old.admit(drawn, "ticket.update", key="a").admission_id
            assert new.admit(before, "ticket.update", key="b").admission_id
            assert signer(old.lease(), new) == newest != signer(before, new)


class File:
    """A file of keys that says what a test puts there, and how often it was read."""

    def __init__(self, ring: KeyRing | None) -> None:
        self.ring = ring
        self.times = 0

    def read(self) -> KeyRing:
        self.times += 1
        if self.ring is None:
            raise ConfigError("others can read or change it", path="lease.keys.json")
        return self.ring


def ring_of(*seeds: int) -> KeyRing:
    """A ring that was rotated once for every seed after the first."""
    first, *later = (SigningKey.generate(bytes([seed]) * 32) for seed in seeds)
    ring = KeyRing(DocumentType.LEASE, (first,))
    for key in later:
        ring = ring.rotate(key, now=Instant(1000))
    return ring


def keys_of(ring: KeyRing, system: FrozenSystem, file: File) -> LeaseKeys:
    return LeaseKeys(ISSUER, FollowedRing(ring, system, file.read), VerifiedCache(8))


def refused(keys: LeaseKeys, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        keys.inspect(token, now=Instant(1_778_068_800_000))
    return str(caught.value.code)


def test_strangers_tokens_have_the_file_read_once_a_second(folder: Path) -> None:
    with opened(folder, FrozenSystem(seed=3)) as stranger:
        token = stranger.lease().token_for("ticket")
    system, file = FrozenSystem(), File(ring_of(1))
    keys = keys_of(ring_of(1), system, file)
    assert [refused(keys, token) for _ in range(100)] == ["unknown_key"] * 100
    assert file.times == 1
    system.advance(milliseconds=1000)
    refused(keys, token)
    assert file.times == 2
    refused(keys, token[:-2])
    assert file.times == 2


STRANGE = {
    "unreadable": (None, "others can read or change it"),
    "older": (ring_of(1), "older keys or another authority's"),
    "another's": (ring_of(5, 6), "older keys or another authority's"),
    "rotated beside it": (ring_of(1, 3), "older keys or another authority's"),
    "the same": (ring_of(1, 2), ""),
}


@pytest.mark.case(12)
@pytest.mark.parametrize(("stands", "told"), STRANGE.values(), ids=STRANGE)
def test_a_file_that_did_not_come_after_the_keys_in_use_changes_nothing_and_is_told_each_minute(
    stands: KeyRing | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    system, file = FrozenSystem(), File(stands)
    followed = FollowedRing(ring_of(1, 2), system, file.read)
    for _ in range(7):
        assert not followed.follow(not_within_ms=LOOK_MS)
        system.advance(milliseconds=LOOK_MS)
    assert file.times == 7
    assert followed.ring.newest.kid == ring_of(2).newest.kid
    assert [told in record.getMessage() for record in caplog.records] == [True] * (2 if told else 0)
    file.ring = ring_of(1, 2, 4)
    assert followed.follow()
    assert followed.ring is file.ring
    words = [record.getMessage() for record in caplog.records[2:]]
    assert len([word for word in words if "over, it goes on" in word]) == bool(told)
    assert f"{file.ring.newest.kid} signs from 1 on" in caplog.text


@pytest.mark.case(12)
def test_a_key_that_was_retired_elsewhere_is_believed_by_nobody_who_uses_keys_a_minute_later(folder: Path) -> None:
    """As where the housekeeping stands still: whoever uses keys that nobody has looked after looks."""
    system = FrozenSystem()
    with opened(folder, system) as stage:
        lease = stage.lease()
        rotate(folder, system, after=-900)
        assert stage.admit(lease, "ticket.update", key="a").admission_id
        system.advance(seconds=60)
        with pytest.raises(Denied, match="no longer trusts its key"):
            stage.admit(lease, "ticket.update", key="b")
        assert stage.admit(stage.lease(), "ticket.update", key="c").admission_id


@pytest.mark.case(12)
@pytest.mark.parametrize("moved", [60, -1], ids=["a minute later", "after the clock was set back"])
def test_keys_that_nobody_looked_after_are_looked_after_when_they_sign(moved: int) -> None:
    system, file = FrozenSystem(), File(ring_of(1))
    followed = FollowedRing(ring_of(1), system, file.read)
    assert not followed.follow()
    file.ring = ring_of(1, 2)
    assert followed.signer().kid == ring_of(1).newest.kid
    assert file.times == 1
    system.jump(seconds=moved)
    assert followed.signer().kid == ring_of(2).newest.kid
    assert followed.signer()
    assert file.times == 2


@pytest.mark.case(12)
def test_the_background_takes_over_rotated_keys_of_every_kind_though_the_database_is_gone(folder: Path) -> None:
    system, told = FrozenSystem(), threading.Semaphore(0)
    handler = logging.Handler()
    handler.emit = lambda _: told.release()  # type: ignore[method-assign]
    kinds = (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT)
    with opened(folder, system) as stage:
        newest = [rotate(folder, system, kind) for kind in kinds]
        stage.authority.engine.store.close()
        logging.getLogger("leasehold.keys").addHandler(handler)
        stage.authority.sweep.start(0.01)
        assert all(told.acquire(timeout=60) for _ in kinds)
        logging.getLogger("leasehold.keys").removeHandler(handler)
        identity = stage.authority.engine.identity
        assert [ring.newest.kid for ring in (identity.leases, identity.receipts, identity.checkpoints)] == newest
        assert identity.issuer == issuer_of(identity.checkpoints)


@pytest.mark.case(12)
def test_rotation_with_time_to_spread_refuses_no_lease_of_any_process_and_moves_everybody_over_at_once(
    folder: Path,
) -> None:
    """One process looks after its keys, the other, as on a machine that gets the file last, does so at the very end."""
    system = FrozenSystem()
    with opened(folder, system) as late, opened(folder, system) as early:
        former = signer(late.lease(), late)
        newest = rotate(folder, system, after=SPREAD_SECONDS)
        early.authority.engine.identity.follow_keys()
        system.advance(milliseconds=SPREAD_SECONDS * 1000 - 1)
        leases = late.lease(), early.lease()
        assert [signer(lease, early) for lease in leases] == [former, former]
        late.authority.engine.identity.follow_keys()
        system.advance(milliseconds=1)
        leases += late.lease(), early.lease()
        assert [signer(lease, late) for lease in leases] == [former, former, newest, newest]
        for stage in (late, early):
            for number, lease in enumerate(leases):
                assert stage.admit(lease, "ticket.update", key=f"{id(stage)} {number}").admission_id


@pytest.mark.case(12)
def test_machine_that_did_not_get_the_newer_keys_says_so_each_minute_until_it_has_them_or_newer_ones(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two state directories over one database are two machines; here the file of one is put in the other's place."""
    system = FrozenSystem()
    ring = StateFiles(folder / "state").key_ring(DocumentType.LEASE)
    with opened(folder, system) as stage:
        stage.authority.sweep.run_once()
    older = ring.read_bytes()
    system.advance(seconds=1)
    with opened(folder, system) as stage:
        rotate(folder, system)
        stage.authority.engine.identity.follow_keys()
        stage.authority.sweep.run_once()
    newer = ring.read_bytes()
    for arrives in (newer, None):
        ring.write_bytes(older)
        with opened(folder, system) as behind:
            said = told(behind, system, caplog)
            assert said == ["lease.keys.json not copied here yet; leasehold doctor says more"] * 2
            if arrives is not None:
                ring.write_bytes(arrives)
            else:
                system.advance(seconds=1)
                rotate(folder, system)  # the newer ones are lost
            behind.authority.engine.identity.follow_keys()
            assert told(behind, system, caplog) == ["over, it goes on"]
            assert {entry.kind for entry in behind.entries()} == {EntryKind.POLICY_ACCEPTED}


def told(stage: Stage, system: FrozenSystem, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the sweep says of other machines' keys in seventy seconds."""
    caplog.clear()
    for _ in range(70):
        stage.authority.sweep.run_once()
        system.advance(seconds=1)
    words = "keys were rotated on another machine: "
    return [text.removeprefix(words) for text in map(logging.LogRecord.getMessage, caplog.records) if words in text]


@pytest.mark.case(12)
def test_receipts_and_heads_are_signed_with_the_new_keys_once_everybody_can_have_them(folder: Path) -> None:
    system = FrozenSystem()
    with opened(folder, system) as stage:
        identity = stage.authority.engine.identity
        before = identity.receipts, checkpoint_keys(identity.issuer, identity.checkpoints)
        for kind in (DocumentType.RECEIPT, DocumentType.CHECKPOINT):
            rotate(folder, system, kind, after=SPREAD_SECONDS)
        identity.follow_keys()
        assert is_verified(stage.authority.finish(stage.start()), *before)
        system.advance(seconds=SPREAD_SECONDS)
        receipt = stage.authority.finish(stage.start())
        assert not is_verified(receipt, *before)
        assert is_verified(receipt, identity.receipts, checkpoint_keys(identity.issuer, identity.checkpoints))
    with opened(folder, system) as again:  # and so was the head that is kept outside
        assert again.lease()


def is_verified(receipt: bytes, ring: KeyRing, heads: tuple[NoteKey, ...]) -> bool:
    try:
        verify_receipt(receipt, {key.kid: key.public().public for key in ring.keys}, heads)
    except VerificationError:
        return False
    return True


@pytest.mark.case(12)
def test_newer_key_is_handed_out_at_once_and_a_strangers_never() -> None:
    """Whoever asks for the public keys again and again has the file read once a second."""
    system, file = FrozenSystem(), File(ring_of(5, 6))
    keys = keys_of(ring_of(1), system, file)
    assert [list(keys.public().keys) for _ in range(2)] == [[ring_of(1).newest.kid]] * 2
    assert file.times == 1
    system.advance(seconds=1)
    file.ring = ring_of(1, 2)
    assert list(keys.public().keys) == [key.kid for key in ring_of(1, 2).keys]
