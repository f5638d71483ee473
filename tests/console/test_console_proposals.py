"""Proposed policies on their pages, without a browser: what is shown, to whom, and which words do not count."""

from __future__ import annotations

import pytest

from forms import fields
from governed import NARROWER, governed, propose
from office import ANA, BEN, EVA, KIM, TEXT, Office
from served import Browser, Reply
from stage import changed, policy

TWO = governed(TEXT)
WIDER = changed(
    'allow."ticket.erase"  = { ticket = ["T-*"] }',
    'allow."ticket.erase"  = { ticket = ["**"] }',
    changed("calls = 20", "calls = 21", changed('answer_within = "10m"', 'answer_within = "9m"', TWO)),
)
WIDER += '\n[clients.gate]\ndoor = { tool = "ticket", environment = "prod" }\n'
PLACE = f"/policy/proposals/{policy(WIDER).hash}"


def proposed(office: Office, text: str = WIDER) -> str:
    office.stage.accept(TWO)
    propose(office.stage, text=text, replaces=TWO)
    return PLACE


def say(client: Browser, verdict: str, *, seen: Reply | None = None, place: str = PLACE, **more: str) -> Reply:
    """Fill the form of a proposal in and send it."""
    page = seen or client.get(place)
    return client.post(f"{place}/answer", {**fields(page, f"{place}/answer"), "verdict": verdict, **more})


def active(office: Office) -> str:
    return office.stage.authority.engine.active_policy().hash


@pytest.mark.requirement("P7")
def test_page_lists_exactly_what_becomes_possible_and_the_second_person_makes_it_so(office: Office) -> None:
    proposed(office)
    ben = office.signed_in(BEN)
    assert "1<span" in ben.get("/").text.partition('href="/policy"')[2][:60]
    assert "1 policy waits" in ben.get("/policy").text
    assert PLACE in ben.get("/policy/proposals").text
    page = ben.get(PLACE)
    for words in (
        "Can be done that could not",
        "desk ticket.erase (destructive): ticket [&#34;T-*&#34;] -&gt; [&#34;**&#34;], for agents bot",
        "Programs may do more over the network",
        "client gate: stands at the door of ticket in prod for every tenant",
        "More, or for longer",
        "desk budget.calls: 20 becomes 21",
        "widens nothing",
        "desk answer_within: ",
        EVA,
        policy(TWO).hash,
    ):
        assert words in page.text, words
    assert page.text.count("-&gt; [&#34;**&#34;]") == 1
    assert page.text.index('value="deny" checked') < page.text.index('value="approve"')
    office.stage.pass_time(3)
    assert say(ben, "approve", seen=page).status == 303
    assert active(office) == policy(WIDER).hash
    assert "confirmed" in ben.get(PLACE).text
    assert "No policy waits" in ben.get("/policy/proposals").text


@pytest.mark.requirement("P7")
def test_second_person_refuses_and_the_proposer_takes_back(office: Office) -> None:
    proposed(office)
    assert say(office.signed_in(BEN), "deny").status == 303
    assert "refused" in office.signed_in(EVA).get(PLACE).text
    propose(office.stage, text=WIDER, replaces=TWO)
    eva = office.signed_in(EVA)
    page = eva.get(PLACE)
    assert "Take it back" in page.text
    assert "another person has to confirm" in page.text
    assert 'value="approve"' not in page.text
    assert say(eva, "approve", seen=page).status == 403
    assert say(eva, "deny", seen=page).status == 303
    assert active(office) == policy(TWO).hash


@pytest.mark.requirement("P7")
def test_hasty_and_stale_confirmations_are_not_taken(office: Office) -> None:
    proposed(office)
    ben = office.signed_in(BEN)
    page = ben.get(PLACE)
    hasty = say(ben, "approve", seen=page)
    assert (hasty.status, "That was quick" in hasty.text) == (409, True)
    office.stage.pass_time(301)
    old = say(ben, "approve", seen=page)
    assert (old.status, "sign-in of the last 300 s" in old.text) == (403, True)
    assert "sign in once more" in ben.get(PLACE).text
    assert active(office) == policy(TWO).hash


@pytest.mark.case(79)
def test_state_that_changed_while_looking_is_shown_and_confirms_nothing(office: Office) -> None:
    proposed(office)
    ben = office.signed_in(BEN)
    page = ben.get(PLACE)
    office.stage.accept(NARROWER)
    office.stage.pass_time(3)
    late = say(ben, "approve", seen=page)
    assert late.status == 409
    assert "another policy became active" in late.text
    assert active(office) == policy(NARROWER).hash
    assert "overtaken" in ben.get("/policy/proposals").text


@pytest.mark.case(79, 114)
def test_token_is_bound_to_both_policies_and_to_what_was_listed(office: Office) -> None:
    proposed(office)
    ben = office.signed_in(BEN)
    page = ben.get(PLACE)
    office.stage.pass_time(3)
    other = policy(NARROWER).hash
    for change in (
        {"replaces": other},
        {"widening": other},
        {"proposal": "prop_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
        {"token": ""},
    ):
        assert say(ben, "approve", seen=page, **change).status == 403
    elsewhere = ben.post(f"/policy/proposals/{other}/answer", {**fields(page, f"{PLACE}/answer"), "verdict": "approve"})
    assert elsewhere.status == 403
    assert say(ben, "perhaps", seen=page).status == 400
    assert say(ben, "approve", seen=page, credential="{}").status == 400
    assert active(office) == policy(TWO).hash


@pytest.mark.case(57)
def test_those_without_a_say_find_no_proposals(office: Office) -> None:
    proposed(office)
    for person in (ANA, KIM):
        client = office.signed_in(person)
        assert client.get(PLACE).status == 404
        assert client.get(f"/events{PLACE}").status == 404
        assert "No policy waits" in client.get("/policy/proposals").text
        assert "/policy/proposals" not in client.get("/policy").text
    assert office.signed_in(BEN).get("/policy/proposals/sha256:0").status == 404


def test_proposal_that_was_not_answered_in_time_says_so_and_has_no_form(office: Office) -> None:
    proposed(office)
    late = office.signed_in(BEN)
    office.stage.pass_time(3 * 86_400)
    assert late.get(PLACE).status == 303  # the session is long over
    page = office.signed_in(BEN).get(PLACE)
    assert "expired" in page.text
    assert '<form class="decide"' not in page.text
