"""One spelling for one byte string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.token import base64url


@given(st.binary(max_size=200))
def test_what_was_encoded_decodes_to_the_same_bytes(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data)) == data


@pytest.mark.case(6)
@given(st.text(alphabet="ABab01-_+/=\n .é", max_size=12))
def test_a_text_is_accepted_only_if_it_is_what_its_bytes_encode_to(text: str) -> None:
    try:
        data = base64url.decode(text)
    except InvalidError:
        return
    assert base64url.encode(data) == text


@pytest.mark.case(6)
@pytest.mark.parametrize("text", ["QQ==", "QQ=", "QR", "QUJ", "+/8A", "QQ\n", "Q Q", "Q", "QQ=A", "é"])
def test_padding_spare_bits_foreign_characters_and_bad_lengths_are_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        base64url.decode(text)
