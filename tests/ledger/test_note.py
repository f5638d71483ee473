"""Signed notes and cosignatures: real ones from public logs, round trips, and every reading that must fail."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    KeyKind,
    Note,
    NoteKey,
    NoteSignature,
    cosign,
    parse,
    parse_key,
    parse_signature,
    sign,
    verify,
)

# A checkpoint of the Go checksum database, and the key that the Go toolchain carries for it.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_CHECKPOINT = """go.sum database tree
49189689
ftjbAOzaupaIvaPo/G+Dk63nxOZ2s1OPOKIaPtXs7S4=

— sum.golang.org Az3grlKZssqRoMNPpZfKt0TphbbcF+pzXqElURJKRNFKfaUAgqeI5k2AORH0QAhg/ebRwyIqD/OqP4oLtLnNumvOBAM=
""".encode()

# A checkpoint of a Certificate Transparency log as witnesses cosigned it; its first line is of a type not read here.
CT_LOG_KEY = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
WITNESS_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
COSIGNED_CHECKPOINT = (
    """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQ"""
    """IgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8E"""
    """i59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4Asc"""
    """ylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB"""
    """0DrAWfBw==
"""
).encode()

TEXT = "two lines\n\nand one between them\n"
NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="+"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\n"), max_size=60).map(
    lambda text: text + "\n"
)


@dataclass(frozen=True)
class SeededSigner:
    seed: int

    @property
    def keyid(self) -> str:
        return f"seed-{self.seed}"

    @property
    def private_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed.to_bytes(32, "big"))

    def sign(self, data: bytes) -> bytes:
        return self.private_key.sign(data)

    def note_key(self, name: str, kind: KeyKind = KeyKind.NOTE) -> NoteKey:
        return NoteKey(name=name, public_key=self.private_key.public_key(), kind=kind)


LOG = SeededSigner(1)
LOG_KEY = LOG.note_key("leasehold.example/acme")
OTHER = SeededSigner(2)
OTHER_KEY = OTHER.note_key("leasehold.example/other")
WITNESS = SeededSigner(3)
WITNESS_NOTE_KEY = WITNESS.note_key("witness.example/w1", KeyKind.COSIGNATURE)


def signed(text: str = TEXT) -> Note:
    return Note(text=text, signatures=(sign(text, LOG_KEY, LOG),))


@pytest.mark.requirement("L12")
def test_checkpoint_of_the_go_checksum_database_verifies_with_its_published_key() -> None:
    verified = verify(parse(GO_CHECKPOINT), [parse_key(GO_KEY)])
    assert verified.text.startswith("go.sum database tree\n49189689\n")
    assert [endorsement.key.name for endorsement in verified.endorsements] == ["sum.golang.org"]


@pytest.mark.requirement("L12")
def test_real_checkpoint_verifies_under_its_log_and_its_witness_and_passes_over_the_rest() -> None:
    note = parse(COSIGNED_CHECKPOINT)
    verified = verify(note, [parse_key(WITNESS_KEY), parse_key(CT_LOG_KEY)])
    assert len(note.signatures) == 4
    assert [(endorsement.key.line(), endorsement.time_seconds) for endorsement in verified.endorsements] == [
        (CT_LOG_KEY, None),
        (WITNESS_KEY, 1779573024),
    ]


@given(TEXTS, st.lists(st.tuples(NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1)), min_size=1))
def test_note_reads_back_as_written(text: str, lines: list[tuple[str, bytes, bytes]]) -> None:
    note = Note(
        text=text,
        signatures=tuple(NoteSignature(name=name, key_id=key_id, value=value) for name, key_id, value in lines),
    )
    assert parse(note.encode()) == note
    assert parse(note.encode()).encode() == note.encode()


@given(TEXTS)
def test_signed_text_verifies_and_says_who_signed(text: str) -> None:
    verified = verify(parse(signed(text).encode()), [OTHER_KEY, LOG_KEY])
    assert verified.text == text
    assert [(item.key, item.time_seconds) for item in verified.endorsements] == [(LOG_KEY, None)]


@pytest.mark.case(97)
def test_flipping_any_bit_of_a_note_makes_it_fail() -> None:
    valid = signed().encode()
    for bit in range(len(valid) * 8):
        flipped = bytearray(valid)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            verify(parse(bytes(flipped)), [LOG_KEY])


def test_several_known_keys_are_all_reported_in_the_order_of_their_lines() -> None:
    note = signed().with_signature(sign(TEXT, OTHER_KEY, OTHER))
    endorsements = verify(note, [OTHER_KEY, LOG_KEY]).endorsements
    assert [endorsement.key for endorsement in endorsements] == [LOG_KEY, OTHER_KEY]


def test_note_that_only_strangers_signed_is_refused() -> None:
    with pytest.raises(VerificationError, match="none of the known keys"):
        verify(signed(), [OTHER_KEY])
    with pytest.raises(VerificationError, match="none of the known keys"):
        verify(signed(), [])


def test_key_of_the_same_name_but_another_id_is_a_stranger() -> None:
    with pytest.raises(VerificationError, match="none of the known keys"):
        verify(signed(), [OTHER.note_key(LOG_KEY.name)])


def test_one_false_signature_in_a_known_name_refuses_the_whole_note() -> None:
    false = NoteSignature(name=OTHER_KEY.name, key_id=OTHER_KEY.key_id, value=bytes(64))
    note = signed().with_signature(false)
    verify(note, [LOG_KEY])
    with pytest.raises(VerificationError, match="does not verify"):
        verify(note, [LOG_KEY, OTHER_KEY])


def test_signature_for_one_text_does_not_carry_over_to_another() -> None:
    moved = Note(text="another text\n", signatures=signed().signatures)
    with pytest.raises(VerificationError, match="does not verify"):
        verify(moved, [LOG_KEY])


def test_key_that_signs_twice_is_refused() -> None:
    note = signed()
    with pytest.raises(VerificationError, match="more than once"):
        verify(note.with_signature(note.signatures[0]), [LOG_KEY])


def test_two_known_keys_that_share_name_and_id_are_refused() -> None:
    one, other = SeededSigner(2286).note_key("log.example/1"), SeededSigner(9089).note_key("log.example/1")
    assert one.key_id == other.key_id
    with pytest.raises(InvalidError, match="give each one name"):
        verify(signed(), [one, other, LOG_KEY])
    verify(signed(), [LOG_KEY, LOG.note_key(LOG_KEY.name)])


@pytest.mark.case(98)
@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_cosignature_verifies_and_states_its_time(time_seconds: int) -> None:
    note = signed().with_signature(cosign(TEXT, WITNESS_NOTE_KEY, WITNESS, time_seconds))
    endorsements = verify(parse(note.encode()), [LOG_KEY, WITNESS_NOTE_KEY]).endorsements
    assert [endorsement.time_seconds for endorsement in endorsements] == [None, time_seconds]


@pytest.mark.case(98)
def test_time_of_a_cosignature_cannot_be_changed() -> None:
    cosignature = cosign(TEXT, WITNESS_NOTE_KEY, WITNESS, 1_778_068_800)
    later = (1_778_068_801).to_bytes(8, "big") + cosignature.value[8:]
    note = Note(text=TEXT, signatures=(NoteSignature(name=cosignature.name, key_id=cosignature.key_id, value=later),))
    with pytest.raises(VerificationError, match="does not verify"):
        verify(note, [WITNESS_NOTE_KEY])


@pytest.mark.case(9)
def test_one_key_pair_has_different_ids_for_notes_and_cosignatures() -> None:
    plain, timed = WITNESS.note_key("witness.example/w1"), WITNESS_NOTE_KEY
    assert plain.key_id != timed.key_id
    with pytest.raises(VerificationError, match="none of the known keys"):
        verify(Note(text=TEXT, signatures=(cosign(TEXT, timed, WITNESS, 1),)), [plain])
    with pytest.raises(InvalidError, match="not notes"):
        sign(TEXT, timed, WITNESS)
    with pytest.raises(InvalidError, match="not cosignatures"):
        cosign(TEXT, plain, WITNESS, 1)


@pytest.mark.parametrize("length", [1, 8, 63, 64, 65, 71, 73])
def test_signature_line_of_the_wrong_length_is_refused(length: int) -> None:
    for key in (LOG_KEY, WITNESS_NOTE_KEY):
        if (key.kind, length) != (KeyKind.NOTE, 64):
            note = Note(text=TEXT, signatures=(NoteSignature(name=key.name, key_id=key.key_id, value=bytes(length)),))
            with pytest.raises(VerificationError, match="kind of key"):
                verify(note, [key])


def test_cosignature_past_the_last_time_is_refused() -> None:
    value = (2**63).to_bytes(8, "big") + bytes(64)
    signature = NoteSignature(name=WITNESS_NOTE_KEY.name, key_id=WITNESS_NOTE_KEY.key_id, value=value)
    with pytest.raises(VerificationError, match="kind of key"):
        verify(Note(text=TEXT, signatures=(signature,)), [WITNESS_NOTE_KEY])


@pytest.mark.parametrize("time_seconds", [-1, 2**63])
def test_time_that_a_cosignature_cannot_state_is_refused(time_seconds: int) -> None:
    with pytest.raises(InvalidError, match="time"):
        cosign(TEXT, WITNESS_NOTE_KEY, WITNESS, time_seconds)


def test_signer_that_is_not_the_private_half_of_the_key_is_refused() -> None:
    with pytest.raises(InvalidError, match="private half"):
        sign(TEXT, LOG_KEY, OTHER)
    with pytest.raises(InvalidError, match="private half"):
        cosign(TEXT, WITNESS_NOTE_KEY, OTHER, 1)


@pytest.mark.parametrize("text", ["", "no newline", "carriage return\r\n", "tab\t\n", "nul\x00\n", "half \ud800\n"])
def test_text_that_is_not_the_text_of_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(InvalidError):
        sign(text, LOG_KEY, LOG)
    with pytest.raises(InvalidError):
        cosign(text, WITNESS_NOTE_KEY, WITNESS, 1)
    with pytest.raises(InvalidError):
        Note(text=text, signatures=signed().signatures)


@pytest.mark.parametrize("name", ["", "two words", "tab\there", "one+two", "wide\u3000space", "line\nbreak", "\udfff"])
def test_name_that_cannot_stand_in_a_signature_line_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="cannot name a key"):
        LOG.note_key(name)


@pytest.mark.parametrize("count", [0, MAX_SIGNATURES + 1])
def test_note_has_a_bounded_number_of_signatures(count: int) -> None:
    with pytest.raises(InvalidError):
        Note(text=TEXT, signatures=signed().signatures * count)


LINE = signed().signatures[0].line()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        f"text\n{LINE}\n".encode(),
        f"text\n\n{LINE}".encode(),
        f"text\n\n{LINE}\r\n".encode(),
        f"text\r\n\n{LINE}\n".encode(),
        f"text\x00\n\n{LINE}\n".encode(),
        f"text\n\n {LINE}\n".encode(),
        f"text\n\n{LINE} \n".encode(),
        f"text\n\n{LINE}=\n".encode(),
        f"text\n\n{LINE.replace(' ', '  ')}\n".encode(),
        f"text\n\n{LINE.replace('—', '-')}\n".encode(),
        f"text\n\n{LINE.replace('—', '–')}\n".encode(),
        f"text\n\n{LINE.replace('/acme', '+acme')}\n".encode(),
        f"text\n\n{LINE}\nmore text\n".encode(),
        "text\n\n— name\n".encode(),
        "text\n\n— name AAAAAA==\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— name AAAA-_8=\n".encode(),
        "text\n\n—  AAAAAAA=\n".encode(),
        "text\n\n— name é\n".encode(),
        b"text \xff\n\n" + f"{LINE}\n".encode(),
        b"text\n\n" + f"{LINE}\n".encode() * (MAX_SIGNATURES + 1),
        b"text\n\n" + f"{LINE}\n".encode() * (MAX_SIGNATURES + 2),
        b"a" * MAX_NOTE_BYTES + f"\n\n{LINE}\n".encode(),
    ],
)
def test_bytes_that_are_not_a_note_are_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        parse(data)


def test_note_with_the_most_signatures_is_read() -> None:
    note = Note(text=TEXT, signatures=signed().signatures * MAX_SIGNATURES)
    assert parse(note.encode()) == note


def test_witness_line_alone_can_be_read_and_added_to_a_note() -> None:
    line = cosign(TEXT, WITNESS_NOTE_KEY, WITNESS, 7).line()
    note = signed().with_signature(parse_signature(line))
    assert len(verify(note, [LOG_KEY, WITNESS_NOTE_KEY]).endorsements) == 2


@given(NAMES, st.sampled_from(KeyKind))
def test_key_line_reads_back_as_written(name: str, kind: KeyKind) -> None:
    key = LOG.note_key(name, kind)
    assert parse_key(key.line()) == key


@pytest.mark.parametrize(
    "line",
    [
        "",
        "sum.golang.org",
        "sum.golang.org+033de0ae",
        GO_KEY.replace("033de0ae", "033de0af"),
        GO_KEY.replace("033de0ae", "033DE0AE"),
        GO_KEY.replace("033de0ae", "33de0ae"),
        GO_KEY.replace("sum.", "sun."),
        GO_KEY.replace("+Ac", "+Ag"),
        GO_KEY[:-4],
        GO_KEY + "AAAA",
        GO_KEY + "\n",
        "+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "name+00000000+AQ==",
        "name+00000000+AQ",
        "name+00000000+",
    ],
)
def test_key_line_that_contradicts_itself_is_refused(line: str) -> None:
    with pytest.raises(InvalidError):
        parse_key(line)
