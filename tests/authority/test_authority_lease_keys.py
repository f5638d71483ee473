"""Keys that were rotated while processes run: nobody's lease is refused until all of them were started again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.authority.lease_keys import LeaseKeys
from leasehold.config import StateFiles, rotate_key_ring
from leasehold.errors import ConfigError, TokenError
from leasehold.model.instant import Instant
from leasehold.model.lease import HeldLease
from leasehold.testing.clock import FrozenSystem
from leasehold.token.cache import VerifiedCache
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
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


def rotate(folder: Path, system: FrozenSystem, seed: int = 9) -> KeyRing:
    file = StateFiles(folder / "state").key_ring(DocumentType.LEASE)
    return rotate_key_ring(file, DocumentType.LEASE, SigningKey.generate(bytes([seed]) * 32), now=system.now())


def signer(lease: HeldLease, stage: Stage) -> str:
    """The key that signed a lease, as the authority of the stage reads it."""
    token = lease.token_for("ticket")
    return stage.authority.engine.lease_keys.inspect(token, now=stage.system.now()).kid


@pytest.mark.case(12)
def test_process_takes_what_a_newer_key_of_its_authority_signed_and_signs_with_it_itself(folder: Path) -> None:
    system = FrozenSystem()
    with opened(folder, system) as old:
        before = old.lease()
        newest = rotate(folder, system).newest.kid
        with opened(folder, FrozenSystem(seed=1)) as new:
            drawn = new.lease()
            assert old.admit(drawn, "ticket.update", key="a").admission_id
            assert new.admit(before, "ticket.update", key="b").admission_id
            assert signer(old.lease(), new) == newest != signer(before, new)


class File:
    """A file of lease keys that says what a test puts there, and how often it was read."""

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


def refused(keys: LeaseKeys, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        keys.inspect(token, now=Instant(1_778_068_800_000))
    return str(caught.value.code)


def test_strangers_tokens_have_the_file_read_once_a_second(folder: Path) -> None:
    with opened(folder, FrozenSystem(seed=3)) as stranger:
        token = stranger.lease().token_for("ticket")
    system, file = FrozenSystem(), File(ring_of(1))
    keys = LeaseKeys(ISSUER, ring_of(1), system, VerifiedCache(8), file.read)
    assert [refused(keys, token) for _ in range(100)] == ["unknown_key"] * 100
    assert file.times == 1
    system.advance(milliseconds=1000)
    refused(keys, token)
    assert file.times == 2
    refused(keys, token[:-2])
    assert file.times == 2


@pytest.mark.parametrize("stands", [None, ring_of(5, 6), ring_of(1)], ids=["unreadable", "another's", "the same"])
def test_file_that_did_not_come_after_the_keys_in_use_changes_nothing(
    folder: Path, stands: KeyRing | None, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder, FrozenSystem(seed=3)) as stranger:
        token = stranger.lease().token_for("ticket")
    keys = LeaseKeys(ISSUER, ring_of(1), FrozenSystem(), VerifiedCache(8), File(stands).read)
    with caplog.at_level(logging.WARNING, "leasehold.keys"):
        assert refused(keys, token) == "unknown_key"
    assert keys.ring.newest.kid == ring_of(1).newest.kid
    assert ("cannot be read" in caplog.text) == (stands is None)


@pytest.mark.case(12)
@pytest.mark.parametrize(
    ("stands", "told"), [(ring_of(1, 2), ring_of(1, 2)), (None, ring_of(1)), (ring_of(5, 6), ring_of(1))]
)
def test_newer_key_is_handed_out_before_it_signs_here_so_that_strangers_know_it_everywhere(
    stands: KeyRing | None, told: KeyRing
) -> None:
    keys = LeaseKeys(ISSUER, ring_of(1), FrozenSystem(), VerifiedCache(8), File(stands).read)
    assert list(keys.public().keys) == [key.kid for key in told.keys]
    assert keys.ring.newest.kid == ring_of(1).newest.kid
