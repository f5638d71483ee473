"""Whether one use of a break-glass may go on, and what it skips. Asked by admit, in the order of its own checks.

The opening is judged by the live policy at each use, as approvals are: both people must still be who they were and
still hold the roles, and nothing is skipped that the policy does not list any more (invariant I4).
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Facts, Need, Ref
from leasehold.decide.lifecycles import GlassState, PersonState
from leasehold.decide.rows import AUTHORITY_WIDE, GlassRow, PersonRow
from leasehold.decide.voices import is_answer_vouched
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.glass import BREAK_GLASS, BREAK_GLASS_ALARM, Opening, Skippable
from leasehold.model.instant import Instant
from leasehold.model.proof import Proof, vouched_by
from leasehold.model.run import Run
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import implied

__all__ = [
    "GlassUse",
    "describe_use",
    "glass_needs",
    "refuse_agent",
    "refuse_glass",
    "refuse_glass_roles",
    "refuse_people",
    "refuse_vouchers",
    "skipped",
    "without_skipped",
]


class GlassUse(msgspec.Struct, frozen=True, kw_only=True):
    """One use: the opening, the keys that signed it, and the opener's signature over exactly this call.

    All signatures were verified before the step, with these keys. One that was opened in the console has no second key:
    `proofs` are what vouched for both there, and the opener's key signed this use alone.
    """

    opening: Opening
    opener_key: bytes
    second_key: bytes
    signature: str
    proofs: tuple[Proof, Proof] | None = None


def glass_needs(use: GlassUse | None) -> list[Need]:
    """The facts that `refuse_glass` asks for; none for a call that is no use of a break-glass."""
    if use is None:
        return []
    opening = use.opening
    return [
        Ref(GlassRow, (opening.tenant, opening.glass_id)),
        Ref(PersonRow, (AUTHORITY_WIDE, opening.opener)),
        Ref(PersonRow, (AUTHORITY_WIDE, opening.second)),
    ]


def refuse_agent(run: Run, use: GlassUse | None) -> Decision | None:
    """Why a call is at the wrong door: break-glass is for people, everything else is not."""
    if (run.agent == BREAK_GLASS) == (use is not None):
        return None
    return deny(
        Reason.BAD_TOKEN,
        f"{run.run_id} is a break-glass: a person uses it at a terminal, with their key",
        check="break-glass at a door for people, a lease at a tool's",
    )


def refuse_glass(facts: Facts, policy: Policy, use: GlassUse | None, action: str, now: Instant) -> Decision | None:
    """Why a break-glass may not be used for this action now."""
    if use is None:
        return None
    opening, rule = use.opening, policy.break_glass.get(use.opening.route)
    row = facts.get(GlassRow, opening.tenant, opening.glass_id)
    if row is None or row.state != GlassState.OPEN:
        return deny(
            Reason.RUN_FINISHED,
            f"{opening.glass_id} is {row.state if row is not None else 'unknown'}",
            check="it is open",
        )
    if refusal := _refuse_both(facts, policy, use):
        return refusal
    minutes = min(opening.minutes, rule.minutes) if rule is not None else 0
    if now.reached(opening.opened_at + 60 * minutes):
        return deny(
            Reason.EXPIRED,
            f"{opening.glass_id} is over",
            check=f"now {now.seconds} < opened_at {opening.opened_at} + {60 * minutes}",
            enough="another opening by two people",
        )
    if rule is None or action not in opening.actions or action not in rule.actions:
        return deny(
            Reason.NOT_GRANTED,
            f"{opening.glass_id} was not opened for {action}",
            rule=f'break_glass."{opening.route}".actions',
            check=f"{action} in {list(opening.actions)}",
        )
    return None


def skipped(policy: Policy, use: GlassUse | None, action: str) -> frozenset[Skippable]:
    """The rules that do not bind a call: listed by the opening and still by the policy, for all that it implies."""
    rule = policy.break_glass.get(use.opening.route) if use is not None else None
    if use is None or rule is None or not {action, *implied(policy, action)} <= set(rule.actions):
        return frozenset()
    return frozenset(use.opening.skips) & frozenset(rule.skips)


def without_skipped(route: Route, skips: frozenset[Skippable]) -> Route:
    """A route without the rules of time that do not bind a call."""
    if not skips:  # as nearly always
        return route
    hours = () if Skippable.HOURS in skips else route.hours
    return replace(route, hours=hours, freeze=() if Skippable.FREEZE in skips else route.freeze)


def describe_use(use: GlassUse | None, skips: frozenset[Skippable]) -> dict[str, str | tuple[str, ...]]:
    """What the entry of an admitted use says besides: the alarm, what was skipped, and the opener's own word."""
    if use is None:
        return {}
    return {
        "alarm": BREAK_GLASS_ALARM,
        "glass": use.opening.glass_id,
        "skipped": tuple(sorted(skips)),
        "signature": use.signature,
    }


def _refuse_both(facts: Facts, policy: Policy, use: GlassUse) -> Decision | None:
    if use.proofs is None:
        return refuse_people(facts, policy, use.opening, use.opener_key, use.second_key)
    opener = facts.get(PersonRow, AUTHORITY_WIDE, use.opening.opener)
    return refuse_vouchers(facts, policy, use.opening, use.proofs) or _refuse_key(
        opener, use.opening.opener, use.opener_key
    )


def refuse_vouchers(facts: Facts, policy: Policy, opening: Opening, proofs: tuple[Proof, Proof]) -> Decision | None:
    """Why these two may not: what vouched for one in the console stands no more, it is one for both, or a role."""
    first, second = map(vouched_by, proofs)
    if first == second:
        return deny(Reason.BAD_SIGNATURE, "one sign-in vouched for both", check="two people, two sign-ins")
    for person, proof in zip((opening.opener, opening.second), proofs, strict=True):
        if not is_answer_vouched(policy, facts.get(PersonRow, AUTHORITY_WIDE, person), proof):
            return deny(
                Reason.BAD_SIGNATURE,
                f"what vouched for {person} was taken away since",
                check="their key or sign-in still stands, and the policy names its provider",
            )
    return refuse_glass_roles(policy, opening)


def refuse_people(
    facts: Facts, policy: Policy, opening: Opening, opener_key: bytes, second_key: bytes
) -> Decision | None:
    """Why these two may not: a key that is not theirs any more, one key for both, or a role that does not open this."""
    if opener_key == second_key:
        return deny(Reason.BAD_SIGNATURE, "one key signed for both", check="two people, two keys")
    for person, public_key in ((opening.opener, opener_key), (opening.second, second_key)):
        if refusal := _refuse_key(facts.get(PersonRow, AUTHORITY_WIDE, person), person, public_key):
            return refusal
    return refuse_glass_roles(policy, opening)


def _refuse_key(row: PersonRow | None, person: str, public_key: bytes) -> Decision | None:
    if row is not None and row.state == PersonState.ACTIVE and row.public_key == public_key != b"":
        return None
    return deny(Reason.BAD_SIGNATURE, f"{person} has no such key here", check="a person's own key")


def refuse_glass_roles(policy: Policy, opening: Opening) -> Decision | None:
    """Why their roles do not open this, by the live policy."""
    rule = policy.break_glass.get(opening.route)
    for key, person in (("openers", opening.opener), ("confirmers", opening.second)):
        listed: tuple[str, ...] = getattr(rule, key, ())
        if set(listed).isdisjoint(policy.people.get(person, ())):
            return deny(
                Reason.NOT_ENTITLED,
                f"{person} is none of the {key} of break-glass on {opening.route}",
                rule=f'break_glass."{opening.route}".{key}',
                check=f"a role of {person} in {list(listed)}",
            )
    return None
