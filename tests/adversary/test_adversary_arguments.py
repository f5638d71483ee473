"""Attributes that look like others, lead elsewhere, or hold patterns: whatever cannot be read exactly never passes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.grant import check_attributes, parse_constraint
from leasehold.model.lease import HeldLease
from leasehold.testing.clock import FrozenSystem
from stage import GET, UPDATE, Stage, reason_of

pytestmark = pytest.mark.requirement("L9", "P1")

REFUSED = (Reason.BAD_ATTRIBUTE, Reason.OUT_OF_RANGE)
MAIL = {"mail.list": {"folder": ["in/**"]}}


@pytest.fixture
def exact(stage: Stage) -> HeldLease:
    return stage.lease({"ticket.get": {"ticket": ["T-1"]}})


@pytest.mark.case(19, 26, 27, 28, 29)
@pytest.mark.parametrize(
    "ticket",
    [
        "t-1",
        "T-1\n",
        "T-1\0",
        " T-1",
        "T-1\u200b",
        "T\u2010" + "1",
        "\u0422-1",  # Cyrillic
        "T-\uff11",  # full-width digit
        "T-1\ufe0f",
        "T-\u0661",  # Arabic-Indic digit
        "T-1\u202e",
        "T-01",
        "T-1.0",
    ],
)
def test_a_name_that_looks_like_an_allowed_one_is_another_name(stage: Stage, exact: HeldLease, ticket: str) -> None:
    if "\0" in ticket:
        with pytest.raises(InvalidError, match="NUL"):
            stage.call("ticket.get", ticket)
        return
    assert stage.refusal(exact, "ticket.get", ticket) in REFUSED
    assert stage.entries(EntryKind.CALL_ADMITTED) == []


@pytest.mark.case(19)
def test_the_same_name_decomposed_is_refused_and_not_mended(stage: Stage) -> None:
    lease = stage.lease(MAIL)
    composed = "in/caf\u00e9"
    assert stage.admit(lease, "mail.list", folder=composed)
    assert stage.refusal(lease, "mail.list", folder=unicodedata.normalize("NFD", composed)) is Reason.BAD_ATTRIBUTE


@pytest.mark.case(24, 25)
@pytest.mark.parametrize(
    "folder",
    [
        "in",
        "inbox",
        "in/",
        "in//a",
        "in/../out",
        "in/.",
        "in/a/..",
        "/in/a",
        "in\\a",
        "in/%2e%2e/a",
        "in/%252e/a",
        "in/a%2fb",
        "in/a;x=1",
        "in/\uff0e\uff0e/a\u2044b\u200d",
        "../in/a",
    ],
)
def test_a_path_leads_nowhere_but_below_what_was_granted(stage: Stage, folder: str) -> None:
    lease = stage.lease(MAIL)
    assert stage.refusal(lease, "mail.list", folder=folder) in REFUSED
    assert stage.admit(lease, "mail.list", folder="in/a/b").grant.covers({"folder": ("in/a/b",)})


@pytest.mark.case(30)
@pytest.mark.parametrize("ticket", ["*", "T-*", "T-1*", "**", "in/**", "T-?", "T-[1]", "T-1,T-2", "T-1|T-2", ".*"])
def test_a_pattern_in_a_value_is_a_value_or_refused(stage: Stage, ticket: str) -> None:
    lease = stage.lease(GET)
    if "*" in ticket or not ticket.startswith("T-"):
        assert stage.refusal(lease, "ticket.get", ticket) in REFUSED
    else:
        assert stage.admit(lease, "ticket.get", ticket).grant.covers({"ticket": (ticket,)})
        assert stage.refusal(stage.lease({"ticket.get": {"ticket": ["T-1"]}}), "ticket.get", ticket) in REFUSED


@pytest.mark.case(28)
@pytest.mark.parametrize("action", ["ticket.Get", "Ticket.get", "ticket.get_all", "ticket.ge"])
def test_an_action_is_known_only_letter_by_letter(stage: Stage, action: str) -> None:
    lease = stage.lease(GET)
    told = reason_of(lambda: stage.door().admit(lease.token_for("ticket"), stage.call(action)))
    assert told in (Reason.UNKNOWN_ACTION, Reason.WRONG_TOOL)


@pytest.mark.case(15)
@pytest.mark.parametrize("value", [1, 1.5, True, False, "1", [1]])
def test_types_never_mix(stage: Stage, value: object) -> None:
    lease = stage.lease({"ticket.get": {"ticket": ["T-1"]}})
    assert stage.refusal(lease, "ticket.get", value) in REFUSED


@pytest.mark.case(17, 18)
def test_order_of_members_does_not_matter_and_everything_else_does(stage: Stage) -> None:
    lease = stage.lease()
    first = stage.admit(lease, "ticket.update", key="a", ticket_id="T-1", note="x")
    again = stage.admit(lease, "ticket.update", key="a", note="x", ticket_id="T-1", admission_id=first.admission_id)
    assert again.arguments_digest == first.arguments_digest
    for other in ({"note": "y"}, {"note": "x", "more": None}, {"note": ["x"]}, {}):
        assert stage.refusal(lease, "ticket.update", key="a", ticket_id="T-1", **other) is Reason.CONFLICT


@pytest.mark.case(101, 102)
def test_argument_values_stand_nowhere_in_the_ledger_and_their_digests_are_keyed(stage: Stage) -> None:
    canary = "canary-7f3a"
    lease = stage.lease(UPDATE)
    stage.use(lease, "ticket.update", key="a", ticket_id="T-1", password=canary)
    stage.refusal(lease, "ticket.update", key="b", ticket_id="X-1", password=canary)
    assert canary not in repr(stage.entries())
    other = Stage(system=FrozenSystem(seed=5))
    other.use(other.lease(UPDATE), "ticket.update", key="a", ticket_id="T-1", password=canary)
    ours, theirs = (each.entries(EntryKind.CALL_ADMITTED)[0].arguments_digest for each in (stage, other))
    assert ours != theirs  # who does not have the key cannot try values
    other.close()


SCALARS = st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from(["a", "a/b", "b", "1", "1.5"]))
CONSTRAINTS = st.one_of(
    st.lists(st.one_of(SCALARS, st.sampled_from(["a*", "a/**", "**"])), min_size=1, max_size=3),
    st.fixed_dictionaries({"max": st.integers(-3, 3)}),
    st.fixed_dictionaries({"max_length": st.integers(1, 4)}),
    st.fixed_dictionaries({"min": st.sampled_from(["-1", "0.5"]), "max": st.sampled_from(["1", "2.5"])}),
)


@pytest.mark.case(36, 41)
@given(CONSTRAINTS, CONSTRAINTS, SCALARS)
def test_containment_always_has_an_answer_and_it_is_never_too_generous(one: object, two: object, value: object) -> None:
    try:
        narrow, wide = parse_constraint(one), parse_constraint(two)
    except InvalidError:
        return
    if narrow.within(wide) and narrow.covers(value):
        assert wide.covers(value)
    assert check_attributes({"x": value}) == {"x": (value,)}
