"""The small worlds of what people say: in chats, signed in, by editing, of previews and policies, too often asked.

As those in `worlds`, which holds what calls, leases and stops do.
"""

from __future__ import annotations

from explorer.events import ANY_TICKET, accepts, answers, asks, removes, set_up, stops
from explorer.people import (
    EDITED,
    PASSKEY_OF_BEN,
    PASSWORD_OF_BEN,
    adds_sign_in,
    answers_signed_in,
    confirms,
    edits,
    presses,
    proposes,
    removes_sign_in,
    signs_in,
    signs_out,
    wears_out,
    withdraws,
)
from explorer.scenario import ANA, BEGIN_MS, BEN, EVA, OTHER_REQUEST, RUN, Scenario, Script, policy
from leasehold.model.proof import SignInMethod
from leasehold.model.proposal import PolicyVerdict

_ASKS = """
allow."desk.update" = { ticket = ["T-*"] }
approve."desk.update" = "call"
"""
_NOW, _LONG_AGO = BEGIN_MS // 1000, BEGIN_MS // 1000 - 297


# chats

_B1, _B2, _E1 = "T00/U0B1", "T00/U0B2", "T00/U0E1"


def _reviewed(**people: str) -> str:
    listed = ", ".join(f"'T00/U0{user}' = '{person}'" for user, person in people.items())
    return (
        "[notices.desk]\nkind = 'slack'\nchannel = 'C1'\nevents = ['request.waiting']\ntenants = ['*']\n"
        f"reviewers = {{ {listed} }}\n"
    )


_PRESSED = Script("A", key="a", quorum=2)
_MAPPED = policy(_ASKS + "quorum = 2\n" + _reviewed(B1=BEN, B2=BEN, E1=EVA))
_UNMAPPED = policy(_ASKS + "quorum = 2\n" + _reviewed(B1=BEN, B2=BEN))

CHATTED = Scenario(
    name="people answer in a chat",
    policies=(_MAPPED, _UNMAPPED),
    people=(BEN, EVA),
    setup=set_up(),
    scripts=(_PRESSED,),
    events=(
        presses(_PRESSED, _B1, 1, at=_NOW),
        presses(_PRESSED, _B1, 1, at=_NOW, again=True),
        presses(_PRESSED, _E1, 3, at=_LONG_AGO),
        presses(_PRESSED, _B1, 4, at=_NOW, claims=EVA),
        accepts(_UNMAPPED),
    ),
    ticks_ms=(4_000,),
    goals=frozenset(
        {
            "admit A: ok",
            "B1 presses A: ok",
            "B1 presses A again: replayed",
            "B1 presses A as eva: bad_signature",
            "E1 presses A: ok",
            "E1 presses A: replayed",
        }
    ),
    states=1000,
)

TWO_USERS = Scenario(
    name="one person with two users in a chat",
    policies=(_MAPPED,),
    people=(BEN, EVA),
    setup=set_up(),
    scripts=(_PRESSED,),
    events=(
        presses(_PRESSED, _B1, 1, at=_NOW),
        presses(_PRESSED, _B2, 2, at=_NOW),
        presses(_PRESSED, _E1, 3, at=_NOW),
        removes(BEN),
    ),
    goals=frozenset({"admit A: ok", "B1 presses A: ok", "B2 presses A: ok", "B1 presses A: not_entitled"}),
    states=100,
)

_ERASED = Script("E", "desk.erase", key="e", quorum=2)

CHATTED_OF_THE_WORST = Scenario(
    name="what is destructive is pressed in a chat",
    policies=(policy('allow."desk.erase" = { ticket = ["T-*"] }\n' + _reviewed(B1=BEN)),),
    people=(BEN, EVA),
    setup=set_up({"desk.erase": ANY_TICKET}),
    scripts=(_ERASED,),
    events=(presses(_ERASED, _B1, 1, at=_NOW), answers(_ERASED, EVA), answers(_ERASED, BEN)),
    goals=frozenset({"B1 presses E: not_in_chat", "admit E: ok"}),
    states=15,
)


# sign-ins

_SEEN = Script("A", key="a", quorum=1)

SIGNED_IN = Scenario(
    name="a person answers who is signed in",
    policies=(policy(_ASKS),),
    people=(),
    setup=(*set_up(), adds_sign_in(BEN, PASSWORD_OF_BEN, SignInMethod.PASSWORD)),
    scripts=(_SEEN,),
    events=(
        signs_in(BEN, PASSWORD_OF_BEN, "s1"),
        answers_signed_in(_SEEN, BEN, "s1"),
        signs_out("s1"),
        removes_sign_in(BEN, PASSWORD_OF_BEN),
    ),
    pairs=True,
    goals=frozenset({"s1 approves A: ok", "s1 approves A: not_signed_in", "sign in s1: not_signed_in", "admit A: ok"}),
    states=80,
)

_PROVEN = Script("E", "desk.erase", key="e", quorum=1)

BY_PASSKEY = Scenario(
    name="what is destructive takes a passkey",
    policies=(
        policy('allow."desk.erase" = { ticket = ["T-*"] }\nquorum = 1\n[defaults]\ndestructive_by_passkey = true\n'),
    ),
    people=(EVA,),
    setup=(
        *set_up({"desk.erase": ANY_TICKET}),
        adds_sign_in(BEN, PASSKEY_OF_BEN, SignInMethod.PASSKEY),
        signs_in(BEN, PASSKEY_OF_BEN, "s2"),
    ),
    scripts=(_PROVEN,),
    events=(
        answers_signed_in(_PROVEN, BEN, "s2"),
        answers_signed_in(_PROVEN, BEN, "s2", passkey=PASSKEY_OF_BEN),
        answers(_PROVEN, EVA),
        removes_sign_in(BEN, PASSKEY_OF_BEN),
    ),
    goals=frozenset(
        {
            "s2 approves E: passkey_needed",
            "eva approves E: passkey_needed",
            "s2 approves E by passkey: ok",
            "s2 approves E by passkey: not_signed_in",
            "admit E: ok",
        }
    ),
    states=50,
)


# edits

_WAS, _IS = Script("A", quorum=1), Script("B", ticket="T-2", quorum=1)

EDITED_CALL = Scenario(
    name="a person edits a call",
    policies=(policy(_ASKS),),
    people=(BEN, EVA),
    setup=set_up(),
    scripts=(_WAS, _IS),
    events=(edits(_WAS, EVA, "T-2"), answers(_WAS, BEN), answers(_IS, EVA), answers(_IS, BEN)),
    goals=frozenset(
        {
            "eva edits A to T-2: ok",
            "eva approves B: own_request",
            "eva approves B: ok",
            "ben approves A: not_pending",
            "admit A: edited",
            "admit A: ok",
            "admit B: ok",
        }
    ),
    states=800,
)

EDITED_ANEW = Scenario(
    name="an edited call is asked about again",
    policies=(policy(_ASKS),),
    people=(BEN, EVA),
    setup=set_up(),
    scripts=(_WAS, _IS),
    events=(
        edits(_WAS, EVA, "T-2"),
        stops("revoke", f"request:{EDITED}", after=("eva edits A to T-2",)),
        answers(_IS, EVA, after=("eva edits A to T-2",)),
    ),
    goals=frozenset({"eva approves B: own_request", "eva approves B: revoked", "admit B: approval_needed"}),
    states=30,
)

MISEDITED = Scenario(
    name="who may not edit, and to what",
    policies=(policy(_ASKS),),
    people=(ANA, EVA),
    setup=set_up(),
    scripts=(_WAS, Script("X", ticket="X-9", refused_by=frozenset({0}))),
    events=(edits(_WAS, ANA, "X-9"), edits(_WAS, EVA, "X-9"), edits(_WAS, ANA, "T-2")),
    goals=frozenset(
        {"ana edits A to T-2: own_request", "eva edits A to X-9: out_of_range", "ana edits A to X-9: own_request"}
    ),
    states=10,
)


# previews

_MOVES = """
allow."desk.look" = { ticket = ["T-*"] }
allow."desk.move" = { ticket = ["T-*"] }
approve."desk.move" = "call"
"""
_MOVED = Script("M", "desk.move", key="m", quorum=1, shows=0)

PREVIEWED = Scenario(
    name="a call goes by its preview",
    policies=(policy(_MOVES),),
    people=(BEN,),
    setup=set_up({"desk.look": ANY_TICKET, "desk.move": ANY_TICKET}),
    scripts=(Script("look", "desk.look", key=None, tries=2), _MOVED),
    events=(answers(_MOVED, BEN),),
    ticks_ms=(6_000,),
    moves=True,
    goals=frozenset({"admit M: preview_needed", "admit M: approval_needed", "admit M: state_moved", "admit M: ok"}),
    states=1000,
)

CHARGED = Scenario(
    name="a preview is charged",
    policies=(policy(_MOVES + "budget = { calls = 1 }"),),
    people=(BEN,),
    setup=set_up({"desk.look": ANY_TICKET, "desk.move": ANY_TICKET}),
    scripts=(Script("look", "desk.look", key=None, tries=2), _MOVED),
    events=(answers(_MOVED, BEN),),
    goals=frozenset({"admit look: ok", "admit look: budget", "admit M: budget", "admit M: preview_needed"}),
    states=30,
)

_ELSEWHERE = Script("M", "desk.move", key="m", quorum=1, shows=0)

SHOWN_ANOTHER = Scenario(
    name="a call goes by the preview of another",
    policies=(policy(_MOVES),),
    people=(BEN,),
    setup=set_up({"desk.look": ANY_TICKET, "desk.move": ANY_TICKET}),
    scripts=(Script("look", "desk.look", "T-2", key=None), _ELSEWHERE),
    events=(answers(_ELSEWHERE, BEN),),
    goals=frozenset({"admit M: preview_needed", "settle look done: ok"}),
    states=5,
)


# questions

QUESTIONS = Scenario(
    name="a run asks more than it may",
    policies=(
        policy(
            _ASKS
            + 'allow."desk.close" = { ticket = ["T-*"] }\napprove."desk.close" = "lease"\n'
            + "[defaults]\npending_per_run = 1\n"
        ),
    ),
    people=(BEN,),
    setup=set_up(),
    scripts=(Script("A", key="a", quorum=1), Script("B", key="b", ticket="T-2", quorum=1)),
    events=(
        answers(Script("A", key="a", quorum=1), BEN),
        asks({"desk.close": {"ticket": ["T-1"]}}, run=RUN, request=OTHER_REQUEST),
    ),
    ticks_ms=(16_000,),
    pairs=True,
    most_pending=1,
    goals=frozenset({"admit B: too_many_pending", "ask 3: too_many_pending", "ask 3: ok", "admit A: ok"}),
    states=40,
)


_ASKED = Script("A", key="a", quorum=1)

WORN_OUT = Scenario(
    name="a run that has asked for long",
    policies=(policy(_ASKS + 'allow."desk.close" = { ticket = ["T-*"] }\napprove."desk.close" = "lease"\n'),),
    people=(BEN,),
    setup=(*set_up(), wears_out(199)),
    scripts=(_ASKED, Script("B", key="b", ticket="T-2", quorum=1)),
    events=(
        withdraws(_ASKED),
        asks({"desk.close": {"ticket": ["T-1"]}}, run=RUN, request=OTHER_REQUEST),
        answers(_ASKED, BEN),
    ),
    pairs=True,
    questions_left=1,
    goals=frozenset({"admit A: ok", "admit B: policy_denies", "ask 3: ok", "ask 3: policy_denies", "withdraw A: ok"}),
    states=50,
)


# policies

_GOVERNED = "[roles.governor]\ncan = ['policy']\ntenants = ['*']\n[policy]\naccept = 'two'\n"
_GOVERNORS = {ANA: ["lead"], BEN: ["lead", "governor"], EVA: ["lead", "governor"]}


def _governed(lines: str) -> str:
    return f'allow."desk.update" = {{ {lines}\n{_GOVERNED}'


_BASE = policy(_governed('ticket = ["T-1", "T-2"] }'), people=_GOVERNORS)
_NARROW = policy(_governed('ticket = ["T-1"] }'), people=_GOVERNORS)
_WIDE = policy(_governed('ticket = ["T-*"] }'), people=_GOVERNORS)

GOVERNED = Scenario(
    name="two people widen a policy",
    policies=(_BASE, _WIDE, _NARROW),
    people=(ANA, BEN, EVA),
    setup=(),
    scripts=(),
    events=(
        proposes(BEN, _WIDE),
        confirms(BEN, _WIDE),
        confirms(ANA, _WIDE),
        confirms(EVA, _WIDE),
        confirms(EVA, _WIDE, PolicyVerdict.REFUSE),
        accepts(_WIDE, 1),
        accepts(_NARROW, 2),
        removes(BEN),
    ),
    by_two=frozenset({1}),
    goals=frozenset(
        {
            "ben proposes: ok",
            "ben confirms: own_request",
            "ana confirms: not_entitled",
            "eva confirms: ok",
            "eva confirms: conflict",
            "eva confirms: not_pending",
            "eva confirms: not_entitled",
            "accept policy 1: approval_needed",
        }
    ),
    states=400,
)

PEOPLE_WORLDS = (
    CHATTED,
    TWO_USERS,
    CHATTED_OF_THE_WORST,
    SIGNED_IN,
    BY_PASSKEY,
    EDITED_CALL,
    EDITED_ANEW,
    MISEDITED,
    PREVIEWED,
    CHARGED,
    SHOWN_ANOTHER,
    QUESTIONS,
    WORN_OUT,
    GOVERNED,
)
