"""Keyed digests: per tenant, per kind, and the same for everyone who holds the key."""

from __future__ import annotations

import hashlib
import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.token.digest import Digester, check_digest, derive_purpose_key, derive_tenant_key, sha256_digest

MASTER = bytes(range(32))
KINDS = ["arguments", "call", "card", "result"]


@pytest.mark.case(102)
def test_a_digest_differs_by_tenant_by_kind_and_by_bytes() -> None:
    digests = [
        Digester(derive_tenant_key(MASTER, tenant)).digest(kind, data)
        for tenant, kind, data in itertools.product(["acme", "globex"], KINDS, [b"{}", b"[]", b""])
    ]
    assert len(set(digests)) == len(digests)
    assert all(check_digest(digest) == digest for digest in digests)


@pytest.mark.case(102)
@given(data=st.binary(max_size=50))
def test_a_keyed_digest_cannot_be_found_without_the_key(data: bytes) -> None:
    digest = Digester(derive_tenant_key(MASTER, "acme")).digest("arguments", data)
    assert digest == Digester(derive_tenant_key(MASTER, "acme")).digest("arguments", data)
    assert digest != Digester(derive_tenant_key(bytes(32), "acme")).digest("arguments", data)
    assert digest.removeprefix("hmac-") != sha256_digest(data)


def test_the_construction_is_hmac_and_hkdf_of_the_standard() -> None:
    info = b"leasehold digest v1 tenant\0acme"
    extracted = hmac.digest(bytes(32), MASTER, "sha256")
    key = hmac.digest(extracted, info + b"\x01", "sha256")
    assert derive_tenant_key(MASTER, "acme") == key
    expected = hmac.digest(key, b"leasehold digest v1\0call\0{}", "sha256").hex()
    assert Digester(key).digest("call", b"{}") == f"hmac-sha256:{expected}"


def test_a_public_digest_is_plain_sha_256() -> None:
    assert sha256_digest(b"abc") == "sha256:" + hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("kind", ["", "Call", "a\0b", "call ", "call\n", "x" * 33, "1"])
def test_a_kind_is_one_lower_case_word(kind: str) -> None:
    with pytest.raises(InvalidError, match="kind"):
        Digester(bytes(32)).digest(kind, b"")


def test_keys_of_the_wrong_size_and_tenants_without_name_are_refused() -> None:
    for key in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidError):
            Digester(key)
    for master, tenant in ((bytes(31), "acme"), (MASTER, "")):
        with pytest.raises(InvalidError):
            derive_tenant_key(master, tenant)


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 64, "sha256:" + "0" * 64 + "\n"])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="card digest"):
        check_digest(text, "card digest")


def test_the_key_does_not_show() -> None:
    assert repr(Digester(MASTER)) == "Digester()"


def test_each_purpose_of_the_authority_has_a_key_that_is_no_tenants() -> None:
    master = bytes(range(32))
    keys = {derive_purpose_key(master, "dpop"), derive_purpose_key(master, "code"), derive_tenant_key(master, "dpop")}
    assert len(keys) == 3
    for wrong in ((b"short", "dpop"), (master, "")):
        with pytest.raises(InvalidError):
            derive_purpose_key(*wrong)
