"""Ids are taken whole and exact."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError
from leasehold.model.ids import check_id

ULID = "01JZ8Q5X0M3V7K2N9B4C6D8E0F"


def test_an_id_is_its_prefix_and_a_ulid() -> None:
    assert check_id(f"run_{ULID}", "run") == f"run_{ULID}"


@pytest.mark.case(28, 29)
@pytest.mark.parametrize(
    "text",
    ["", ULID, f"lease_{ULID}", f"run-{ULID}", f"RUN_{ULID}", f"run_{ULID.lower()}", f"run_{ULID}\n", f" run_{ULID}",
     f"run_{ULID[:-1]}", f"run_{ULID}0", f"run_{ULID[:-1]}I", f"run_{ULID[:-1]}０", f"run_{ULID}'; --", None, 7],
)  # fmt: skip
def test_what_is_no_such_id_is_refused(text: object) -> None:
    with pytest.raises(InvalidError, match="is no run id"):
        check_id(text, "run")


def test_an_id_of_a_request_is_called_so_in_words() -> None:
    with pytest.raises(InvalidError, match="is no request id; one looks like req_"):
        check_id("T-1", "req")
