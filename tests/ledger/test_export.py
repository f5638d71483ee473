"""Exports: whole and in part, and every way to tamper with one, each named by its first bad index."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_story import LOG, LOG_KEY, ORIGIN, SeededSigner, Story
from msgspec.structs import replace

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.checkpoint import Checkpoint, sign
from leasehold.ledger.entry import EntryKind, decode_entry, encode_entry
from leasehold.ledger.export import (
    MAX_LINE_BYTES,
    verify_export,
    verify_part,
    write_export,
    write_part,
)
from leasehold.ledger.note import NoteKey
from leasehold.ledger.signing import encode_base64
from leasehold.ledger.tree import EMPTY_ROOT, leaf_hash
from leasehold.model import canonical


def told(words: str = "answer T-1") -> Story:
    story = Story()
    run = story.start(detail={"purpose": words})
    lease = story.issue(story.ask(run))
    for number in range(3):
        story.settle(story.admit(lease, f"adm_{number}"))
    story.finish(run)
    return story


STORY = told()
LINES = list(write_export(STORY.bodies, STORY.note()))
CHOSEN = STORY.entries[2:7]
PART = list(write_part(CHOSEN, STORY.proofs(CHOSEN), STORY.note()))


def short() -> Story:
    """A ledger small enough to try every bit of its export."""
    story = Story()
    story.event(EntryKind.PERSON_ADDED, person="user:ben", detail={"key": "k"})
    story.event(EntryKind.PERSON_REMOVED, person="user:ben", detail={"by": "user:eva"})
    return story


def refused_at(lines: list[bytes], **options: object) -> int | None:
    with pytest.raises(VerificationError) as caught:
        verify_export(lines, [LOG_KEY], **options)
    return caught.value.index


def every_bit(lines: list[bytes]) -> Iterator[tuple[int, int]]:
    return ((number, bit) for number, line in enumerate(lines) for bit in range(len(line) * 8))


def flipped(lines: list[bytes], number: int, bit: int) -> list[bytes]:
    line = bytearray(lines[number])
    line[bit // 8] ^= 1 << bit % 8
    return [*lines[:number], bytes(line), *lines[number + 1 :]]


def line_of(index: int, body: bytes) -> bytes:
    members = {"body": body.decode(), "index": index, "leaf": encode_base64(leaf_hash(body))}
    return canonical.encode(members) + b"\n"


def header(**members: object) -> bytes:
    return canonical.encode({**json.loads(LINES[0]), **members}) + b"\n"


@pytest.mark.requirement("L12")
def test_export_gives_back_every_entry_with_its_checkpoint() -> None:
    ledger = verify_export(LINES, [LOG_KEY])
    assert list(ledger.entries) == STORY.entries
    assert ledger.checkpoint.checkpoint == STORY.head()


def test_export_of_an_empty_log_is_a_header() -> None:
    empty = Story()
    lines = list(write_export([], empty.note()))
    assert len(lines) == 1
    assert verify_export(lines, [LOG_KEY]).checkpoint.checkpoint.root == EMPTY_ROOT


def test_entries_behind_the_checkpoint_are_left_out_of_an_export() -> None:
    lines = list(write_export(STORY.bodies, STORY.note(4)))
    assert verify_export(lines, [LOG_KEY]).entries == tuple(STORY.entries[:4])


def test_export_with_fewer_entries_than_its_checkpoint_is_not_written() -> None:
    with pytest.raises(InvalidError, match="counts 10 entries and the ledger gave 9"):
        list(write_export(STORY.bodies[:-1], STORY.note()))


@pytest.mark.case(23)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_in_an_entry_survives_export(words: str) -> None:
    story = told(words)
    ledger = verify_export(write_export(story.bodies, story.note()), [LOG_KEY])
    assert list(ledger.entries) == story.entries


@pytest.mark.requirement("L12")
@pytest.mark.case(97)
def test_flipping_any_bit_of_an_export_is_refused_and_names_the_line() -> None:
    story = short()
    whole = list(write_export(story.bodies, story.note()))
    for number, bit in every_bit(whole):
        index = refused_at(flipped(whole, number, bit))
        assert number == 0 or index == number - 1


@pytest.mark.case(97)
@given(st.data())
def test_tampering_is_named_by_its_first_bad_index(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(LINES) - 2), "place")
    head, *lines = LINES
    match data.draw(st.sampled_from(["delete", "duplicate", "swap", "edit", "foreign"]), "tampering"):
        case "delete":
            del lines[place]
        case "duplicate":
            lines.insert(place, lines[place])
            place += 1
        case "swap":
            place = min(place, len(lines) - 2)
            lines[place], lines[place + 1] = lines[place + 1], lines[place]
        case "edit":
            lines[place] = lines[place].replace(b"user:ana", b"user:eve", 1)
        case _:
            lines[place] = data.draw(st.sampled_from([b"", b"\n", b"{}\n", b"[]\n", b"\xff\n", LINES[0]]), "line")
    assert refused_at([head, *lines]) == place


@pytest.mark.case(97)
def test_entry_altered_together_with_its_hash_is_refused_where_kept_checkpoints_bound_it() -> None:
    altered = encode_entry(replace(STORY.entries[5], action="ticket.delete"))
    lines = [*LINES[:6], line_of(5, altered), *LINES[7:]]
    assert refused_at(lines) == 0
    assert refused_at(lines, kept=[STORY.head(size) for size in (2, 4, 5)]) == 5
    assert refused_at(lines, kept=[STORY.head(8), STORY.head(4)]) == 4


@pytest.mark.case(96)
@pytest.mark.parametrize("kept", range(len(LINES) - 1))
def test_truncated_export_is_refused_at_the_first_missing_entry(kept: int) -> None:
    assert refused_at(LINES[: kept + 1]) == kept


@pytest.mark.case(96)
def test_rolled_back_log_is_refused_by_a_newer_checkpoint_kept_elsewhere() -> None:
    lines = list(write_export(STORY.bodies, STORY.note(6)))
    assert verify_export(lines, [LOG_KEY], kept=[STORY.head(6), STORY.head(0)])
    assert refused_at(lines, kept=[STORY.head()]) == 6


@pytest.mark.invariant("I9")
@pytest.mark.case(96, 99)
def test_export_that_contradicts_a_kept_checkpoint_is_refused() -> None:
    other = told("another history")
    assert verify_export(LINES, [LOG_KEY], kept=[STORY.head(3), STORY.head()])
    assert refused_at(LINES, kept=[other.head(3)]) == 0
    assert refused_at(LINES, kept=[STORY.head(3), other.head()]) == 3
    foreign = Checkpoint(origin="other.example/log", size=3, root=STORY.head(3).root)
    assert refused_at(LINES, kept=[foreign]) is None


@pytest.mark.case(96)
def test_export_of_another_log_or_under_another_key_is_refused() -> None:
    stranger = SeededSigner(9)
    key = NoteKey(name=ORIGIN, public_key=stranger.public_key)
    forged = list(write_export(STORY.bodies, sign(STORY.head(), key, stranger).encode()))
    assert refused_at(forged) is None
    with pytest.raises(VerificationError):
        verify_export(LINES, [NoteKey(name="other.example/log", public_key=LOG.public_key)])


@pytest.mark.case(97)
def test_header_that_is_not_the_one_spelling_of_its_checkpoint_is_refused() -> None:
    for head in (
        b"",
        b"{}\n",
        b"not json\n",
        LINES[0][:-1],
        b" " + LINES[0],
        header(extra=1),
        header(count=9),
        header(count=True),
        header(count="10"),
        header(format="leasehold-ledger/2"),
        header(checkpoint="not a note"),
        header(checkpoint=json.loads(LINES[0])["checkpoint"].replace("\n10\n", "\n9\n")),
        PART[0],
    ):
        assert refused_at([head, *LINES[1:]]) is None
    assert refused_at([]) is None


@pytest.mark.case(97)
def test_lines_behind_the_last_entry_are_refused() -> None:
    assert refused_at([*LINES, LINES[-1]]) == 10
    assert refused_at([*LINES, b"\n"]) == 10
    unsigned = encode_entry(replace(STORY.entries[-1], index=10))
    assert refused_at([*LINES, line_of(10, unsigned)]) == 10


@pytest.mark.case(17)
def test_line_that_is_longer_than_any_entry_is_refused() -> None:
    assert refused_at([LINES[0], b'"' + b"x" * MAX_LINE_BYTES + b'"\n', *LINES[2:]]) == 0


@pytest.mark.case(52, 97)
def test_time_may_not_run_backwards_in_a_ledger() -> None:
    story = Story()
    run = story.start()
    story.now_ms -= 1001
    story.finish(run)
    assert refused_at(list(write_export(story.bodies, story.note()))) == 1


@pytest.mark.case(52)
def test_only_an_operators_word_turns_the_clock_back_and_only_as_far_as_confirmed() -> None:
    for late_ms, is_fine in ((0, True), (-1, False)):
        story = Story()
        story.start()
        confirmed = story.event(EntryKind.CLOCK_CONFIRMED, detail={"confirmed_ms": story.now_ms - 60_000})
        story.now_ms = confirmed.time_ms - 60_000 + late_ms
        story.start("run_2")
        lines = list(write_export(story.bodies, story.note()))
        if is_fine:
            assert len(verify_export(lines, [LOG_KEY]).entries) == 3
        else:
            assert refused_at(lines) == 2


@pytest.mark.case(6, 17)
def test_entry_in_another_spelling_is_refused() -> None:
    body = STORY.bodies[0]
    first, rest = body.removeprefix(b"{").removesuffix(b"}").split(b",", 1)
    for other in (b" " + body, b"{%s,%s}" % (rest, first), b"{%s,%s,%s}" % (first, first, rest)):
        with pytest.raises(VerificationError, match="canonical form"):
            decode_entry(other)


def test_entries_that_are_not_stamped_in_order_are_refused() -> None:
    story = told()
    story.entries[3] = replace(story.entries[3], index=4)
    assert refused_at(list(write_export(story.bodies, story.note()))) == 3


def test_part_gives_back_its_entries_each_proven() -> None:
    part = verify_part(PART, [LOG_KEY])
    assert list(part.entries) == CHOSEN
    assert part.checkpoint.checkpoint == STORY.head()


@pytest.mark.case(97)
def test_flipping_any_bit_of_a_part_is_refused() -> None:
    story = short()
    part = list(write_part(story.entries[1:], story.proofs(story.entries[1:]), story.note()))
    for number, bit in every_bit(part):
        with pytest.raises(VerificationError):
            verify_part(flipped(part, number, bit), [LOG_KEY])


@pytest.mark.case(96, 97)
@pytest.mark.parametrize(
    "lines",
    [
        PART[:-1],
        [*PART, PART[-1]],
        [PART[0], PART[2], PART[1], *PART[3:]],
        [LINES[0], *PART[1:]],
        [PART[0], LINES[1], *PART[2:]],
        [PART[0], b"{}\n", *PART[2:]],
        [PART[0], b"[]\n", *PART[2:]],
        list(write_part([replace(CHOSEN[0], action="ticket.delete"), *CHOSEN[1:]], STORY.proofs(CHOSEN), STORY.note())),
        list(write_part([replace(CHOSEN[0], index=99)], STORY.proofs(CHOSEN[:1]), STORY.note())),
        [PART[0], PART[1].replace(b'"proof":["', b'"proof":[7,"'), *PART[2:]],
        [PART[0], PART[1].replace(b'"index":2,"proof"', b'"index":3,"proof"'), *PART[2:]],
        [PART[0], PART[1].replace(b'"proof":["', b'"proof":["!'), *PART[2:]],
        [PART[0], b" " + PART[1], *PART[2:]],
    ],
)
def test_part_that_was_tampered_with_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(VerificationError):
        verify_part(lines, [LOG_KEY])


def test_part_needs_one_proof_for_each_entry() -> None:
    with pytest.raises(InvalidError, match="as many proofs"):
        list(write_part(CHOSEN, STORY.proofs(CHOSEN)[:-1], STORY.note()))
