"""Pictures of the console for its page in docs: `make screenshots`. A small story on the real server, ever the same."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from browsing import Visit, visit

from chromium import chromium
from leasehold.authority.glass import Wish
from leasehold.model.call import OutcomeStatus
from leasehold.model.glass import Skippable
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from office import BEN, EVA, KIM, Office
from served import served
from stage import Stage, changed, policy, reason_of

MAX_BYTES = 150_000

POLICY = """\
version = 1
authority = "acme-desk"

[people]
"user:ben" = ["support-lead"]
"user:eva" = ["support-lead", "operator"]

[roles]
operator = { can = ["revoke", "hold", "lift", "query"], tenants = ["*"] }

[actions]
"ticket.read"   = { effect = "read",  args = { ticket = "ticket_id" } }
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" }, cost = { usd = "0.02" } }
"ticket.delete" = { effect = "destructive", args = { ticket = "ticket_id" }, headline = "Delete ticket {ticket_id}" }
"mail.send"     = { effect = "write", args = { to = "to" }, headline = "Send mail to {to}" }

[actions."ticket.close"]
effect = "write"
args = { ticket = "ticket_id" }
undo = "ticket.reopen within 24 h"
headline = "Close ticket {ticket_id}"

[routes."support/close"]
for = { agents = ["support-bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.read"   = { ticket = ["T-*"] }
allow."ticket.update" = { ticket = ["T-*"] }
allow."ticket.close"  = { ticket = ["T-*"] }
allow."ticket.delete" = { ticket = ["T-*"] }
allow."mail.send"     = { to = ["**"] }
approve."ticket.update" = "none"
approve."ticket.close"  = "call"
approvers = ["support-lead"]
budget = { calls = 25, tool_seconds = 120, usd = "1.00" }
delegation = { depth = 1, children = 2, actions = ["ticket.read"] }
"""


GOVERNED = (
    POLICY.replace("[people]", '[policy]\naccept = "two"\n\n[people]')
    .replace('"support-lead"]', '"support-lead", "governor"]')
    .replace('"operator"]', '"operator", "governor"]')
    .replace("[roles]", '[roles]\ngovernor = { can = ["policy"], tenants = ["*"] }')
    + """
[break_glass."support/close"]
openers = ["operator"]
confirmers = ["support-lead"]
actions = ["ticket.close"]
skips = ["approve"]
minutes = 10
"""
)


def play(office: Office) -> tuple[str, Request]:
    """The story; answers its run, and the card that is looked at."""
    stage, authority = office.stage, office.stage.authority
    run = authority.start(
        agent="support-bot",
        route="support/close",
        tenant="acme",
        environment="prod",
        requested_by=KIM,
        purpose="answer ticket T-18421",
    )
    lease = stage.lease(
        {
            "ticket.read": {"ticket": ["T-*"]},
            "ticket.update": {"ticket": ["T-18421"]},
            "ticket.close": {"ticket": ["T-18421", "T-18422"]},
            "ticket.delete": {"ticket": ["T-*"]},
            "mail.send": {"to": ["**"]},
        },
        run=run,
    )
    stage.pass_time(3)
    _call(stage, lease, "ticket.read", 6)
    _call(stage, lease, "ticket.update", 9, key="note")
    reason_of(lambda: stage.admit(lease, "ticket.update", ticket_id="T-99", key="other"))
    child = authority.start(agent="lookup-bot", purpose="find out whether T-18421 is a duplicate", parent=lease)
    looking = stage.lease({"ticket.read": {"ticket": ["T-18421"]}}, run=child)
    _call(stage, looking, "ticket.read", 14)
    reason_of(lambda: stage.admit(looking, "ticket.close", ticket_id="T-18421", key="close"))
    closing = stage.ask(lease, "ticket.close", ticket_id="T-18421", note="fixed in 2.4.1", key="close")
    stage.pass_time(31)
    stage.people.approve(closing, EVA)
    _call(stage, lease, "ticket.close", 5, note="fixed in 2.4.1", key="close")
    return run.run_id, _ask(stage, lease)


def widen(office: Office) -> str:
    """A policy that takes two people to widen, and one that waits for the second; answers its page."""
    wider = changed('usd = "1.00"', 'usd = "5.00"', GOVERNED)
    wider = changed('approve."ticket.close"  = "call"', 'approve."ticket.close"  = "lease"', wider)
    wider = changed('"ticket.update" = { ticket = ["T-*"] }', '"ticket.update" = { ticket = ["**"] }', wider)
    office.stage.accept(GOVERNED)
    office.stage.authority.proposals.propose(policy(wider), policy(GOVERNED), office.stage.people.signatory(EVA))
    return f"/policy/proposals/{policy(wider).hash}"


def smash(office: Office) -> str:
    """A break-glass that waits for its second person; answers its page."""
    office.stage.people.signatory(EVA)
    office.has_password(BEN)
    eva = office.viewer(EVA).glass
    wish = Wish(
        opener=EVA,
        second=BEN,
        tenant="acme",
        environment="prod",
        route="support/close",
        actions=("ticket.close",),
        skips=(Skippable.APPROVE,),
        minutes=10,
        reason="the queue is on fire, and nobody who may approve answers",
    )
    return f"/break-glass/{eva.propose(eva.draft(wish)).glass_id}"


def _ask(stage: Stage, lease: HeldLease) -> Request:
    """Three cards that wait, one of them with a first approval; answers the one that is looked at."""
    for action, arguments in (
        ("ticket.close", {"ticket_id": "T-18422", "note": "duplicate of T-18421"}),
        ("mail.send", {"to": "ana@example.com", "subject": "Ticket T-18421"}),
        ("ticket.delete", {"ticket_id": "T-18423"}),
    ):
        asked = stage.ask(lease, action, key=action, **arguments)
        stage.pass_time(8)
    stage.people.approve(asked, EVA)
    return next(each for each in stage.desk.pending() if "ticket.close" in each.allow)


def _call(stage: Stage, lease: HeldLease, action: str, seconds: int, **rest: object) -> None:
    admission = stage.admit(lease, action, ticket_id="T-18421", **rest)
    stage.pass_time(seconds)
    stage.settle(admission, OutcomeStatus.DONE, duration_micros=seconds * 1_000_000, touched=("ticket/T-18421",))
    stage.pass_time(2)


def take(seen: Visit, place: str, path: Path, *, is_whole: bool = False) -> None:
    """A picture of one page."""
    seen.open(place)
    seen.time_passes(3)
    path.write_bytes(seen.page.screenshot(full_page=is_whole))
    if path.stat().st_size >= MAX_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; a picture has less than {MAX_BYTES}")


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        office = Office(Path(place), is_on_disk=True, text=POLICY)
        with served(office.build) as port:
            office.port = port
            run_id, request = play(office)
            with visit(browser, office, viewport={"width": 1000, "height": 640}) as seen:
                seen.sign_in(BEN)
                take(seen, "/", folder / "inbox.png")
                seen.page.set_viewport_size({"width": 760, "height": 860})
                take(seen, f"/requests/{request.request_id}", folder / "card.png")
                seen.page.set_viewport_size({"width": 1000, "height": 980})
                take(seen, f"/runs/{run_id}", folder / "run.png")
                take(seen, f"/runs/{run_id}/receipt", folder / "receipt.png")
                seen.page.set_viewport_size({"width": 900, "height": 820})
                take(seen, widen(office), folder / "proposal.png")
                seen.page.set_viewport_size({"width": 820, "height": 900})
                take(seen, smash(office), folder / "break-glass.png")
            office.streams.close()
        office.stage.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
