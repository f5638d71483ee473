"""A card at the terminal: complete, escaped, counted, wrapped and never shortened; agents' words last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.cli.cards import render_card
from leasehold.model.card import Card, CardLine, Footer
from leasehold.model.request import RequestState
from leasehold.model.run import RequesterProof

LINE = CardLine(
    action="ticket.close",
    effect="write",
    attributes={"ticket": "T-18421"},
    approval="call",
    undo="ticket.reopen within 24 h",
)
CARD = Card(
    headline="Close ticket T-18421 - acme / prod",
    kind="lease",
    request_id="req_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
    run_id="run_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
    attempt=2,
    tenant="acme",
    environment="prod",
    agent="support-bot",
    requested_by="user:ana",
    requester_proof=RequesterProof.ASSERTED,
    route="support/close",
    purpose="answer ticket T-18421",
    lines=(LINE,),
    not_allowed=("secrets.*", "ticket.purge"),
    budget={"calls": "25", "usd": "1"},
    ttl_seconds=300,
    window_until=1_778_070_600,
    delegation="up to 2 sub-agents, 1 deep, only ticket.update",
    ends_on=("ticket.close",),
    key="",
    arguments={},
    arguments_digest="",
    approvers=("support-lead", "dba"),
    quorum=2,
    requester_may_approve=False,
    rule='routes."support/close".approve."ticket.close"',
    policy="sha256:ed57d520ab3fd996",
    made_at=1_778_068_800,
    answer_by=1_778_069_400,
    tried=("ticket.update was not enough",),
    reason="the customer confirmed the fix",
)
CALL = replace(
    CARD,
    kind="call",
    ttl_seconds=0,
    key="T-18421:close",
    arguments={"note": "fixed", "password": "(redacted by policy)", "ticket_id": "T-18421"},
    arguments_digest="hmac-sha256:9fd0ad2b1d084ec4",
)
FOOTER = Footer(
    state=RequestState.PENDING,
    answer_by=CARD.answer_by,
    card_digest="hmac-sha256:1a2b3c4d5e6f7081",
    quorum=2,
    approved_by=("user:ben",),
    may_approve=("user:ben", "user:eva"),
)
HOSTILE = {
    "\x1b": "ESC", "\x9b": "C1", "\u202e": "bidi", "\u2066": "isolate", "\u200b": "zero width",
    "\U000e0041": "tag", "\u3164": "filler", "\u2800": "blank", "\n": "newline", "\r": "return", "\u00a0": "space",
}  # fmt: skip


def unwrapped(text: str) -> str:
    """The rendered card without line breaks and indents, for values that were wrapped."""
    return "".join(line.strip() for line in text.splitlines())


@pytest.mark.requirement("L10", "B6", "P10")
def test_a_lease_card_says_all_that_a_person_needs_in_one_order() -> None:
    assert (
        render_card(CARD, width=80, footer=FOOTER)
        == """\
────────────────────────────────────────────────────────────────────────────────
Close ticket T-18421 - acme / prod
Asked for     a lease; 1 write
────────────────────────────────────────────────────────────────────────────────
Objects       not known beforehand: whatever fits what is allowed
Where         acme / prod
ticket.close  WRITE
  ticket      T-18421
  undo        ticket.reopen within 24 h
  approval    asked again for each call
NOT ALLOWED   secrets.*, ticket.purge
Budget        calls 25, usd 1
Expires       each lease after 5 min; renewed no later than 2026-05-06 12:30:00\x20
              UTC
Ends on       ticket.close
Sub-agents    up to 2 sub-agents, 1 deep, only ticket.update
Receipt       signed, when the run ends
────────────────────────────────────────────────────────────────────────────────
Agent         support-bot, run_01JZ8Q5X0M3V7K2N9B4C6D8E0F, attempt 2
For           user:ana (asserted)
Route         support/close
Approvers     support-lead, dba: 1 of 2 so far (user:ben)
May approve   user:ben, user:eva
Rule          routes."support/close".approve."ticket.close"
Policy        ed57d520
Answer by     2026-05-06 12:10:00 UTC
Request       req_01JZ8Q5X0M3V7K2N9B4C6D8E0F
Card          1a2b3c4d
────────────────────────────────────────────────────────────────────────────────
written by the agent, not checked:
  | purpose of the run: answer ticket T-18421
  | reason: the customer confirmed the fix
  | already tried: ticket.update was not enough
"""
    )


@pytest.mark.requirement("P10", "P12")
def test_a_call_card_shows_the_exact_arguments_its_key_and_that_it_is_used_once() -> None:
    text = render_card(CALL, width=100)
    for line in (
        "Asked for     exactly this call, once; 1 write",
        "  approval    this card, used once",
        "  note        fixed",
        "  password    (redacted by policy)",
        "  ticket_id   T-18421",
        "  digest      9fd0ad2b",
        "Key           T-18421:close",
        "Expires       used once, before 2026-05-06 12:30:00 UTC",
    ):
        assert line in text.splitlines()


@pytest.mark.requirement("P10")
def test_a_destructive_action_without_undo_is_said_in_red() -> None:
    line = replace(LINE, effect="destructive", undo="")
    text = render_card(replace(CARD, lines=(line,)), colour=True)
    assert "\x1b[31m\x1b[1mticket.close  DESTRUCTIVE\x1b[0m" in text
    assert "\x1b[31mnone is declared\x1b[0m" in text
    assert "\x1b" not in render_card(replace(CARD, lines=(line,)))


def test_a_card_that_needs_nobody_and_forbids_nothing_by_name_says_so() -> None:
    read = replace(LINE, effect="read", approval="none")
    card = replace(
        CARD, lines=(read,), not_allowed=(), budget={}, ends_on=(), rule="", quorum=0, approvers=(), receipt=False,
        tried=(), reason="", delegation="none",
    )  # fmt: skip
    text = render_card(card, width=100)
    assert "NOT ALLOWED   nothing is named; whatever is not above is refused" in text
    assert "Approvers     nobody has to agree" in text
    assert "  approval    none is needed" in text
    assert "Receipt       none" in text
    assert not any(word in text for word in ("Budget", "Ends on", "Rule", "undo", "reason:", "Card "))


def test_a_card_says_that_people_may_confirm_their_own_writes() -> None:
    text = render_card(replace(CARD, requester_may_approve=True))
    assert "people may confirm their own writes here" in text
    assert "people may confirm" not in render_card(CARD)


def test_a_lease_wide_approval_is_told_from_one_for_each_call() -> None:
    assert "this card, once for the whole lease" in render_card(replace(CARD, lines=(replace(LINE, approval="lease"),)))


@pytest.mark.requirement("F3")
@pytest.mark.case(82)
@pytest.mark.parametrize("character", HOSTILE, ids=HOSTILE.values())
def test_hidden_characters_are_shown_and_counted_wherever_they_stand(character: str) -> None:
    for card in (
        replace(CARD, reason=f"ok{character}{character}go"),
        replace(CARD, headline=f"ok{character}{character}go"),
        replace(CARD, purpose=f"ok{character}{character}go"),
        replace(CARD, tried=(f"ok{character}{character}go",)),
        replace(CALL, arguments={"note": f"ok{character}{character}go"}),
        replace(CALL, arguments={f"ok{character}{character}go": "note"}),
    ):
        text = render_card(card)
        assert f"ok<U+{ord(character):04X} ×2>go" in text
        assert f"2 hidden characters: U+{ord(character):04X}" in text
        assert character == "\n" or character not in text


@pytest.mark.case(82)
def test_a_flood_of_newlines_or_padding_takes_one_line_and_hides_nothing() -> None:
    text = render_card(replace(CARD, reason="fine" + "\n" * 10_000 + " " * 300 + "drop the database"))
    assert "fine<U+000A ×10000><U+0020 ×300>drop the database" in text
    assert len(text.splitlines()) < 40


@pytest.mark.case(83)
def test_markup_is_only_text() -> None:
    evil = "[bold]x[/bold] <script>alert(1)</script> [link](https://evil.example) ![i](https://evil.example/i.png)"
    assert evil in render_card(replace(CARD, reason=evil), width=200)


@pytest.mark.case(27, 84)
def test_a_look_alike_target_is_flagged_with_its_code_points() -> None:
    line = replace(LINE, attributes={"environment": "pr\u043ed"})
    text = render_card(replace(CARD, lines=(line,)), width=120)
    assert "! MIXED SCRIPTS in one word: U+043E CYRILLIC SMALL LETTER O" in text


@pytest.mark.case(84)
def test_a_target_in_another_script_altogether_is_named_too() -> None:
    line = replace(LINE, attributes={"service": "\u0440\u0430\u0443"})
    text = render_card(replace(CARD, lines=(line,)), width=120)
    assert "! MIXED SCRIPTS" not in text
    assert "! letters that are not Latin: U+0430 CYRILLIC SMALL LETTER A, U+0440" in text


def test_prose_may_be_in_any_language_without_a_warning() -> None:
    assert "!" not in render_card(replace(CARD, reason="клиент подтвердил Ολοκληρώθηκε 確認"))


@pytest.mark.case(85)
@pytest.mark.requirement("F3")
def test_a_value_longer_than_the_screen_is_wrapped_and_never_shortened() -> None:
    value = "".join(f"{number:04d}-" for number in range(2000))
    text = render_card(replace(CALL, arguments={"note": value}), width=60)
    assert value in unwrapped(text)
    assert max(map(len, text.splitlines())) <= 60


def test_the_words_of_agents_stand_behind_everything_else() -> None:
    text = render_card(replace(CARD, reason="REASON", purpose="PURPOSE", tried=("TRIED",)), footer=FOOTER)
    facts, _, words = text.partition("written by the agent, not checked:")
    assert not any(word in facts for word in ("REASON", "PURPOSE", "TRIED"))
    assert all(line.startswith("  | ") for line in words.strip("\n").splitlines())


def test_a_long_name_gets_a_line_of_its_own() -> None:
    card = replace(CALL, arguments={"a" * 64: "value"})
    lines = render_card(card, width=60).splitlines()
    place = next(index for index, line in enumerate(lines) if "aaaa" in line)
    assert (lines[place] + lines[place + 1]).replace(" ", "").startswith("a" * 64)
    assert any(line.strip() == "value" for line in lines)


@given(text=st.text(max_size=400), width=st.integers(40, 120))
def test_no_text_can_break_out_of_its_line_or_move_the_terminal(text: str, width: int) -> None:
    card = replace(CALL, reason=text, headline=text, arguments={"note": text}, purpose=text)
    rendered = render_card(card, width=width)
    assert all(character == "\n" or character.isprintable() or ord(character) > 0x7E for character in rendered)
    assert max(map(len, rendered.splitlines())) <= width
    assert len(rendered.splitlines()) == rendered.count("\n")
