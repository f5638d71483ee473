"""Verify a receipt without Leasehold: `python verify_receipt.py receipt.json authority.pub`, with `cryptography` alone.

Written from the published formats, not from our code: DSSE, in-toto Statement v1, C2SP signed notes, RFC 6962 proofs.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def read_receipt(receipt: bytes, keys: dict[str, Any]) -> dict[str, Any]:
    """The statement of a receipt, once one of the authority's keys for receipts is seen to have signed it (DSSE)."""
    envelope = json.loads(receipt)
    payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    known = {key["kid"]: base64.urlsafe_b64decode(key["x"] + "=") for key in keys["receipt"]["keys"]}
    for signature in envelope["signatures"]:
        if signature["keyid"] in known:
            key = Ed25519PublicKey.from_public_bytes(known[signature["keyid"]])
            key.verify(base64.b64decode(signature["sig"]), signed)
            statement: dict[str, Any] = json.loads(payload)
            return statement
    raise ValueError("no key of this authority signed this receipt")


def read_head(note: str, keys: dict[str, Any]) -> tuple[int, bytes]:
    """The size and root of the ledger in a signed note, once the ledger's key is seen to have signed it."""
    text, lines = note.split("\n\n")
    known = {}
    for line in keys["log"]:
        name, key_hash, key = line.split("+", 2)  # the key itself may hold more of them
        known[name, bytes.fromhex(key_hash)] = base64.b64decode(key)[1:]
    for line in lines.splitlines():
        name, _, encoded = line.removeprefix("\u2014 ").rpartition(" ")
        signature = base64.b64decode(encoded)
        if (name, signature[:4]) in known:
            Ed25519PublicKey.from_public_bytes(known[name, signature[:4]]).verify(signature[4:], f"{text}\n".encode())
            origin, size, root = text.splitlines()[:3]
            if origin == name:
                return int(size), base64.b64decode(root)
    raise ValueError("the ledger's key did not sign this head")


def root_of(body: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, 2.1.3.2)."""
    found = hashlib.sha256(b"\x00" + body).digest()
    first, last = index, size - 1
    for step in proof:
        if first % 2 or first == last:
            found = hashlib.sha256(b"\x01" + step + found).digest()
            while first and not first % 2:
                first, last = first // 2, last // 2
        else:
            found = hashlib.sha256(b"\x01" + found + step).digest()
        first, last = first // 2, last // 2
    if last:
        raise ValueError(f"the proof of entry {index} is of another length")
    return found


def verify(receipt: bytes, public_keys: bytes) -> list[dict[str, Any]]:
    """The entries of the run that a receipt is about, each proven to be in the signed ledger."""
    keys = json.loads(public_keys)
    ledger = read_receipt(receipt, keys)["predicate"]["ledger"]
    size, root = read_head(ledger["checkpoint"], keys)
    for entry in ledger["entries"]:
        proof = [base64.b64decode(step) for step in entry["proof"]]
        if not entry["index"] < size or root_of(entry["body"].encode(), entry["index"], size, proof) != root:
            raise ValueError(f"entry {entry['index']} is not in the ledger")
    return [json.loads(entry["body"]) for entry in ledger["entries"]]


if __name__ == "__main__":
    try:
        entries = verify(*(Path(name).read_bytes() for name in sys.argv[1:3]))
    except (ValueError, KeyError, TypeError, OSError, InvalidSignature) as error:
        sys.exit(f"NOT VERIFIED: {error!r}")
    for entry in entries:
        print(entry["index"], entry["kind"], entry.get("action", ""), entry.get("reason", ""))
