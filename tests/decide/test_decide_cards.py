"""What a person is shown: constraints in words, headlines from the operator's template, secrets named and not shown."""

from __future__ import annotations

import pytest

from leasehold.decide.cards import describe_constraint
from leasehold.model.card import Card
from leasehold.model.grant import parse_constraint
from stage import Stage, changed

pytestmark = pytest.mark.requirement("L10", "P10")

RULE = '"ticket.erase"   = { effect = "destructive", args = { ticket = "ticket_id" } }'
WITH_WORDS = RULE.replace(
    "} }", '}, headline = "Erase {ticket_id} for {why}, {{really}}", redact = ["why"], undo = "none" }'
)


def _card(stage: Stage, **arguments: object) -> Card:
    lease = stage.lease({"ticket.erase": {"ticket": ["T-*"]}})
    request = stage.ask(lease, "ticket.erase", key="a", **{"ticket_id": "T-1", **arguments})
    return stage.desk.card(stage.authority.find_request(request))


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (["**"], "any"),
        (["T-1", "T-2*", 3, True], "true, 3, T-1, T-2*"),
        ({"max": 3}, "max 3"),
        ({"min": "0.5", "max": "1.5"}, "max 1.5 min 0.5"),
        ({"max_length": 20}, "max_length 20"),
    ],
)
def test_a_constraint_is_written_in_words(constraint: object, words: str) -> None:
    assert describe_constraint(parse_constraint(constraint)) == words


@pytest.mark.case(86, 101)
def test_a_headline_is_the_operators_and_a_redacted_argument_is_named_and_never_shown() -> None:
    stage = Stage(changed(RULE, WITH_WORDS))
    card = _card(stage, why="s3cret", note={"a": [1, None]})
    assert card.headline == "Erase T-1 for (redacted by policy), {really} - acme / prod"
    assert card.arguments == {"note": '{"a":[1,null]}', "ticket_id": "T-1", "why": "(redacted by policy)"}
    assert card.lines[0].undo == "none"
    assert "s3cret" not in repr([card, *stage.entries()])
    stage.close()


@pytest.mark.case(82, 83, 86)
def test_agent_text_stays_in_its_place_and_fills_no_template() -> None:
    stage = Stage(changed(RULE, WITH_WORDS))
    card = _card(stage, ticket_id="T-{why}", note="<b>approved</b>\x1b[31m\u202e")
    assert card.headline == "Erase T-{why} for (redacted by policy), {really} - acme / prod"
    assert card.arguments["note"] == "<b>approved</b>\x1b[31m\u202e"  # as it is: whoever renders it makes it visible
    stage.close()
