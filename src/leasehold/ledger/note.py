"""Signed notes (C2SP signed-note) and timestamped cosignatures over them (C2SP tlog-cosignature, `cosignature/v1`).

A note is text with signature lines below it. Checkpoints are notes; a witness adds its line to one. Called by
`leasehold.ledger.checkpoint` and, for the key lines they exchange, by the authority and witnesses. Signatures by
unknown keys are passed over, as the format demands; a false signature in a known key's name spoils the whole note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.signing import SIGNATURE_SIZE, Signer, decode_base64, encode_base64, is_signature

__all__ = [
    "MAX_NOTE_BYTES",
    "MAX_SIGNATURES",
    "Endorsement",
    "KeyKind",
    "Note",
    "NoteKey",
    "NoteSignature",
    "VerifiedNote",
    "cosign",
    "is_line",
    "parse",
    "parse_key",
    "parse_signature",
    "sign",
    "verify",
]

MAX_NOTE_BYTES = 1_048_576
MAX_SIGNATURES = 64

_DASH = "\u2014 "
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_MAX_TIME = 2**63 - 1
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class KeyKind(StrEnum):
    """What a key signs: the text of a note, or the text together with a time."""

    NOTE = "note"
    COSIGNATURE = "cosignature/v1"


_TYPE_BYTES = {KeyKind.NOTE: b"\x01", KeyKind.COSIGNATURE: b"\x04"}


class NoteKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public half of a key that signs notes, and the name it signs under.

    Attributes:
        name: not empty, without white space and plus signs; by custom a URL without its scheme.
        public_key: its Ed25519 public key.
        kind: what it signs.

    Raises:
        InvalidError: the name cannot stand in a signature line.
    """

    name: str
    public_key: Ed25519PublicKey
    kind: KeyKind = KeyKind.NOTE

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that stand before each of its signatures: a hint, not proof, of which key made it."""
        return sha256(self.name.encode() + b"\n" + self._material()).digest()[:_KEY_ID_BYTES]

    def line(self) -> str:
        """Return the one-line text form, `name+id+key`, that `parse_key` reads."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(self._material())}"

    def _material(self) -> bytes:
        return _TYPE_BYTES[self.kind] + self.public_key.public_bytes_raw()


class NoteSignature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature line, not yet verified.

    Attributes:
        name: the key's name, as claimed.
        key_id: 4 bytes, as claimed.
        value: what stands behind the id; for a cosignature 8 bytes of time and the signature.

    Raises:
        InvalidError: no signature line can hold these.
    """

    name: str
    key_id: bytes
    value: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key_id) != _KEY_ID_BYTES or not self.value:
            raise InvalidError(f"a signature has {_KEY_ID_BYTES} bytes of key id and at least one more")

    def line(self) -> str:
        """Return the signature line without its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.value)}"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A text and the signature lines below it. Nothing about it is proven: see `verify`.

    Attributes:
        text: what is signed: not empty, ends with a newline, no other control characters.
        signatures: at least one, in the order of their lines.

    Raises:
        InvalidError: no note can hold these.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise InvalidError(f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(self.signatures)}")

    def encode(self) -> bytes:
        """Return the bytes of the note: `parse` gives back an equal one."""
        return (self.text + "\n" + "".join(f"{signature.line()}\n" for signature in self.signatures)).encode()

    def with_signature(self, signature: NoteSignature) -> Note:
        """Return the note with one more line at its end, such as a witness's."""
        return Note(text=self.text, signatures=(*self.signatures, signature))


class Endorsement(msgspec.Struct, frozen=True, kw_only=True):
    """That a known key signed a note.

    Attributes:
        key: the key, as the caller gave it.
        time_seconds: the Unix time that a cosignature states; None for a plain signature, which states none.
    """

    key: NoteKey
    time_seconds: int | None


class VerifiedNote(msgspec.Struct, frozen=True, kw_only=True):
    """A text and the known keys that signed it, at least one. Only `verify` makes it."""

    text: str
    endorsements: tuple[Endorsement, ...]


def sign(text: str, key: NoteKey, signer: Signer) -> NoteSignature:
    """Return the signature of `key` under `text`; `signer` is its private half.

    Raises:
        InvalidError: this cannot be the text of a note, the key is for cosignatures, or the halves do not match.
    """
    _check_text(text)
    if key.kind is not KeyKind.NOTE:
        raise InvalidError(f"the key {key.name!r} signs cosignatures, not notes")
    return NoteSignature(name=key.name, key_id=key.key_id, value=_signed(text.encode(), key, signer))


def cosign(text: str, key: NoteKey, signer: Signer, time_seconds: int) -> NoteSignature:
    """Return a witness's signature: at `time_seconds` (Unix), this was the newest consistent checkpoint of its log.

    The name of the key is not signed, so one private key must never serve two witness names.

    Raises:
        InvalidError: this cannot be the text of a note, the time is negative or past 2**63 - 1, the key is not for
            cosignatures, or the halves do not match.
    """
    _check_text(text)
    if key.kind is not KeyKind.COSIGNATURE:
        raise InvalidError(f"the key {key.name!r} signs notes, not cosignatures")
    if not 0 <= time_seconds <= _MAX_TIME:
        raise InvalidError(f"{time_seconds} is not a time that a cosignature can state")
    signature = _signed(_cosigned(text, time_seconds), key, signer)
    value = time_seconds.to_bytes(_TIME_BYTES, "big") + signature
    return NoteSignature(name=key.name, key_id=key.key_id, value=value)


def parse(data: bytes) -> Note:
    """Return the note that these bytes spell, unverified.

    Raises:
        VerificationError: they are no note, or one that is too long.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise VerificationError(f"this note takes {len(data)} bytes; {MAX_NOTE_BYTES} are allowed")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise VerificationError("this note is not UTF-8") from None
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise VerificationError("a note is text, an empty line, and signature lines that each end with a newline")
    signatures = lines.split("\n", MAX_SIGNATURES + 1)[:-1]
    try:
        return Note(text=text + "\n", signatures=tuple(parse_signature(line) for line in signatures))
    except InvalidError as error:
        raise VerificationError(f"this is not a note: {error}") from None


def parse_signature(line: str) -> NoteSignature:
    """Return the signature that one line, without its newline, spells; unverified.

    Raises:
        VerificationError: it is not a signature line.
    """
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise VerificationError("a signature line is an em dash, a name and base64, with one space between each")
    data = decode_base64(encoded)
    try:
        return NoteSignature(name=name, key_id=data[:_KEY_ID_BYTES], value=data[_KEY_ID_BYTES:])
    except InvalidError as error:
        raise VerificationError(f"this is not a signature line: {error}") from None


def parse_key(line: str) -> NoteKey:
    """Return the key that an operator configured as `name+id+key` (C2SP signed-note, verifier keys).

    Raises:
        InvalidError: it is not such a line, of a kind that is not read here, or its parts contradict each other.
    """
    name, _, rest = line.partition("+")
    _, _, encoded = rest.partition("+")
    try:
        material = decode_base64(encoded)
        kind = next(kind for kind, type_byte in _TYPE_BYTES.items() if material.startswith(type_byte))
        key = NoteKey(name=name, public_key=Ed25519PublicKey.from_public_bytes(material[1:]), kind=kind)
    except (VerificationError, StopIteration, ValueError) as error:
        raise InvalidError("this is not a verifier key: write name+id+key, Ed25519, of type 01 or 04") from error
    if key.line() != line:
        raise InvalidError(
            f"the verifier key of {name!r} does not have the id {key.key_id.hex()} that its name and key make"
        )
    return key


def verify(note: Note, known: Iterable[NoteKey]) -> VerifiedNote:
    """Return what known keys say about the note. Keys are only ever taken from `known`, never from the note.

    Raises:
        VerificationError: no known key signed it, one signed it twice, or a signature in a known key's name is false.
        InvalidError: two of the known keys have the same name and id.
    """
    keys: dict[tuple[str, bytes], NoteKey] = {}
    for key in known:
        if keys.setdefault((key.name, key.key_id), key) != key:
            raise InvalidError(f"two known keys are called {key.name!r} with id {key.key_id.hex()}; give each one name")
    endorsements: dict[tuple[str, bytes], Endorsement] = {}
    for signature in note.signatures:
        claimed = (signature.name, signature.key_id)
        if claimed in endorsements:
            raise VerificationError(f"the key {signature.name!r} has signed this note more than once")
        if claimed in keys:
            endorsements[claimed] = _endorsement(note.text, signature, keys[claimed])
    if not endorsements:
        raise VerificationError("none of the known keys has signed this note; check which keys are trusted")
    return VerifiedNote(text=note.text, endorsements=tuple(endorsements.values()))


def is_line(text: str) -> bool:
    """Whether `text` can be one line of a note: not empty, valid Unicode, no newline or other control character."""
    return bool(text) and "\n" not in text and _is_note_text(text)


def _is_note_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not _CONTROL.search(text)


def _check_text(text: str) -> None:
    if not text.endswith("\n") or not _is_note_text(text):
        raise InvalidError("the text of a note ends with a newline and has no other control characters")


def _check_name(name: str) -> None:
    if not is_line(name) or "+" in name or any(character.isspace() for character in name):
        raise InvalidError(f"{name[:80]!r} cannot name a key: it must not be empty or hold white space or '+'")


def _signed(message: bytes, key: NoteKey, signer: Signer) -> bytes:
    signature = signer.sign(message)
    if not is_signature(signature, message, key.public_key):
        raise InvalidError(f"the signer {signer.keyid!r} is not the private half of the key {key.name!r}")
    return signature


def _cosigned(text: str, time_seconds: int) -> bytes:
    return f"cosignature/v1\ntime {time_seconds}\n{text}".encode()


def _endorsement(text: str, signature: NoteSignature, key: NoteKey) -> Endorsement:
    """Verify one signature line with the key that it claims."""
    time_seconds = None
    value, message = signature.value, text.encode()
    if key.kind is KeyKind.COSIGNATURE:
        time_seconds, value = int.from_bytes(value[:_TIME_BYTES], "big"), value[_TIME_BYTES:]
        message = _cosigned(text, time_seconds)
    if len(value) != SIGNATURE_SIZE or (time_seconds or 0) > _MAX_TIME:
        raise VerificationError(f"the signature line of {key.name!r} does not hold what its kind of key makes")
    if not is_signature(value, message, key.public_key):
        raise VerificationError(f"the signature of {key.name!r} does not verify: the note or the signature was altered")
    return Endorsement(key=key, time_seconds=time_seconds)
