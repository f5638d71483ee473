"""Checkpoints: one spelling, the log's own signature, witnesses beside it, and growth that must be shown."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import note
from leasehold.ledger.checkpoint import (
    Checkpoint,
    contradicts,
    open_checkpoint,
    parse,
    sign,
    verify_extends,
)
from leasehold.ledger.note import KeyKind, NoteKey
from leasehold.ledger.tree import EMPTY_ROOT, MAX_SIZE, NodeTable, consistency_proof, frontier_at, leaf_hash

ORIGIN = "leasehold.example/acme"
NODES = NodeTable(leaf_hash(b"entry %d" % index) for index in range(40))
FORKED = NodeTable(leaf_hash(b"other %d" % index) for index in range(40))
ROOT = bytes(range(32))
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


class SeededSigner:
    def __init__(self, seed: int) -> None:
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.keyid = f"seed-{seed}"

    def sign(self, data: bytes) -> bytes:
        return self._private_key.sign(data)

    def note_key(self, name: str, kind: KeyKind = KeyKind.NOTE) -> NoteKey:
        return NoteKey(name=name, public_key=self._private_key.public_key(), kind=kind)


LOG = SeededSigner(1)
LOG_KEY = LOG.note_key(ORIGIN)
NEXT = SeededSigner(2)
NEXT_KEY = NEXT.note_key(ORIGIN)
WITNESS = SeededSigner(3)
WITNESS_KEY = WITNESS.note_key("witness.example/w1", KeyKind.COSIGNATURE)


def at(size: int, nodes: NodeTable = NODES) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=frontier_at(nodes, size).root())


def test_checkpoint_is_spelled_as_the_standard_says() -> None:
    checkpoint = Checkpoint(origin="example.com/log", size=20852163, root=ROOT)
    assert checkpoint.text() == "example.com/log\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


@given(LINES, st.integers(min_value=1, max_value=MAX_SIZE), st.binary(min_size=32, max_size=32), st.lists(LINES))
def test_checkpoint_reads_back_as_written(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin=origin, size=size, root=root, extensions=tuple(extensions))
    assert parse(checkpoint.text()) == checkpoint


def test_empty_log_has_a_checkpoint() -> None:
    assert parse(at(0).text()) == Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)


ENCODED = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n",
        f"log\n5\n{ENCODED}",
        f"log\n5\n{ENCODED}\n\n",
        f"log\n5\n{ENCODED}\nextension",
        f"log\n5\n{ENCODED}\n\nextension\n",
        f"\n5\n{ENCODED}\n",
        f"log\n\n{ENCODED}\n",
        f"log\n05\n{ENCODED}\n",
        f"log\n00\n{ENCODED}\n",
        f"log\n0\n{ENCODED}\n",
        f"log\n-5\n{ENCODED}\n",
        f"log\n+5\n{ENCODED}\n",
        f"log\n 5\n{ENCODED}\n",
        f"log\n5 \n{ENCODED}\n",
        f"log\n5.0\n{ENCODED}\n",
        f"log\n1_0\n{ENCODED}\n",
        f"log\n٥\n{ENCODED}\n",
        f"log\n{MAX_SIZE + 1}\n{ENCODED}\n",
        f"log\n{10**40}\n{ENCODED}\n",
        f"log\n5\n{ENCODED[:-1]}\n",
        f"log\n5\n{ENCODED[:-2]}9=\n",
        f"log\n5\n{ENCODED} \n",
        "log\n5\nAAAA\n",
        f"log\n5\n{ENCODED[:-4]}Hh8g\n",
        "log\n5\n\n",
    ],
)
def test_text_that_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 5, ROOT, ()),
        ("two\nlines", 5, ROOT, ()),
        ("bell\x07", 5, ROOT, ()),
        ("log", -1, ROOT, ()),
        ("log", MAX_SIZE + 1, ROOT, ()),
        ("log", 5, ROOT[:31], ()),
        ("log", 0, ROOT, ()),
        ("log", 5, ROOT, ("",)),
        ("log", 5, ROOT, ("two\nlines",)),
    ],
)
def test_checkpoint_that_says_the_impossible_cannot_be_made(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidError):
        Checkpoint(origin=origin, size=size, root=root, extensions=extensions)


@pytest.mark.requirement("L12")
def test_signed_checkpoint_opens_and_says_who_signed_and_cosigned() -> None:
    signed = sign(at(7), LOG_KEY, LOG)
    signed = signed.with_signature(note.cosign(signed.text, WITNESS_KEY, WITNESS, 1_778_068_800))
    opened = open_checkpoint(signed.encode(), [LOG_KEY, NEXT_KEY], [WITNESS_KEY])
    assert opened.checkpoint == at(7)
    assert opened.signed_by == (LOG_KEY,)
    assert [(item.key, item.time_seconds) for item in opened.cosigned_by] == [(WITNESS_KEY, 1_778_068_800)]


def test_log_that_changes_its_key_can_sign_with_both() -> None:
    signed = sign(at(7), LOG_KEY, LOG)
    signed = signed.with_signature(note.sign(signed.text, NEXT_KEY, NEXT))
    for trusted in ([LOG_KEY], [NEXT_KEY], [LOG_KEY, NEXT_KEY]):
        assert open_checkpoint(signed.encode(), trusted).signed_by == tuple(trusted)


@pytest.mark.case(97)
def test_flipping_any_bit_of_a_signed_checkpoint_makes_it_fail() -> None:
    valid = sign(at(7), LOG_KEY, LOG).encode()
    for bit in range(len(valid) * 8):
        flipped = bytearray(valid)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            open_checkpoint(bytes(flipped), [LOG_KEY])


def test_witness_alone_does_not_stand_in_for_the_log() -> None:
    text = at(7).text()
    cosigned = note.Note(text=text, signatures=(note.cosign(text, WITNESS_KEY, WITNESS, 1),))
    with pytest.raises(VerificationError, match="no trusted key of the log"):
        open_checkpoint(cosigned.encode(), [LOG_KEY], [WITNESS_KEY])


def test_trusted_key_of_one_log_does_not_sign_for_another() -> None:
    other_key = NEXT.note_key("leasehold.example/other")
    text = at(7).text()
    crossed = note.Note(text=text, signatures=(note.sign(text, other_key, NEXT),))
    with pytest.raises(VerificationError, match="no trusted key of the log"):
        open_checkpoint(crossed.encode(), [LOG_KEY, other_key])
    with pytest.raises(InvalidError, match="does not sign for the log"):
        sign(at(7), other_key, NEXT)


@pytest.mark.case(9)
def test_note_about_something_else_is_not_taken_for_a_checkpoint() -> None:
    text = "a receipt, or anything else\n"
    signed = note.Note(text=text, signatures=(note.sign(text, LOG_KEY, LOG),))
    with pytest.raises(VerificationError, match="at least three lines"):
        open_checkpoint(signed.encode(), [LOG_KEY])


@pytest.mark.invariant("I9")
@given(st.integers(min_value=0, max_value=40), st.integers(min_value=0, max_value=40))
def test_checkpoint_extends_every_older_one_of_its_log(one: int, other: int) -> None:
    old, new = sorted((one, other))
    verify_extends(at(old), at(new), consistency_proof(NODES, old, new))


@pytest.mark.case(98)
@pytest.mark.invariant("I9")
@given(st.integers(min_value=1, max_value=39), st.integers(min_value=1, max_value=39))
def test_rewritten_history_extends_no_older_checkpoint_however_it_is_signed(one: int, other: int) -> None:
    old, new = sorted((one, other))
    for proof in (consistency_proof(FORKED, old, new), consistency_proof(NODES, old, new)):
        with pytest.raises(VerificationError):
            verify_extends(at(old), at(new, FORKED), proof)


@pytest.mark.case(96)
@pytest.mark.invariant("I9")
def test_cut_log_is_told_by_a_checkpoint_kept_elsewhere_at_the_first_missing_entry() -> None:
    with pytest.raises(VerificationError, match="rolled back") as caught:
        verify_extends(at(20), at(17), ())
    assert caught.value.index == 17


def test_checkpoint_of_another_log_extends_nothing() -> None:
    other = Checkpoint(origin="leasehold.example/other", size=9, root=at(9).root)
    with pytest.raises(VerificationError, match="cannot extend"):
        verify_extends(at(7), other, consistency_proof(NODES, 7, 9))


@pytest.mark.case(99)
def test_two_roots_of_one_size_contradict_each_other_and_nothing_else_does() -> None:
    assert contradicts(at(7), at(7, FORKED))
    assert not contradicts(at(7), at(7))
    assert not contradicts(at(7), at(8, FORKED))
    assert not contradicts(at(7), Checkpoint(origin="leasehold.example/other", size=7, root=at(7, FORKED).root))
    with pytest.raises(VerificationError):
        verify_extends(at(7), at(7, FORKED), ())
