"""Accounts at a provider and the roles that their groups give, as steps decide them; guards taken away are missed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.authority.sign_ins import SignedIn
from leasehold.decide import approvals, voices
from leasehold.decide.facts import Facts, Ref
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.proven import as_proven, proven_roles
from leasehold.decide.provider_sign_ins import Account, SignInByProvider
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow
from leasehold.decide.sign_ins import MAX_SIGN_INS, BeginSession
from leasehold.decide.voices import encode_sign_ins, is_of_provider, sign_ins_of
from leasehold.errors import InvalidError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.model.proof import SignIn, SignInMethod
from leasehold.model.request import Verdict
from leasehold.policy.evaluate import is_entitled
from stage import AUDIT, BEN, EVA, POLICY, Stage, policy, reason_of

JOE = "user:joe"
ISSUER = "https://login.acme.example"
TABLE = f"""
[sign_in.acme]
issuer = "{ISSUER}"
client_id = "leasehold"
person = "name"
people = "groups"
groups = "groups"
roles = {{ leads = ["lead"], ops = ["operator", "lead"] }}
groups_for = "1h"
"""


@pytest.fixture
def desk() -> Stage:
    """A stage whose policy names a provider."""
    return Stage(POLICY + TABLE)


def come(stage: Stage, person: str = JOE, *groups: str, **changes: Any) -> SignedIn:
    """Sign somebody in whom the provider has proven."""
    account = Account(
        **{
            "provider": "acme",
            "issuer": ISSUER,
            "subject": f"sub-of-{person}",
            "person": person,
            "groups": groups,
            "authenticated_at": stage.system.now().seconds,
            **changes,
        }
    )
    return stage.authority.sign_ins.begin_by_provider(account, address="here")[1]


def ask(stage: Stage, step: object) -> object:
    return stage.authority.engine.ask(lambda _: step)  # type: ignore[arg-type, return-value]


def answer(stage: Stage, request: str, who: SignedIn) -> object:
    asked = stage.authority.find_request(request)
    return stage.desk.answer_signed_in(asked, Verdict.APPROVE, who, card_digest=asked.card_digest)


def test_an_account_says_whose_and_where_it_is() -> None:
    known = SignIn(
        sign_in="signin_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        method=SignInMethod.OIDC,
        added_at=1,
        provider="acme",
        issuer=ISSUER,
        subject="x",
    )
    for missing in ("provider", "issuer", "subject"):
        with pytest.raises(InvalidError):
            replace(known, **{missing: ""})


def test_who_comes_in_and_who_does_not(desk: Stage) -> None:
    assert come(desk, BEN).person == BEN
    assert reason_of(lambda: come(desk)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: come(desk, JOE, "others")) is Reason.NOT_ENTITLED
    assert come(desk, JOE, "leads").method is SignInMethod.OIDC
    assert come(desk).person == JOE  # known by now
    assert reason_of(lambda: come(desk, issuer=f"{ISSUER}/")) is Reason.NOT_SIGNED_IN
    assert reason_of(lambda: come(desk, provider="other")) is Reason.NOT_SIGNED_IN
    known = Stage(POLICY + TABLE.replace('people = "groups"', 'people = "known"'))
    assert reason_of(lambda: come(known, JOE, "leads")) is Reason.NOT_ENTITLED


def test_nobody_is_two_people_and_no_two_are_one(desk: Stage) -> None:
    come(desk, BEN)
    assert reason_of(lambda: come(desk, EVA, subject=f"sub-of-{BEN}")) is Reason.CONFLICT
    assert reason_of(lambda: come(desk, BEN, subject="another")) is Reason.CONFLICT
    assert len(desk.authority.sign_ins.of(BEN)) == 1
    assert come(desk, EVA, subject="another").person == EVA


def test_who_was_let_go_does_not_come_back(desk: Stage) -> None:
    come(desk, JOE, "leads")
    desk.desk.offboard(JOE, by="op", reason="left")
    assert reason_of(lambda: come(desk, JOE, "leads")) is Reason.NOT_SIGNED_IN
    assert desk.authority.sign_ins.roles_of(JOE) == ()


def test_ways_to_sign_in_are_bounded_and_an_account_alone_begins_no_session(desk: Stage) -> None:
    who = come(desk, BEN)
    refused = BeginSession(person=BEN, sign_in=who.sign_in, session="s", address="here")
    assert reason_of(lambda: ask(desk, refused)) is Reason.NOT_SIGNED_IN
    row = desk.authority.engine.row(PersonRow, AUTHORITY_WIDE, BEN)
    assert row is not None
    (known,) = sign_ins_of(row)
    many = tuple(
        SignIn(
            sign_in=desk.system.new_id("signin"),
            method=SignInMethod.PASSKEY,
            added_at=1,
            credential=str(number),
            public_key="x",
        )
        for number in range(MAX_SIGN_INS)
    )
    step = SignInByProvider(
        policy_document=policy(POLICY + TABLE),
        account=Account(
            provider="acme", issuer=ISSUER, subject=known.subject, person=BEN, groups=(), authenticated_at=1
        ),
        sign_in=desk.system.new_id("signin"),
        session="s",
        address="here",
    )
    facts = Facts(desk.authority.engine.store.queries.control())
    for need in step.keys():  # noqa: SIM118 - a step is no mapping
        assert isinstance(need, Ref)
        facts.load(need, None)
    facts.load(Ref(PersonRow, (AUTHORITY_WIDE, BEN)), replace(row, sign_ins=encode_sign_ins(many)))
    assert step.decide(facts, desk.system.now())[0].decision.reason is Reason.CONFLICT


def test_a_session_that_began_begins_no_second_time(desk: Stage) -> None:
    account = Account(
        provider="acme", issuer=ISSUER, subject="x", person=BEN, groups=(), authenticated_at=desk.system.now().seconds
    )
    active = desk.authority.engine.active_policy()
    sign_in = desk.system.new_id("signin")
    step = SignInByProvider(policy_document=active, account=account, sign_in=sign_in, session="s", address="here")
    ask(desk, step)
    assert reason_of(lambda: ask(desk, step)) is Reason.NOT_SIGNED_IN
    password = desk.authority.sign_ins.set_password(BEN, "$argon2id$x", by="op")
    again = BeginSession(person=BEN, sign_in=password, session="s", address="here")
    assert reason_of(lambda: ask(desk, again)) is Reason.NOT_SIGNED_IN


def test_a_sign_in_is_as_old_as_the_proof_and_ends_the_browsers_earlier_one(desk: Stage) -> None:
    now = desk.system.now().seconds
    assert come(desk, BEN, authenticated_at=now - 60).authenticated_at == now - 60
    assert come(desk, BEN, authenticated_at=now + 20).authenticated_at == now
    sign_ins = desk.authority.sign_ins
    first, _ = sign_ins.begin_by_provider(account_of(desk), address="here")
    second, _ = sign_ins.begin_by_provider(account_of(desk), address="here", ends=first)
    assert sign_ins.find(first) is None
    assert sign_ins.find(second) is not None
    entry = desk.entries(EntryKind.SIGNED_IN)[-1]
    assert (entry.detail["provider"], entry.detail["groups"]) == ("acme", ())


def account_of(stage: Stage) -> Account:
    return Account(
        provider="acme",
        issuer=ISSUER,
        subject=f"sub-of-{BEN}",
        person=BEN,
        groups=("others",),
        authenticated_at=stage.system.now().seconds,
    )


# what groups are worth


@pytest.mark.invariant("I4")
def test_an_approval_by_a_group_counts_while_the_group_does(desk: Stage) -> None:
    lease = desk.lease(AUDIT)
    request = desk.ask(lease, "ticket.audit")
    answer(desk, request, come(desk, JOE, "leads"))
    desk.pass_time(3600)
    desk.authority.finish(desk.start())  # time is what the ledger says it is
    assert desk.authority.sign_ins.roles_of(JOE) == ()
    assert desk.refusal(desk.lease(AUDIT), "ticket.audit") is Reason.APPROVAL_NEEDED


@pytest.mark.invariant("I4")
def test_an_approval_of_who_is_not_in_the_group_any_more_does_not_count(desk: Stage) -> None:
    lease = desk.lease(AUDIT)
    request = desk.ask(lease, "ticket.audit")
    answer(desk, request, come(desk, JOE, "leads"))
    come(desk, JOE)
    assert desk.refusal(lease, "ticket.audit") is Reason.APPROVAL_NEEDED


@pytest.mark.invariant("I4")
def test_an_approval_over_a_provider_that_the_policy_dropped_does_not_count(desk: Stage) -> None:
    lease = desk.lease(AUDIT)
    request = desk.ask(lease, "ticket.audit")
    answer(desk, request, come(desk, BEN))
    desk.accept(POLICY)
    assert desk.refusal(lease, "ticket.audit") is Reason.APPROVAL_NEEDED


def test_a_card_names_who_may_approve_by_a_group_and_nobody_else(desk: Stage) -> None:
    request = desk.authority.find_request(desk.ask(desk.lease(AUDIT), "ticket.audit"))
    before = desk.desk.footer(request).may_approve
    come(desk, JOE, "leads")
    assert set(desk.desk.footer(request).may_approve) == {*before, JOE}
    come(desk, JOE)
    assert desk.desk.footer(request).may_approve == before


@pytest.mark.invariant("I4")
def test_who_is_in_no_group_answers_nothing(desk: Stage) -> None:
    request = desk.ask(desk.lease(AUDIT), "ticket.audit")
    come(desk, JOE, "leads")
    assert reason_of(lambda: answer(desk, request, come(desk, JOE))) is Reason.NOT_ENTITLED


@pytest.mark.parametrize(
    ("place", "guard", "replacement", "test"),
    [
        (
            approvals,
            "as_proven",
            lambda document, row, now: replace(document, people={**document.people, JOE: ("lead",)}),
            test_an_approval_of_who_is_not_in_the_group_any_more_does_not_count,
        ),
        (
            voices,
            "is_of_provider",
            lambda *_: True,
            test_an_approval_over_a_provider_that_the_policy_dropped_does_not_count,
        ),
        (SignInByProvider, "_refuse_account", lambda *_: None, test_nobody_is_two_people_and_no_two_are_one),
        (SignInByProvider, "_refuse_row", lambda *_: None, test_who_was_let_go_does_not_come_back),
        (SignInByProvider, "_refuse_stranger", lambda *_: None, test_who_comes_in_and_who_does_not),
    ],
)
def test_guard_that_is_taken_away_is_missed(
    desk: Stage, monkeypatch: pytest.MonkeyPatch, place: object, guard: str, replacement: object, test: object
) -> None:
    monkeypatch.setattr(place, guard, replacement)
    with pytest.raises((AssertionError, ValueError)):
        test(desk)  # type: ignore[operator]


_TABLED = policy(POLICY + TABLE)


@given(
    groups=st.sets(st.sampled_from(["leads", "ops", "others"])),
    until=st.integers(0, 100),
    now=st.integers(0, 100),
    state=st.sampled_from(PersonState),
    issuer=st.sampled_from([ISSUER, f"{ISSUER}/"]),
    provider=st.sampled_from(["acme", "gone"]),
)
def test_a_role_by_a_group_is_held_exactly_while_all_of_it_holds(
    groups: set[str], until: int, now: int, state: PersonState, issuer: str, provider: str
) -> None:
    known = SignIn(
        sign_in="signin_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        method=SignInMethod.OIDC,
        added_at=1,
        provider=provider,
        issuer=issuer,
        subject="x",
        groups=tuple(sorted(groups)),
        groups_until=until,
    )
    row = PersonRow(tenant="", person=JOE, public_key=b"", state=state, recorded=1, sign_ins=encode_sign_ins((known,)))
    counts = state is PersonState.ACTIVE and now < until and (issuer, provider) == (ISSUER, "acme")
    held = set(proven_roles(_TABLED, row, Instant(now * 1000)))
    assert held == (
        {role for group in groups for role in _TABLED.sign_in["acme"].roles.get(group, ())} if counts else set()
    )
    seen = as_proven(_TABLED, row, Instant(now * 1000))
    assert is_entitled(seen, JOE, "desk", BEN) is ("lead" in held)
    assert seen.people.keys() - {JOE} == _TABLED.people.keys()
    assert {**seen.people, JOE: ()} == {**_TABLED.people, JOE: ()}
    assert is_of_provider(_TABLED, known) is ((issuer, provider) == (ISSUER, "acme"))


def test_of_nobody_nothing_is_proven() -> None:
    assert as_proven(_TABLED, None, Instant(0)) is _TABLED
    assert proven_roles(_TABLED, None, Instant(0)) == ()
