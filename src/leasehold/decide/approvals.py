"""Has the right people's word been given for exactly this? Asked when they answer, when a lease is drawn, and at admit.

Entitlement counts at the answer and again at the use (invariant I4): a person who lost the role, or whose key or
sign-in was removed, no longer counts.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from leasehold.decide.bond import bond_of
from leasehold.decide.facts import Facts, Need, Ref
from leasehold.decide.proven import as_proven
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, RequestRow
from leasehold.decide.voices import is_answer_vouched
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.proof import AnswerProof, ChatProof, PasskeyProof, SessionProof
from leasehold.model.request import Answer, Verdict
from leasehold.policy.document import REQUESTER, Policy
from leasehold.policy.evaluate import ApprovalNeed, is_entitled

__all__ = [
    "answers_of",
    "approver_needs",
    "approvers_of",
    "edited",
    "encode_answers",
    "is_approved",
    "people_who_may",
    "refuse_newcomer",
    "refuse_person",
    "refuse_proof",
    "words_of_denial",
]

_DECODER = msgspec.json.Decoder(tuple[Answer, ...])


def answers_of(row: RequestRow) -> tuple[Answer, ...]:
    """The answers given so far, oldest first."""
    return _DECODER.decode(row.answers)


def encode_answers(answers: tuple[Answer, ...]) -> bytes:
    """The bytes that a request's row keeps."""
    return msgspec.json.encode(answers)


def words_of_denial(row: RequestRow) -> str:
    """What the person who said no wrote, with their name; empty where nobody wrote anything."""
    said = [answer for answer in answers_of(row) if answer.verdict is Verdict.DENY and answer.reason]
    return f"{said[-1].person}: {said[-1].reason}" if said else ""


def edited(row: RequestRow) -> Decision:
    """The refusal of what people edited meanwhile, with what it is now."""
    refusal = deny(
        Reason.EDITED,
        f"people edited {row.request_id}; it is {row.used_by} now",
        check="nobody edited it",
        enough="what it was edited to: make that call, or wait on that request",
    )
    return msgspec.structs.replace(refusal, request_id=row.used_by)


def refuse_person(
    policy: Policy, person: str, *, route: str, requested_by: str, effect: Effect, editors: Collection[str] = ()
) -> Decision | None:
    """Why this person's word does not count for this requester on this route. Who edited a request made it as well."""
    rule = policy.route(route)
    confirms_own = rule is not None and rule.approvers == (REQUESTER,)
    if person in (requested_by, *editors) and not (confirms_own and effect is not Effect.DESTRUCTIVE):
        made = "is the requester" if person == requested_by else "edited this request"
        return deny(
            Reason.OWN_REQUEST,
            f"{person} {made}; nobody approves their own request",
            rule=f"routes.{route}.approvers",
            check="approver is neither requester nor editor",
            enough="the word of another entitled person",
        )
    if not is_entitled(policy, person, route, requested_by):
        return deny(
            Reason.NOT_ENTITLED,
            f"{person} has no role that {route} names as approver",
            rule=f"routes.{route}.approvers",
            check=f"a role of {person} in {list(rule.approvers) if rule else []}",
            enough="the word of a person with one of these roles",
        )
    return None


def refuse_proof(policy: Policy, answer: Answer, effect: Effect) -> Decision | None:
    """Why an answer about this effect is not proven well enough, by the live policy. A no needs only the voice, but
    what is destructive has no buttons in a chat, so no answer of any kind comes from there."""
    if effect is Effect.DESTRUCTIVE and isinstance(answer.proof, ChatProof):
        return deny(
            Reason.NOT_IN_CHAT,
            "what is destructive is not answered in a chat",
            check="effect != destructive",
            enough="the same answer in the console or at a terminal",
        )
    if answer.verdict is not Verdict.APPROVE or effect is not Effect.DESTRUCTIVE:
        return None
    if policy.defaults.destructive_by_passkey and not isinstance(answer.proof, PasskeyProof):
        return deny(
            Reason.PASSKEY_NEEDED,
            "what is destructive is approved with a passkey",
            rule="defaults.destructive_by_passkey",
            check="proof == passkey",
            enough="the same answer, signed with a passkey in the console",
        )
    longest = policy.defaults.destructive_sign_in_seconds
    if longest is None or not isinstance(answer.proof, SessionProof):
        return None
    if answer.answered_at - answer.proof.authenticated_at > longest:
        return deny(
            Reason.SIGN_IN_TOO_OLD,
            f"what is destructive is approved within {longest} s of signing in",
            rule="defaults.destructive_sign_in_within",
            check=f"answered_at - authenticated_at <= {longest}",
            enough="sign in again, then answer",
        )
    return None


def refuse_newcomer(person: PersonRow | None, proof: AnswerProof, row: RequestRow | None) -> Decision | None:
    """Why a chat's user does not speak for this person on this request: they were added since it was made. Nothing of
    the person's own stands behind what a chat says, so what they said before they were let go would count again."""
    if not isinstance(proof, ChatProof) or person is None or row is None or person.recorded < row.recorded:
        return None
    return deny(
        Reason.NOT_IN_CHAT,
        f"{person.person} was added after this was asked",
        check="known here before the request",
        enough="the same answer in the console or at a terminal",
    )


def approver_needs(policy: Policy, route: str, requested_by: str) -> list[Need]:
    """The people of the policy whose word may count on a route: what `approvers_of` asks for.

    Whoever has the role by a group of a provider is found by their answer, once it is there (`Facts.seek`).
    """
    people = sorted({*policy.people, requested_by})
    return [Ref(PersonRow, (AUTHORITY_WIDE, name)) for name in people if is_entitled(policy, name, route, requested_by)]


def approvers_of(
    facts: Facts, policy: Policy, row: RequestRow, *, route: str, requested_by: str, effect: Effect
) -> tuple[str, ...]:
    """The people whose approval of this request counts now, each once, by what vouched as well as by name."""
    counted: dict[str, str] = {}
    for answer in answers_of(row):
        if answer.verdict is not Verdict.APPROVE or answer.vouched_by in counted.values():
            continue
        person = facts.seek(PersonRow, AUTHORITY_WIDE, answer.person)
        if refuse_person(
            as_proven(policy, person, facts.now),
            answer.person,
            route=route,
            requested_by=requested_by,
            effect=effect,
            editors=bond_of(row).editors,
        ):
            continue
        if refuse_proof(policy, answer, effect) is not None:
            continue
        if is_answer_vouched(policy, person, answer.proof) and refuse_newcomer(person, answer.proof, row) is None:
            counted.setdefault(answer.person, answer.vouched_by)
    return tuple(counted)


def people_who_may(
    policy: Policy, *, route: str, requested_by: str, effect: Effect, editors: Collection[str] = ()
) -> tuple[str, ...]:
    """The people, by name, whose word would count for this requester on this route."""
    return tuple(
        person
        for person in sorted({*policy.people, requested_by})
        if refuse_person(policy, person, route=route, requested_by=requested_by, effect=effect, editors=editors) is None
    )


def is_approved(
    facts: Facts, policy: Policy, row: RequestRow, need: ApprovalNeed, *, route: str, requested_by: str
) -> bool:
    """Whether as many people as the rule demands have approved, judged by the live policy."""
    counted = approvers_of(facts, policy, row, route=route, requested_by=requested_by, effect=need.effect)
    return len(counted) >= need.quorum
