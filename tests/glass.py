"""What tests of break-glass share: a policy that allows one, and short words for opening and using it."""

from __future__ import annotations

from leasehold.authority.desk import Signatory
from leasehold.authority.glass import Wish
from leasehold.authority.human_door import HumanDoor
from leasehold.decide.rows import GlassRow
from leasehold.errors import Denied
from leasehold.model.call import Admission, Call
from leasehold.model.canonical import encode
from leasehold.model.decision import Decision
from leasehold.model.glass import Opening
from leasehold.model.lease import HeldLease
from leasehold.testing.fixtures import key_of_person
from leasehold.token.glass import sign_opening
from leasehold.token.keys import SigningKey
from stage import ANA, BEN, Stage, changed

TABLE = """
[break_glass."desk"]
openers = ["oncall"]
confirmers = ["lead"]
actions = ["ticket.audit", "ticket.erase", "ticket.update"]
skips = ["after", "approve", "freeze", "hours"]
minutes = 10
"""
WITH_GLASS = changed('"user:ana" = ["lead"]', '"user:ana" = ["lead", "oncall"]') + TABLE

FREEZE = 'freeze = [{ from = 2026-05-01T00:00:00Z, until = 2026-06-01T00:00:00Z, reason = "quarter end" }]'
HOURS = 'hours = [{ days = ["mon"], from = "00:00", to = "00:01", zone = "UTC" }]'
AFTER = 'after."ticket.update" = ["ticket.get"]'


def with_rule(*lines: str, text: str = WITH_GLASS) -> str:
    """The policy with more rules on its route."""
    return changed("deny = ", "\n".join((*lines, "deny = ")), text)


def wish(**fields: object) -> Wish:
    """What Ana wants, confirmed by Ben, with some of it changed."""
    given: dict[str, object] = {
        "opener": ANA,
        "second": BEN,
        "tenant": "acme",
        "environment": "prod",
        "route": "desk",
        "actions": ("ticket.erase",),
        "skips": ("approve",),
        "minutes": 5,
        "reason": "the disk is full and nobody who may approve answers",
    }
    return Wish(**{**given, **fields})  # type: ignore[arg-type]  # known names


def opening(stage: Stage, **fields: object) -> Opening:
    """An opening as of now; both have keys."""
    wanted = wish(**fields)
    for person in (wanted.opener, wanted.second):
        signatory(stage, person)
    return stage.authority.break_glass.propose(wanted)


def break_glass(stage: Stage, **fields: object) -> HeldLease:
    """Open it, signed by both."""
    return sign_and_open(stage, opening(stage, **fields))


def sign_and_open(
    stage: Stage, document: Opening, *, first: SigningKey | None = None, second: SigningKey | None = None
) -> HeldLease:
    """Open it with these keys, or each person's own."""
    return stage.authority.break_glass.open(
        document,
        sign_opening(document, first or key_of_person(document.opener)),
        sign_opening(document, second or key_of_person(document.second)),
    )


def signatory(stage: Stage, person: str = ANA) -> Signatory:
    """A person with their key in hand."""
    return stage.people.signatory(person)


def glass_id(held: HeldLease) -> str:
    """The opening's id."""
    return f"glass_{held.lease.lease_id.partition('_')[2]}"


def human_door(stage: Stage, person: str = ANA, environment: str = "prod", tool: str = "ticket") -> HumanDoor:
    """A person's door."""
    return stage.authority.break_glass.doors(signatory(stage, person)).door(tool, environment)


def use(stage: Stage, held: HeldLease, action: str = "ticket.erase", *, key: str = "k", person: str = ANA) -> Admission:
    """One use by a person, admitted."""
    door = human_door(stage, person)
    arguments = encode({"ticket_id": "T-1"})
    call = Call(action=action, arguments=arguments, admission_id=door.new_admission_id(), key=key)
    return door.admit(next(iter(held.tokens.values())), call)


def refusal(
    stage: Stage, held: HeldLease, action: str = "ticket.erase", *, key: str = "k", person: str = ANA
) -> Decision:
    """Why a use is refused.

    Raises:
        AssertionError: it is not.
    """
    try:
        use(stage, held, action, key=key, person=person)
    except Denied as denied:
        return denied.decision
    raise AssertionError("it was not refused")


def row(stage: Stage, held: HeldLease) -> GlassRow:
    """Where it stands."""
    return stage.authority.break_glass.row(glass_id(held))
