"""A person edits a request that waits: a new one takes its place, judged by policy as if it had been asked like that.

The action stays what it was, the original is kept beside the new card, and who edited counts as a requester from there
on: their word approves nothing of it (requirement P12). The agent hears of it at its next step (`Reason.EDITED`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.answer import refuse_row
from leasehold.decide.approvals import refuse_person
from leasehold.decide.bond import EditedFrom
from leasehold.decide.call_request import ProposedCall
from leasehold.decide.cards import describe_constraint
from leasehold.decide.chain import refuse_run, run_needs
from leasehold.decide.edited import edit_row
from leasehold.decide.entries import request_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import REQUEST_TABLE, RequestEvent, advance
from leasehold.decide.proven import as_proven
from leasehold.decide.request import AskLease, refuse_undelegated
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, RequestRow
from leasehold.decide.voices import Voice, refuse_voice, voice_needs
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.card import Change
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import Grants
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.request import Request, RequestState
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import check_call

__all__ = ["EditCall", "EditLease", "Editor", "edits_between", "shown_grants"]


class Editor(msgspec.Struct, frozen=True, kw_only=True):
    """Who edits which request, and the words that they leave with it."""

    voice: Voice
    run: Run
    request: Request
    words: str = ""

    def needs(self) -> list[Need]:
        """The facts that the rest here asks for."""
        row = Ref(RequestRow, (self.run.tenant, self.request.request_id))
        return [row, *run_needs(self.run), *voice_needs(self.voice)]

    def row(self, facts: Facts) -> RequestRow | None:
        """The row of the request that is edited."""
        return facts.get(RequestRow, self.run.tenant, self.request.request_id)

    def refuse(self, facts: Facts, policy: Policy, effect: Effect, now: Instant) -> Decision | None:
        """Why this person may not edit this request: whoever may answer it may, and only while it waits."""
        return (
            refuse_row(self.row(facts), self.request, now)
            or refuse_voice(facts, self.voice, now)
            or refuse_person(
                as_proven(policy, facts.get(PersonRow, AUTHORITY_WIDE, self.voice.person), now),
                self.voice.person,
                route=self.run.route,
                requested_by=self.run.requested_by,
                effect=effect,
            )
            or refuse_run(facts, self.run, self.request.attempt, now)
        )

    def supersede(self, row: RequestRow, by: RequestId, policy: Policy) -> Changes:
        """The original out of the way: its row names what took its place, and so does the ledger."""
        state = advance(REQUEST_TABLE, RequestState(row.state), RequestEvent.SUPERSEDE)
        return Changes(rows=(replace(row, state=state, used_by=by),), entries=(self._entry(policy, by, state),))

    def refused(self, policy: Policy, refusal: Decision, outcome: str) -> tuple[StepAnswer[RequestId], Changes]:
        """The answer to an edit that is not made, which the ledger has too."""
        return StepAnswer(refusal), Changes(entries=(self._entry(policy, "", outcome, refusal),))

    def _entry(self, policy: Policy, by: str, outcome: str, refusal: Decision | None = None) -> Entry:
        return request_entry(
            EntryKind.REQUEST_SUPERSEDED,
            self.request,
            self.run,
            decision=refusal or allow(),
            policy=policy.hash,
            person=self.voice.person,
            outcome=outcome,
            detail={
                "why": "edited",
                **({"successor": by} if by else {}),
                **({"words": self.words} if self.words else {}),
            },
        )


class EditCall(msgspec.Struct, frozen=True, kw_only=True):
    """Put an edited call in the place of one that waits. `call` is the edited one, complete but for its original."""

    editor: Editor
    call: ProposedCall
    edits: tuple[Change, ...]

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.call.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [*self.editor.needs(), self.call.edits]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RequestId], Changes]:
        policy, original = self.call.policy_document, self.editor.request
        route = policy.route(self.editor.run.route)
        refusal = self.editor.refuse(facts, policy, self.call.need.effect, now) or self._refuse_scope()
        row = self.editor.row(facts)
        if refusal is not None or row is None or route is None:
            refusal = refusal or deny(Reason.UNKNOWN_ROUTE, f"{self.editor.run.route} is not in the active policy")
            return self.editor.refused(policy, refusal, row.state if row is not None else "")
        source = EditedFrom(
            request_id=original.request_id,
            editors=tuple(dict.fromkeys((*original.editors, self.editor.voice.person))),
            changes=self.edits,
        )
        made = replace(self.call, edited=source).ask(route, facts.next_index, now)
        over = self.editor.supersede(row, self.call.request_id, policy)
        return StepAnswer(allow(), self.call.request_id), Changes(
            rows=(
                *made.rows,
                *over.rows,
                edit_row(self.call.edits, facts, replace(source, request_id=self.call.request_id)),
            ),
            entries=(*made.entries, *over.entries),
        )

    def _refuse_scope(self) -> Decision | None:
        """Why the edited call could not be admitted: it is judged by every link and the live policy, as admit does."""
        call, run = self.call, self.editor.run
        verdict = check_call(call.policy_document, run.route, call.action, call.attributes, call.chain.policy_links)
        route = call.policy_document.route(run.route)
        if not verdict.is_allowed or route is None:
            return verdict
        if call.need.mode is ApprovalMode.NONE:
            return deny(
                Reason.NOT_PENDING,
                "nobody has to agree to such a call any more",
                check="people have to agree",
                enough="say no to this one with a reason, and let the agent make the other",
            )
        return refuse_undelegated(route, run, (call.action,))


class EditLease(msgspec.Struct, frozen=True, kw_only=True):
    """Put an edited request for a lease in the place of one that waits. `ask` asks for what it is edited to."""

    editor: Editor
    ask: AskLease

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.ask.policy

    def keys(self) -> Sequence[Need]:
        return [*self.editor.needs(), *self.ask.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RequestId], Changes]:
        policy = self.ask.policy_document
        effects = [policy.action(action).effect for action in self.editor.request.allow]
        strongest = max(effects, key=lambda effect: effect.rank)
        refusal = self.editor.refuse(facts, policy, strongest, now)
        row = self.editor.row(facts)
        if refusal is not None or row is None:
            refusal = refusal or deny(Reason.NOT_FOUND, f"{self.editor.request.request_id} is not in this ledger")
            return self.editor.refused(policy, refusal, row.state if row is not None else "")
        asked, made = self.ask.decide(facts, now)
        if asked.value is None:
            return StepAnswer(asked.decision), made
        request_id = asked.value.request.request_id
        over = self.editor.supersede(row, request_id, policy)
        return StepAnswer(allow(), request_id), Changes(
            rows=(*made.rows, *over.rows), entries=(*made.entries, *over.entries)
        )


def edits_between(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """How two sets of named values differ, by name, as cards write them; `-` stands for what is not there."""
    names = sorted({*before, *after})
    found = [Change(name, before.get(name, "-"), after.get(name, "-")) for name in names]
    return tuple(change for change in found if change.is_change)


def shown_grants(allow: Grants) -> dict[str, str]:
    """Every constraint of a set of grants under the name of its action and attribute, as cards write it."""
    shown: dict[str, str] = {}
    for action, grant in allow.items():
        shown[action] = "asked for"
        shown |= {f"{action} {name}": describe_constraint(entry) for name, entry in grant.attributes.items()}
    return shown
