"""Policies that wait for a second person: the list, and one of them with all that it would make possible, in words.

Proposing stays at the terminal, where the policy file is. What is shown here is what the terminal shows, and the word
that is given is bound to both policies and to exactly what was listed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.governing import Proposed, state_of
from leasehold.console.deciding import read_verdict
from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.console.links import link
from leasehold.console.live import fingerprint
from leasehold.console.sight import FINAL_WAIT_MS, Sight, read_sight, refuse_sight
from leasehold.errors import Denied
from leasehold.http.events import event_stream
from leasehold.http.forms import check_token, read_form
from leasehold.http.passkeys import is_passkey_page, policy_options, read_assertion, site_of
from leasehold.http.sessions import again_path
from leasehold.model.decision import Reason
from leasehold.model.proposal import PolicyVerdict, ProposalState
from leasehold.model.request import Verdict
from leasehold.policy.reach import ReachKind
from leasehold.policy.telling import change_words, client_gain_words, is_in_reach, reach_words
from leasehold.token.passkey import Assertion

__all__ = ["Gain", "ProposalPage", "proposal_page", "proposal_routes"]

_VERDICTS = {Verdict.APPROVE: PolicyVerdict.CONFIRM, Verdict.DENY: PolicyVerdict.REFUSE}
_LATE = frozenset({Reason.NOT_PENDING, Reason.CONFLICT, Reason.CARD_CHANGED})
_APPROVAL_KINDS = frozenset(
    {ReachKind.MODE, ReachKind.QUORUM, ReachKind.APPROVERS, ReachKind.AFTER, ReachKind.HOURS, ReachKind.FREEZE}
)
_THROUGH_KINDS = frozenset({ReachKind.DELEGATED, ReachKind.THROUGH_IMPLIES, ReachKind.THROUGH_USES})


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What became possible in one way, a line for each call that did."""

    title: str
    lines: tuple[str, ...]


class ProposalPage(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as it is drawn, apart from the time that is left.

    `gains` is everything that became reachable or lost an approval, `wider` what else may be more or longer, `other`
    what changes without widening anything. `not_mine` says why this person cannot confirm it, `lacks` what their
    confirmation needs besides the session as it is.
    """

    policy: str
    replaces: str
    widening: str
    proposal_id: str
    state: ProposalState
    person: str
    proposed_at: int
    answer_by: int
    gains: tuple[Gain, ...]
    wider: tuple[str, ...]
    other: tuple[str, ...]
    not_mine: str
    is_theirs: bool
    lacks: Reason | None

    @property
    def is_open(self) -> bool:
        """Whether it waits for an answer."""
        return self.state is ProposalState.PENDING

    @property
    def about(self) -> str:
        """What a form on it is about: this proposal, both policies, and what was listed."""
        return f"{self.proposal_id} {self.policy} {self.replaces} {self.widening}"

    @property
    def shown(self) -> str:
        """The fingerprint of everything that it shows and that can change."""
        return fingerprint((self.about, self.state, self.not_mine))


def proposal_page(proposed: Proposed) -> ProposalPage:
    """A proposal as it stands now."""
    row, reached = proposed.proposal.row, proposed.reached
    said = [change for change in proposed.changes if not (change.widens and is_in_reach(change, reached))]
    return ProposalPage(
        policy=row.policy,
        replaces=row.replaces,
        widening=proposed.widening,
        proposal_id=row.proposal_id,
        state=proposed.state,
        person=row.person,
        proposed_at=row.proposed_at,
        answer_by=row.answer_by,
        gains=tuple(_gains(proposed)),
        wider=tuple(change_words(change) for change in said if change.widens),
        other=tuple(change_words(change) for change in said if not change.widens),
        not_mine=proposed.refusal.message if proposed.refusal is not None else "",
        is_theirs=proposed.is_theirs,
        lacks=proposed.proof.reason if proposed.proof is not None else None,
    )


def _gains(proposed: Proposed) -> Iterator[Gain]:
    reached = proposed.reached
    for title, kinds in (
        ("Can be done that could not", frozenset({ReachKind.CALL})),
        ("Takes fewer people, other people, or less waiting", _APPROVAL_KINDS),
        ("Can be reached through something else", _THROUGH_KINDS),
    ):
        lines = tuple(reach_words(item) for item in reached if item.kind in kinds)
        if lines:
            yield Gain(title=title, lines=lines)
    if proposed.gained:
        yield Gain(title="Programs may do more over the network", lines=tuple(map(client_gain_words, proposed.gained)))


def proposals(request: Request) -> Response:
    """Every policy that was proposed, those that wait first."""
    governing, now = viewer_of(request).governing, viewer_of(request).now()
    waiting = governing.open()
    over = [(row, state_of(row, now.seconds)) for row in governing.all() if row not in waiting]
    return draw_page(request, "proposals.html", here="policy", waiting=waiting, over=over)


def proposal(request: Request) -> Response:
    """One proposal, with all that it would make possible."""
    return _show(request)


async def proposal_events(request: Request) -> Response:
    """Tells the browser when it has changed."""
    await run_in_threadpool(_page, request)
    return event_stream(request, lambda: _page(request).shown)


async def answer(request: Request) -> Response:
    """Take one person's word about exactly the proposal that they were shown."""
    form = await read_form(request)
    seen = (form.get("replaces", ""), form.get("widening", ""))
    about = f"{form.get('proposal', '')} {request.path_params['policy']} {seen[0]} {seen[1]}"
    check_token(request, form, "policy", about)
    verdict = _VERDICTS[read_verdict(form.get("verdict", ""))]
    assertion = read_assertion(form["credential"]) if form.get("credential") else None
    said = _Said(verdict=verdict, seen=seen, about=about, sight=form.get("sight", ""), assertion=assertion)
    return await run_in_threadpool(_take, request, said)


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody sent: their word, and what they saw and signed."""

    verdict: PolicyVerdict
    seen: tuple[str, str]
    about: str
    sight: str
    assertion: Assertion | None


def _take(request: Request, said: _Said) -> Response:
    viewer, page = viewer_of(request), _page(request)
    if said.verdict is PolicyVerdict.CONFIRM and page.is_open and not page.not_mine:
        sight = read_sight(said.sight, tokens_of(request), said.about)
        hasty = refuse_sight(sight, shown=page.shown, wait_ms=FINAL_WAIT_MS, now=viewer.now())
        if hasty:
            return _show(request, status=409, told=f"{hasty} Nothing was done.")
    try:
        viewer.governing.answer(page.policy, said.verdict, seen=said.seen, assertion=said.assertion)
    except Denied as denied:
        if denied.decision.reason not in _LATE:
            raise
        return _show(request, status=409, told=f"Nothing was done: {denied.decision.message}.")
    return RedirectResponse(link("policy/proposals", page.policy), status_code=303)


def _page(request: Request) -> ProposalPage:
    return proposal_page(viewer_of(request).governing.look(request.path_params["policy"]))


def _show(request: Request, *, status: int = 200, told: str = "") -> Response:
    page, tokens, site = _page(request), tokens_of(request), site_of(request)
    sight = Sight(shown_ms=int(viewer_of(request).now()), is_whole=True, shown=page.shown)
    return draw_page(
        request,
        "proposal.html",
        here="policy",
        status=status,
        page=page,
        told=told,
        wait_ms=FINAL_WAIT_MS,
        token=tokens.make("policy", page.about),
        passkey=_passkey(request, page),
        elsewhere="" if is_passkey_page(request) else site.passkey_origin,
        again=again_path(link("policy/proposals", page.policy)),
        sight=sight.seal(tokens, page.about),
    )


def _passkey(request: Request, page: ProposalPage) -> str:
    """What the browser hands to this person's passkey for a confirmation, where they have one; else empty."""
    viewer = viewer_of(request)
    if not page.is_open or page.not_mine or not viewer.passkeys() or not is_passkey_page(request):
        return ""
    statement = viewer.governing.statement(page.policy, PolicyVerdict.CONFIRM)
    return policy_options(viewer, site_of(request), statement)


def proposal_routes() -> list[BaseRoute]:
    """The pages of proposals."""
    return [
        Route("/policy/proposals", proposals),
        Route("/policy/proposals/{policy}", proposal),
        Route("/policy/proposals/{policy}/answer", answer, methods=["POST"]),
        Route("/events/policy/proposals/{policy}", proposal_events),
    ]
