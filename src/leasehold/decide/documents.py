"""Immutable documents as the store keeps them. Written by steps; read by the authority before it builds one."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from leasehold.errors import StoreError
from leasehold.model.call import Admission
from leasehold.model.lease import Lease
from leasehold.model.request import Request
from leasehold.model.run import Run

__all__ = ["decode_admission", "decode_lease", "decode_request", "decode_run", "encode_document"]

D = TypeVar("D")

_RUN = msgspec.json.Decoder(Run)
_REQUEST = msgspec.json.Decoder(Request)
_LEASE = msgspec.json.Decoder(Lease)
_ADMISSION = msgspec.json.Decoder(Admission)


def encode_document(document: Run | Request | Lease | Admission) -> bytes:
    """The stored bytes of a document."""
    return msgspec.json.encode(document)


def decode_run(body: bytes) -> Run:
    """A stored run.

    Raises:
        StoreError: the bytes are damaged.
    """
    return _decode(_RUN, body, "run")


def decode_request(body: bytes) -> Request:
    """A stored request.

    Raises:
        StoreError: the bytes are damaged.
    """
    return _decode(_REQUEST, body, "request")


def decode_lease(body: bytes) -> Lease:
    """A stored lease.

    Raises:
        StoreError: the bytes are damaged.
    """
    return _decode(_LEASE, body, "lease")


def decode_admission(body: bytes) -> Admission:
    """A stored admission.

    Raises:
        StoreError: the bytes are damaged.
    """
    return _decode(_ADMISSION, body, "admission")


def _decode(decoder: msgspec.json.Decoder[D], body: bytes, what: str) -> D:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(
            f"a stored {what} is damaged ({error}); it is refused, the rest goes on. Run: leasehold db check"
        ) from None
