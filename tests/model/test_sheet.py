"""A card laid out: one order, whose word each line is, nothing hidden and nothing cut away unseen; chat text of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.cli.cards import render_card
from leasehold.errors import InvalidError
from leasehold.model.card import Card, CardLine, Change, Footer, card_bytes, card_json
from leasehold.model.chat import CHAT_LIMIT, chat_text
from leasehold.model.plain import escape
from leasehold.model.preview import Preview, PreviewMade, differences, preview_bytes, shown_changes
from leasehold.model.request import RequestState
from leasehold.model.run import RequesterProof
from leasehold.model.sheet import Clipped, Line, Origin, SectionName, Sheet, lay_out

CARD = Card(
    headline="Close ticket T-1 - acme / prod",
    kind="call",
    request_id="req_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
    run_id="run_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
    attempt=1,
    tenant="acme",
    environment="prod",
    agent="bot",
    requested_by="user:ana",
    requester_proof=RequesterProof.ASSERTED,
    route="desk",
    purpose="answer the customer",
    lines=(
        CardLine(action="ticket.close", effect="write", attributes={"ticket": "T-1"}, approval="call", undo="reopen"),
    ),
    not_allowed=("mail.purge",),
    budget={},
    ttl_seconds=0,
    window_until=1_778_070_600,
    delegation="none",
    ends_on=(),
    key="k",
    arguments={"ticket_id": "T-1"},
    arguments_digest="hmac-sha256:9fd0ad2b1d084ec4",
    approvers=("lead",),
    quorum=1,
    requester_may_approve=False,
    rule="default for write: ticket.close",
    policy="sha256:ed57d520ab3fd996",
    made_at=1_778_068_800,
    answer_by=1_778_069_400,
    tool="ticket",
    tool_schema="sha256:0f1e2d3c4b5a6978",
    lease_request="req_01JZ8Q5X0M3V7K2N9B4C6D8E0G",
    call="hmac-sha256:11",
    uses=1,
    exact_arguments='{"ticket_id":"T-1"}',
    changes=(Change("status", "open", "closed"), Change("owner", "ben", "ben")),
    unchanged_hidden=3,
    objects=1,
    external=("an e-mail to the customer",),
    cost={"usd": "0.05"},
    preview_undo="reopen within 24 h",
    preview="hmac-sha256:22",
    moved=(Change("status", "new -> closed", "open -> closed"),),
    edits=(Change("note", "gone", "fixed"),),
    edited_from="req_01JZ8Q5X0M3V7K2N9B4C6D8E0H",
    editors=("user:ben",),
    facts=("ticket.purge was refused 2 times: not_granted",),
    tried=("ticket.update",),
    reason="it is fixed",
)
FOOTER = Footer(state=RequestState.PENDING, answer_by=CARD.answer_by, card_digest="hmac-sha256:1a2b3c4d5e", quorum=1)


def find(sheet: Sheet, label: str) -> Line:
    return next(line for line in sheet.lines if line.label == label)


@pytest.mark.requirement("L10", "P10")
def test_a_call_card_says_what_changes_how_far_it_reaches_and_how_to_undo_it() -> None:
    assert chat_text(lay_out(CARD, FOOTER)).text.splitlines() == [
        "Close ticket T-1 - acme / prod",
        "Asked for: exactly this call, once; 1 write",
        "moved since it was approved: approved, now",
        "tool: status, before: new -> closed",
        "tool: status, after: open -> closed",
        "edited by user:ben; was asked for, is asked for now",
        "note: gone -> fixed",
        "what changes, as the tool says",
        "tool: status: open -> closed",
        "tool: owner: ben (unchanged)",
        "tool: + 3 unchanged hidden",
        "tool: Objects: 1",
        "Where: acme / prod",
        "tool: Sets off: an e-mail to the customer",
        "Costs at most: usd 0.05",
        "ticket.close  WRITE",
        "ticket: T-1",
        "undo: reopen",
        "tool: undo, tool: reopen within 24 h",
        "approval: this card, used once",
        "with these arguments",
        "ticket_id: T-1",
        "digest: 9fd0ad2b",
        "NOT ALLOWED: mail.purge",
        "Expires: used once, before 2026-05-06 12:30:00 UTC",
        "Sub-agents: none",
        "Receipt: signed, when the run ends",
        "Key: k",
        "Tool: ticket, its function as of 0f1e2d3c",
        "Agent: bot, run_01JZ8Q5X0M3V7K2N9B4C6D8E0F, attempt 1",
        "For: user:ana (asserted)",
        "Route: desk",
        "Approvers: lead: 0 of 1 so far",
        "Edited from: req_01JZ8Q5X0M3V7K2N9B4C6D8E0H; who edited may not approve",
        "Rule: default for write: ticket.close",
        "Policy: ed57d520",
        "Answer by: 2026-05-06 12:10:00 UTC",
        "Request: req_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        "Card: 1a2b3c4d",
        "what the run did so far, from the ledger",
        "ticket.purge was refused 2 times: not_granted",
        "written by the agent, not checked:",
        "agent: purpose of the run: answer the customer",
        "agent: reason: it is fixed",
        "agent: already tried: ticket.update",
    ]


@pytest.mark.requirement("P10")
def test_a_terminal_marks_what_a_tool_an_agent_and_the_ledger_say() -> None:
    lines = render_card(CARD, width=100).splitlines()
    for line in (
        "what changes, as the tool says",
        "  status      open -> closed",
        "              + 3 unchanged hidden",
        "  - ticket.purge was refused 2 times: not_granted",
        "  | already tried: ticket.update",
    ):
        assert line in lines
    assert lines.index("  - ticket.purge was refused 2 times: not_granted") < lines.index("  | reason: it is fixed")


def test_a_preview_that_changes_nothing_says_so() -> None:
    sheet = lay_out(replace(CARD, changes=(), unchanged_hidden=0))
    (section,) = [each for each in sheet.sections if each.title == "what changes, as the tool says"]
    assert [line.text for line in section.lines] == ["nothing"]


def test_a_card_without_preview_says_nothing_in_the_name_of_the_tool() -> None:
    card = replace(CARD, preview="", changes=(), external=(), preview_undo="", moved=(), objects=0)
    sheet = lay_out(card)
    assert Origin.TOOL not in {line.origin for line in sheet.lines}
    assert find(sheet, "Objects").is_loud


@pytest.mark.case(85)
def test_what_does_not_fit_is_cut_at_the_end_and_counted() -> None:
    line = lay_out(replace(CARD, reason="0123456789")).sections[-1].lines[1]
    assert line.clip(4) == Clipped("0123", 6)
    assert line.clip(10) == line.clip(99) == Clipped("0123456789", 0)


@pytest.mark.case(85)
def test_a_sheet_names_each_line_that_has_to_be_opened() -> None:
    sheet = lay_out(replace(CARD, reason="a" * 900, arguments={"note": "b" * 901, "ticket_id": "T-1"}))
    assert [line.label for line in sheet.clipped(899)] == ["note", "reason"]
    assert [line.label for line in sheet.clipped(900)] == ["note"]
    assert sheet.clipped(901) == ()


@pytest.mark.case(85)
def test_chat_text_that_does_not_fit_says_how_much_is_missing_and_is_not_whole() -> None:
    sheet = lay_out(replace(CARD, arguments={"note": "b" * CHAT_LIMIT}))
    given_up = chat_text(sheet)
    assert not given_up.is_whole
    assert len(given_up.text) <= CHAT_LIMIT
    assert "b" * 100 not in given_up.text  # whole lines only
    shown, last = given_up.text.splitlines()[:-1], given_up.text.splitlines()[-1]
    whole = chat_text(sheet, 10**6)
    assert whole.is_whole
    assert shown == whole.text.splitlines()[: len(shown)]
    missing = len(whole.text.splitlines()) - len(shown)
    assert last == f"... this is not the whole card ({missing} more lines). Open it, read it there, and decide there."


@given(limit=st.integers(120, 6000), reason=st.text(max_size=3000))
@pytest.mark.case(82, 85)
def test_chat_text_keeps_to_its_limit_hides_no_character_and_is_whole_or_says_that_it_is_not(
    limit: int, reason: str
) -> None:
    sheet = lay_out(replace(CARD, reason=reason))
    text = chat_text(sheet, limit)
    assert len(text.text) <= limit
    assert text.is_whole == ("this is not the whole card" not in text.text.splitlines()[-1])
    assert text.is_whole == (len(chat_text(sheet, 10**6).text) <= limit)
    assert not any(character != "\n" and escape(character) != character for character in text.text)


@pytest.mark.case(82, 84)
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("name", ["moved", "edits", "changes"])
def test_words_of_tools_and_people_are_escaped_and_their_look_alikes_named(name: str) -> None:
    sheet = lay_out(msgspec.structs.replace(CARD, **{name: (Change("st\u0430tus", "a\u202eb", "c\x1bd"),)}))
    (line,) = [line for line in sheet.lines if line.label == "st\u0430tus"]
    assert line.text == "a<U+202E>b -> c<U+001B>d"
    assert line.warnings == (
        "2 hidden characters: U+001B ×1, U+202E RIGHT-TO-LEFT OVERRIDE ×1",
        "MIXED SCRIPTS in one word: U+0430 CYRILLIC SMALL LETTER A",
    )
    assert "! MIXED SCRIPTS in one word: U+0430 CYRILLIC SMALL LETTER A" in chat_text(sheet).text.splitlines()


@pytest.mark.case(82)
@pytest.mark.parametrize("arrow", ["->", "=>", "→", "⇒", "⟶", "➔"])
def test_a_value_with_an_arrow_of_its_own_does_not_read_as_another_change(arrow: str) -> None:
    for before, after in ((f"5 {arrow} 100", "7"), ("5", f"7 {arrow} 100")):
        sheet = lay_out(replace(CARD, moved=(Change("limit", before, after),)))
        assert [find(sheet, f"limit, {side}").text for side in ("before", "after")] == [before, after]
        assert not any(line.label == "limit" for line in sheet.lines)


def test_what_agents_wrote_stands_behind_everything_else() -> None:
    sheet = lay_out(CARD, FOOTER)
    assert {line.origin for line in sheet.sections[-1].lines} == {Origin.AGENT}
    assert sheet.sections[-1].name is SectionName.WORDS
    assert Origin.AGENT not in {line.origin for section in sheet.sections[:-1] for line in section.lines}


@pytest.mark.case(74, 85)
@pytest.mark.parametrize("field", Card.__struct_fields__)
def test_a_card_that_differs_in_any_member_has_other_bytes(field: str) -> None:
    value = getattr(CARD, field)
    other = {
        str: lambda: value + "x",
        RequesterProof: lambda: RequesterProof.PROVEN,
        int: lambda: value + 1,
        bool: lambda: not value,
        dict: lambda: {**value, "more": "1"},
        tuple: lambda: (*value, value[0] if value else "more"),
    }[type(value)]()
    assert card_bytes(msgspec.structs.replace(CARD, **{field: other})) != card_bytes(CARD)


def test_a_card_as_json_is_read_back_equal() -> None:
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(card_json(CARD))), Card) == CARD


# previews


def test_a_preview_is_made_of_plain_values() -> None:
    preview = Preview.of({"tags": (["a"], ["a", "b"]), "open": (True, False)}, external=["an e-mail"], state="v7")
    assert preview.changes == (Change("tags", '["a"]', '["a","b"]'), Change("open", "true", "false"))
    assert (preview.objects, preview.external, preview.undo, preview.state) == (1, ("an e-mail",), "", "v7")


@pytest.mark.case(17, 86)
@pytest.mark.parametrize(
    "members",
    [
        {"changes": tuple(Change(f"row {number}", "a", "b") for number in range(201))},
        {"changes": (Change("a", "1", "2"), Change("a", "3", "4"))},
        {"changes": (Change("a", "1" * 2049, "2"),)},
        {"changes": (Change("a", "\ud800", "2"),)},
        {"changes": tuple(Change(f"row {number}", "a" * 2000, "b") for number in range(60))},
        {"objects": -1},
        {"objects": 2**53},
        {"external": ("an e-mail",) * 21},
        {"undo": "u" * 2049},
        {"state": "s" * 2049},
    ],
)
def test_a_preview_is_bounded(members: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        Preview(**members)  # type: ignore[arg-type]  # that is what is tried


def test_a_preview_names_the_admission_that_made_it() -> None:
    with pytest.raises(InvalidError):
        PreviewMade(admission_id="lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F", preview=Preview())  # type: ignore[arg-type]


@given(
    rows=st.lists(
        st.builds(Change, st.text("abcé", min_size=1, max_size=4), st.sampled_from("ab"), st.sampled_from("ab")),
        max_size=30,
        unique_by=lambda change: change.name,
    )
)
@pytest.mark.requirement("P10")
def test_every_changed_row_is_shown_and_of_the_others_the_rest_is_counted(rows: list[Change]) -> None:
    shown, hidden = shown_changes(Preview(changes=tuple(rows)))
    assert [change for change in rows if change.is_change] == [change for change in shown if change.is_change]
    assert len(shown) + hidden == len(rows)
    assert len([change for change in shown if not change.is_change]) <= 7
    assert not hidden or len([change for change in shown if not change.is_change]) == 7


@pytest.mark.case(78)
@pytest.mark.parametrize(
    ("members", "difference"),
    [
        ({"changes": (Change("status", "new", "closed"),)}, Change("status", "open -> closed", "new -> closed")),
        ({"changes": ()}, Change("status", "open -> closed", "-")),
        ({"objects": 2}, Change("number of objects", "1", "2")),
        ({"external": ("a page",)}, Change("sets off", "", "a page")),
        ({"undo": "none"}, Change("undo", "", "none")),
        ({"state": "v2"}, Change("state", "v1", "v2")),
    ],
)
def test_any_difference_between_two_previews_is_named_and_gives_another_digest(
    members: dict[str, object], difference: Change
) -> None:
    approved = Preview(changes=(Change("status", "open", "closed"),), state="v1")
    now = msgspec.structs.replace(approved, **members)
    assert differences(approved, now) == (difference,)
    assert differences(approved, approved) == ()
    assert preview_bytes(approved) != preview_bytes(now)
