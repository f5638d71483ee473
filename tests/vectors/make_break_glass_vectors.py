"""Writes the numbered break-glass vectors. Run by hand when the format grows; a test compares it with the files."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from leasehold.model import canonical
from leasehold.model.glass import GlassId, Opening, Skippable
from leasehold.token import base64url
from leasehold.token.glass import GLASS_PREFIXES, GlassToken, opening_bytes, sign_opening
from leasehold.token.keys import PublicKey, SigningKey

FOLDER = Path(__file__).parent / "break_glass"
ANA = SigningKey.generate(bytes(range(32)))
BEN = SigningKey.generate(bytes(range(32, 64)))
OPENING = Opening(
    glass_id=GlassId("glass_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    opener="user:ana",
    second="user:ben",
    tenant="acme",
    environment="prod",
    route="support/close",
    actions=("ticket.close", "ticket.update"),
    skips=(Skippable.APPROVE, Skippable.HOURS),
    minutes=10,
    reason="the queue is on fire and nobody who may approve answers",
    opened_at=1_778_068_800,
)
TOKEN = GlassToken(opening=OPENING, signature=sign_opening(OPENING, ANA), second_signature=sign_opening(OPENING, BEN))


def vectors() -> dict[str, dict[str, object]]:
    """Every vector by the name of its file."""
    lease = (Path(__file__).parent / "token" / "001-plain.json").read_text(encoding="ascii")
    listed = [
        ("two-people", "two people opened it", str(TOKEN), "accept"),
        ("swapped-signatures", "each signs for themselves", _with(TOKEN.second_signature, TOKEN.signature), "unsigned"),
        ("one-key", "one key is not two people", _with(TOKEN.signature, TOKEN.signature), "unsigned"),
        ("answer-mark", "the signature of another kind of document counts for nothing", _as_answer(), "unsigned"),
        ("other-reason", "nothing of it can be changed", _changed({"reason": "another"}), "unsigned"),
        ("alone", "nobody confirms their own", _changed({"second": "user:ana"}), "claims"),
        ("sixteen-minutes", "it lasts fifteen minutes at most", _changed({"minutes": 16}), "claims"),
        ("true-minutes", "true is not 1", _changed({"minutes": True}), "claims"),
        ("no-action", "it is for something", _changed({"actions": []}), "claims"),
        (
            "unsorted",
            "one opening has one spelling",
            _changed({"actions": ["ticket.update", "ticket.close"]}),
            "claims",
        ),
        ("unknown-skip", "no other rule can be skipped", _changed({"skips": ["budget"]}), "claims"),
        ("unknown-member", "an unknown member is refused", _changed({"scope": "all"}), "claims"),
        ("not-canonical", "it is written in one way", _respelled(), "claims"),
        ("padding", "there is one accepted encoding", f"{TOKEN}=", "encoding"),
        ("short-signature", "a signature has 64 bytes", str(TOKEN)[:-4], "encoding"),
        ("three-parts", "both signatures belong to it", str(TOKEN).rpartition(".")[0], "shape"),
        ("a-lease", "a lease is no break-glass", str(json.loads(lease)["token"]), "type"),
        ("no-mark", "the opening says what it is", _body(opening_bytes(OPENING).partition(b"\n")[2]), "type"),
        ("too-long", "nobody reads what is too long", f"{TOKEN}{'A' * 65_536}", "size"),
    ]
    return {
        f"{number:03d}-{name}.json": {
            "says": says,
            "token": text,
            "opener_key": base64url.encode(ANA.public().to_bytes()),
            "second_key": base64url.encode(BEN.public().to_bytes()),
            "expect": expect,
            "opening": msgspec.to_builtins(OPENING) if expect == "accept" else None,
        }
        for number, (name, says, text, expect) in enumerate(listed, 1)
    }


def _with(signature: str, second: str) -> str:
    return str(GlassToken(opening=OPENING, signature=signature, second_signature=second))


def _as_answer() -> str:
    """Ana's signature over the same members behind the mark of an answer."""
    body = b"leasehold answer v1\n" + canonical.encode(msgspec.to_builtins(OPENING))
    return _with(base64url.encode(ANA.sign(body)), TOKEN.second_signature)


def _body(raw: bytes) -> str:
    return f"{GLASS_PREFIXES[0]}{base64url.encode(raw)}.{TOKEN.signature}.{TOKEN.second_signature}"


def _changed(members: dict[str, object]) -> str:
    mark, _, body = opening_bytes(OPENING).partition(b"\n")
    changed = {**json.loads(body), **members}
    return _body(mark + b"\n" + json.dumps(changed, sort_keys=True, separators=(",", ":")).encode())


def _respelled() -> str:
    mark, _, body = opening_bytes(OPENING).partition(b"\n")
    return _body(mark + b"\n" + json.dumps(json.loads(body), sort_keys=True).encode())


def text_of(members: dict[str, object]) -> str:
    """The text of one file."""
    return json.dumps(members, indent=2, sort_keys=True) + "\n"


def public_key(text: str) -> PublicKey:
    """A person's key as the vectors write it."""
    return PublicKey.from_bytes(base64url.decode(text))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, members in vectors().items():
        (FOLDER / name).write_text(text_of(members), encoding="ascii")
