"""Small honest histories to be spoilt by one lie, and what the checker finds in them."""

from __future__ import annotations

from ledger_story import Story
from msgspec.structs import replace

from leasehold.ledger.entry import Entry
from leasehold.ledger.history import check_history

CALLS_ONLY = {"detail": {"reserved": ("calls=1000000",)}}


def broken(story: Story) -> list[tuple[str, int]]:
    """Which invariants are broken where, each once."""
    return list(dict.fromkeys((str(found.invariant), found.index) for found in check_history(story.entries)))


def one_run() -> tuple[Story, Entry, Entry, Entry]:
    """A run with a lease, ready for calls: the story, the run, its request and its lease."""
    story = Story()
    run = story.start()
    request = story.ask(run)
    return story, run, request, story.issue(request)


def family() -> tuple[Story, Entry, Entry, Entry, Entry]:
    """A run that delegated: the story, the run, its lease, the child run and the child's lease."""
    story, run, _, lease = one_run()
    child = story.start("run_2", parent=lease)
    request = story.ask(child, "req_2", detail={"allow": ('ticket.update {"ticket":["T-1"]}',)})
    return story, run, lease, child, story.issue(request, "lease_2", above=lease)


def approved_call(**answer: object) -> tuple[Story, Entry, Entry]:
    """A lease and an approved request for one call under it."""
    story, _, _, lease = one_run()
    like = call_like(lease)
    request = story.ask_for_call(like)
    story.answer(request, **answer)
    return story, lease, request


def call_like(lease: Entry) -> Entry:
    return replace(
        lease, action="ticket.close", effect="write", attributes={}, arguments_digest="hmac-sha256:b", key="close"
    )


def close(story: Story, lease: Entry, request: Entry, admission: str = "adm_1", **fields: object) -> Entry:
    """The call that the request is for."""
    said = {
        "action": "ticket.close",
        "arguments_digest": "hmac-sha256:b",
        "key": "close",
        "approval": request.request,
        "approvals": ("user:ben",),
        **fields,
    }
    detail = {"approval": "call", "quorum": 1, **(said.pop("detail", None) or {})}  # type: ignore[dict-item]
    return story.admit(lease, admission, detail=detail, **said)
