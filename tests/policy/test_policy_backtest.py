"""Past calls judged by a new policy: what would be different, by which rule, and what the record cannot tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from policy_worlds import EXAMPLE, NAMES, ROUTE, VALUES, changed, load, near_policies

from leasehold.model.effect import ApprovalMode
from leasehold.model.grant import ANY, Grant
from leasehold.policy.backtest import Backtest, Outcome, PastCall
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import check_call, check_start, need_for_call
from leasehold.policy.past_word import PastWord, Proven, Vouching

OLD = load(EXAMPLE)
SUPPORT = "support/close"
BEN, EVA = PastWord(person="user:ben"), PastWord(person="user:eva")
UPDATE = PastCall(
    index=7,
    is_admitted=True,
    route=SUPPORT,
    agent="support-bot",
    tenant="acme",
    environment="prod",
    action="ticket.update",
    attributes={"ticket": ("T-1",)},
    made_at=1_778_068_800,
    requested_by="user:ana",
)
CLOSE = replace(UPDATE, action="ticket.close", mode=ApprovalMode.CALL, quorum=1, words=(BEN,))
REFUSED = replace(UPDATE, is_admitted=False, attributes={"ticket": ("X-1",)})
MIGRATE = replace(
    UPDATE,
    route="db/migrate",
    agent="migrator",
    action="db.migrate",
    attributes={"version": ("0042",)},
    mode=ApprovalMode.CALL,
    quorum=2,
    words=(BEN, EVA),
)


def fate(call: PastCall, new: Policy, old: Policy = OLD) -> tuple[Outcome, str] | None:
    """What a new policy would make of one call, and why; None if the same."""
    backtest = Backtest(new)
    backtest.add(call, old)
    groups = backtest.groups()
    assert (backtest.calls, backtest.same) == (1, 0 if groups else 1)
    return (groups[0].now, groups[0].rule) if groups else None


def edit(old: str, new: str, text: str = EXAMPLE) -> Policy:
    """The example with one place changed."""
    return load(changed(old, new, text))


@pytest.mark.requirement("P7")
def test_the_same_policy_would_do_the_same() -> None:
    assert [fate(call, OLD) for call in (UPDATE, CLOSE, REFUSED, MIGRATE)] == [None] * 4


NARROWED = {
    "values": ('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["T-2"] }'),
    "audience": ('agents = ["support-bot"]', 'agents = ["other-bot"]'),
    "denied": ("run_ttl =", 'deny = ["ticket.*"]\nrun_ttl ='),
    "frozen": (
        "run_ttl =",
        "freeze = [{ from = 2026-05-06T00:00:00Z, until = 2026-05-07T00:00:00Z, reason = 'fair' }]\nrun_ttl =",
    ),
}
RULES = {
    "values": f'routes."{SUPPORT}".allow."ticket.update"',
    "audience": f'routes."{SUPPORT}".for.agents',
    "denied": f'routes."{SUPPORT}".deny',
    "frozen": f'routes."{SUPPORT}".freeze',
}


@pytest.mark.requirement("P7")
@pytest.mark.parametrize("name", NARROWED)
def test_what_passed_and_would_be_refused_is_told_with_the_rule(name: str) -> None:
    text = EXAMPLE.partition("[[tests]]")[0]
    new = edit(*NARROWED[name], text)
    assert fate(UPDATE, new) == (Outcome.DENIED, RULES[name])
    assert fate(REFUSED, new) is None


def test_a_route_or_an_action_that_is_gone_refuses() -> None:
    gone = replace(OLD, routes={name: route for name, route in OLD.routes.items() if name != SUPPORT})
    assert fate(UPDATE, gone) == (Outcome.DENIED, f'routes."{SUPPORT}" is gone')
    assert fate(UPDATE, replace(OLD, actions={})) == (Outcome.DENIED, "unknown_action")


@pytest.mark.requirement("P7")
def test_what_was_refused_and_would_pass_is_told_with_whether_people_have_to_agree() -> None:
    wide = edit('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["**"] }')
    assert fate(REFUSED, wide) == (Outcome.ALLOWED, f'routes."{SUPPORT}".allow."ticket.update"')
    asking = replace(wide, routes={SUPPORT: replace(wide.routes[SUPPORT], approve={})})
    assert fate(REFUSED, asking) == (Outcome.NEEDS_PEOPLE, "default for write: ticket.update")
    assert fate(replace(REFUSED, attributes={"ticket": ("T-1",)}), wide) is None


@pytest.mark.requirement("P7")
def test_more_other_or_fewer_people_are_told() -> None:
    strict = edit('approve."ticket.update" = "none"', 'approve."ticket.update" = "call"', EXAMPLE.partition("[[")[0])
    assert fate(UPDATE, strict) == (Outcome.NEEDS_PEOPLE, f'routes."{SUPPORT}".approve."ticket.update"')
    free = edit('approve."ticket.close" = "call"', 'approve."ticket.close" = "none"', EXAMPLE.partition("[[")[0])
    assert fate(CLOSE, free) == (Outcome.FEWER_PEOPLE, f'routes."{SUPPORT}".approve."ticket.close"')
    assert fate(MIGRATE, edit('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 3')) == (
        Outcome.NEEDS_PEOPLE,
        "default for destructive: db.migrate",
    )
    assert fate(MIGRATE, edit('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 1')) == (
        Outcome.FEWER_PEOPLE,
        "default for destructive: db.migrate",
    )
    others = edit('"user:eva" = ["dba", "operator"]', '"user:eva" = ["operator"]')
    assert fate(MIGRATE, others) == (Outcome.NEEDS_PEOPLE, "default for destructive: db.migrate")


ISSUER = "https://login.acme.example"
SIGN_IN = f"""
[sign_in.acme]
issuer = "{ISSUER}"
client_id = "leasehold"
person = "email"
groups = "groups"
roles = {{ leads = ["support-lead"], night = ["oncall"] }}
groups_for = "1h"
"""
MADE = UPDATE.made_at
LEADS = Proven(
    provider="acme", issuer=ISSUER, groups=frozenset({"leads"}), named=frozenset({"leads", "night"}), at=MADE - 120
)
KIM = PastWord(
    person="user:kim",
    vouching=Vouching.SESSION,
    said_at=MADE - 60,
    heard_at=MADE - 60,
    authenticated_at=MADE - 120,
    account=LEADS,
    proven_when_said=(LEADS,),
    proven_when_used=(LEADS,),
)
LATER = replace(LEADS, groups=frozenset({"night"}))
CHAT = replace(
    KIM, person="user:ben", vouching=Vouching.CHAT, account=None, channel="desk", speaker="T024BE7LH/U061F7AUR"
)
NOTICES = """
[notices.desk]
kind = "slack"
channel = "C024BE7LH"
events = ["request.waiting"]
tenants = ["*"]
console = "https://desk.example"
reviewers = { "T024BE7LH/U061F7AUR" = "user:ben" }
"""
HANGS = "whether those who agreed were in groups that [sign_in] names only now"
NEEDS = f'routes."{SUPPORT}".approve."ticket.close"'
GROUPS: dict[str, tuple[PastWord, tuple[str, str], tuple[Outcome, str] | None]] = {
    "a group as it was": (KIM, ("", ""), None),
    "no group any more": (KIM, ('leads = ["support-lead"]', 'leads = ["oncall"]'), (Outcome.NEEDS_PEOPLE, NEEDS)),
    "another group means the role": (KIM, ('night = ["oncall"]', 'night = ["support-lead"]'), None),
    "a group that was not named then": (
        KIM,
        ('leads = ["support-lead"]', 'chiefs = ["support-lead"]'),
        (Outcome.UNTOLD, HANGS),
    ),
    "for too short a time": (KIM, ('groups_for = "1h"', 'groups_for = "2m"'), (Outcome.NEEDS_PEOPLE, NEEDS)),
    "another issuer": (KIM, ("login.acme", "login.other"), (Outcome.NEEDS_PEOPLE, NEEDS)),
    "no provider at all": (KIM, (SIGN_IN, ""), (Outcome.NEEDS_PEOPLE, NEEDS)),
    "the role lost in between": (replace(KIM, proven_when_used=(LATER,)), ("", ""), (Outcome.NEEDS_PEOPLE, NEEDS)),
    "a role of its own by a provider that is gone": (
        replace(KIM, person="user:ben"),
        (SIGN_IN, ""),
        (Outcome.NEEDS_PEOPLE, NEEDS),
    ),
    "the same with a key": (BEN, (SIGN_IN, ""), None),
    "a key of somebody with a group": (replace(KIM, vouching=Vouching.KEY, account=None), ("", ""), None),
    "a user of a chat": (CHAT, ("", ""), None),
    "a user of a chat who is somebody else": (CHAT, ('= "user:ben"', '= "user:eva"'), (Outcome.NEEDS_PEOPLE, NEEDS)),
}


@pytest.mark.requirement("P7", "F3")
@pytest.mark.parametrize("name", GROUPS)
def test_a_word_counts_by_what_vouched_and_by_the_groups_that_were_proven_at_both_moments(name: str) -> None:
    word, (old, new), expected = GROUPS[name]
    text = EXAMPLE.replace("[[tests]]", f"{SIGN_IN}{NOTICES}\n[[tests]]")
    assert fate(replace(CLOSE, words=(word,)), edit(old, new, text), load(text)) == expected


@pytest.mark.requirement("P7")
@pytest.mark.parametrize(
    ("setting", "words", "counts"),
    [
        ("destructive_by_passkey = true", (BEN, EVA), False),
        (
            "destructive_by_passkey = true",
            (replace(BEN, vouching=Vouching.PASSKEY), replace(EVA, vouching=Vouching.PASSKEY)),
            True,
        ),
        ('destructive_sign_in_within = "1m"', (replace(KIM, person="user:ben"), EVA), True),
        ('destructive_sign_in_within = "30s"', (replace(KIM, person="user:ben"), EVA), False),
        ('destructive_sign_in_within = "30s"', (BEN, EVA), True),
        ('ttl = "5m"', (CHAT, EVA), False),
        ('ttl = "5m"', (BEN, replace(BEN, said_at=1)), False),
    ],
)
def test_approvals_of_what_is_destructive_are_judged_by_how_they_were_proven(
    setting: str, words: tuple[PastWord, ...], *, counts: bool
) -> None:
    text = EXAMPLE.replace("[[tests]]", f"{SIGN_IN}{NOTICES}\n[defaults]\n{setting}\n[[tests]]")
    expected = None if counts else (Outcome.NEEDS_PEOPLE, "default for destructive: db.migrate")
    assert fate(replace(MIGRATE, words=words), load(text)) == expected


def test_what_hangs_on_the_lease_is_told_as_far_as_its_mode_shows_it() -> None:
    """Deploys by effect: once for a lease of exact values, else for each call."""
    lenient = EXAMPLE.replace('approvers = ["release"]', 'approvers = ["release"]\nquorum = 1')
    deploy = replace(
        UPDATE,
        route="ci/deploy",
        agent="release-bot",
        environment="staging",
        action="deploy.prod.release:create",
        attributes={"service": ("payments-api",), "replicas": (3,)},
        mode=ApprovalMode.LEASE,
        quorum=1,
        words=(PastWord(person="user:ana"),),
    )
    name = "deploy.prod.release:create"
    each = load(changed('approvers = ["release"]', f'approve."{name}" = "call"\napprovers = ["release"]'))
    assert fate(deploy, load(lenient)) is None
    assert fate(deploy, each) == (Outcome.NEEDS_PEOPLE, f'routes."ci/deploy".approve."{name}"')
    spelled = load(changed('approvers = ["release"]', f'approve."{name}" = "lease"\napprovers = ["release"]'))
    assert fate(deploy, OLD, spelled) == (Outcome.UNTOLD, "whether its lease named exact values")
    assert fate(replace(deploy, mode=ApprovalMode.NONE, quorum=0), OLD, OLD) == (
        Outcome.NEEDS_PEOPLE,
        f"default for write: {name}",
    )


@pytest.mark.requirement("P7", "F6")
def test_what_the_record_cannot_tell_is_said_to_be_untold() -> None:
    moved = edit(
        '"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }',
        '"ticket.update" = { effect = "write", args = { ticket = "number" } }',
    )
    assert fate(UPDATE, moved) == (
        Outcome.UNTOLD,
        'actions."ticket.update".args: the values it reads now are not in the ledger',
    )
    assert fate(replace(REFUSED, attributes=None), OLD) == (Outcome.UNTOLD, "its values are not in the ledger")
    look = changed('"ticket.update" = {', '"ticket.look" = { effect = "read" }\n"ticket.update" = {')
    ordered = load(
        changed("run_ttl =", 'allow."ticket.look" = {}\nafter."ticket.update" = ["ticket.look"]\nrun_ttl =', look)
    )
    assert fate(UPDATE, ordered) == (Outcome.UNTOLD, "the order of calls in its run: ticket.look first")
    assert fate(UPDATE, ordered, ordered) is None


def test_a_child_is_judged_by_what_may_be_delegated_and_not_by_its_name() -> None:
    child = replace(UPDATE, agent="helper", depth=1)
    assert fate(child, OLD) is None
    assert fate(replace(child, depth=2), OLD) == (Outcome.DENIED, f'routes."{SUPPORT}".delegation')
    closer = edit('actions = ["ticket.update"] }', 'actions = ["ticket.close"] }')
    assert fate(child, closer) == (Outcome.DENIED, f'routes."{SUPPORT}".delegation')
    anybody = edit('agents = ["support-bot"]', 'agents = ["*"]')
    assert fate(child, anybody) is None


def test_calls_that_fare_alike_are_counted_with_the_first_few_as_examples() -> None:
    gone = replace(OLD, routes={})
    backtest = Backtest(gone)
    for index in range(5):
        backtest.add(replace(UPDATE, index=index), OLD)
    backtest.add(replace(CLOSE, index=9), OLD)
    backtest.add(REFUSED, OLD)
    assert [(group.count, group.examples, group.was) for group in backtest.groups()] == [
        (5, (0, 1, 2), "admitted"),
        (1, (9,), "admitted"),
    ]
    assert (backtest.calls, backtest.same) == (7, 1)


@pytest.mark.requirement("P7")
@given(st.data(), near_policies(), st.sampled_from(NAMES))
def test_what_is_told_is_what_both_policies_say(data: st.DataObject, pair: tuple[Policy, Policy], action: str) -> None:
    """A call that the old policy lets through as recorded fares as the new one judges it, with nobody asked anew."""
    old, new = pair
    values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=2).map(tuple)
    attributes = data.draw(st.fixed_dictionaries(dict.fromkeys(old.action(action).args, values)))
    lease = {action: Grant(action, dict.fromkeys(attributes, ANY))}
    start = {"agent": "bot", "tenant": "acme", "environment": "dev"}
    was = check_start(old, route=ROUTE, **start).is_allowed
    was = was and check_call(old, ROUTE, action, attributes, [(lease, ())]).is_allowed
    now = check_start(new, route=ROUTE, **start).is_allowed
    now = now and check_call(new, ROUTE, action, attributes, [(lease, ())]).is_allowed
    need = need_for_call(old, ROUTE, action, [lease])
    call = PastCall(
        index=0,
        is_admitted=was,
        route=ROUTE,
        action=action,
        attributes=attributes,
        made_at=0,
        mode=need.mode if was else ApprovalMode.NONE,
        quorum=need.quorum if was else 0,
        words=tuple(PastWord(person=f"user:{letter}") for letter in "ab"),
        **start,
    )
    told = fate(call, new, old)
    if told is not None and told[0] is Outcome.UNTOLD:
        return
    if was and not now:
        assert told is not None
        assert told[0] is Outcome.DENIED
    elif not was and now:
        assert told is not None
        assert told[0] in (Outcome.ALLOWED, Outcome.NEEDS_PEOPLE)
    elif not was:
        assert told is None
    else:
        assert told is None or told[0] in (Outcome.NEEDS_PEOPLE, Outcome.FEWER_PEOPLE)
