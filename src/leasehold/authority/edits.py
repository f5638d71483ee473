"""Edited requests: from what a person changed to the step that judges it, and from the ledger back to the agent.

Called by the desk. What an edit starts from is the card, because that is what the person saw.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from leasehold.authority.engine import Engine
from leasehold.authority.so_far import run_so_far
from leasehold.decide.call_request import ProposedCall, call_digest
from leasehold.decide.edit import EditCall, EditLease, Editor, edits_between, shown_grants
from leasehold.decide.request import AskLease
from leasehold.decide.voices import Voice
from leasehold.errors import Denied, InvalidError
from leasehold.model.canonical import Json, decode, encode, text_of
from leasehold.model.card import Card
from leasehold.model.decision import Reason, deny
from leasehold.model.grant import Grants
from leasehold.model.ids import RequestId
from leasehold.model.request import Request, RequestKind
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import attributes_of, key_of, need_for_call

__all__ = ["edit_call", "edit_lease"]


def edit_call(
    engine: Engine, request: Request, card: Card, voice: Voice, arguments: Mapping[str, Json], words: str
) -> RequestId:
    """Put the same call with other arguments in the place of one that waits; answers the id of the new request.

    `arguments` are those that change; the others stay as they are.

    Raises:
        InvalidError: it is no request for a call, nothing changes, or the arguments are no JSON or lack an attribute.
        Denied: an argument is redacted, this person may not edit it, or the policy does not allow the edited call.
    """
    if request.kind is not RequestKind.CALL:
        raise InvalidError(f"{request.request_id} is a request for a lease; edit what its attributes may be")
    edited = {**_arguments(card), **arguments}
    if encode(edited).decode() == card.exact_arguments:
        raise InvalidError("nothing is edited: the arguments are what they were")
    run = engine.run(request.tenant, request.run_id)
    new_id = RequestId(engine.system.new_id("req"))
    editor = Editor(voice=voice, run=run, request=request, words=words)

    def build(policy: Policy) -> EditCall:
        call = _proposed(engine, policy, request, card, edited, new_id)
        shown = {name: text_of(value) for name, value in call.arguments.items()}
        return EditCall(editor=editor, call=call, edits=edits_between(card.arguments, shown))

    return engine.ask(build)


def _arguments(card: Card) -> dict[str, Json]:
    """The arguments of a card, exactly."""
    value = decode(card.exact_arguments.encode()) if card.exact_arguments else None
    if not isinstance(value, dict):
        raise Denied(
            deny(
                Reason.POLICY_DENIES,
                "the policy redacts an argument of this call; nobody can edit what nobody sees",
                rule="actions.redact",
                check="no argument is redacted",
                enough="say no with a reason, and let the agent make another call",
            )
        )
    return value


def _proposed(
    engine: Engine, policy: Policy, request: Request, card: Card, arguments: dict[str, Json], new_id: RequestId
) -> ProposedCall:
    """The edited call as its door would put it to people."""
    action = next(iter(request.allow))
    chain = engine.chain(request.tenant, request.lease_id or "")
    digester, rule = engine.digester(request.tenant), policy.action(action)
    attributes = attributes_of(rule, arguments)
    key = key_of(rule, attributes) or request.key
    digest = digester.digest("arguments", encode(arguments))
    return ProposedCall(
        policy_document=policy,
        digester=digester,
        chain=chain,
        action=action,
        attributes=attributes,
        arguments=arguments,
        key=key,
        need=need_for_call(policy, chain[-1].run.route, action, [link.lease.allow for link in chain]),
        request_id=new_id,
        arguments_digest=digest,
        call_digest=call_digest(digester, chain, action, rule.effect, digest, key, card.tool_schema),
        tool_schema=card.tool_schema,
    )


def edit_lease(
    engine: Engine, request: Request, voice: Voice, allow: Grants, above: tuple[Grants, ...], words: str
) -> RequestId:
    """Put a request with other grants in the place of one that waits; answers the id of the new one.

    Raises:
        InvalidError: it is no request for a lease, nothing changes, or an action is new.
        Denied: this person may not edit it, or the route does not offer what it is edited to.
    """
    if request.kind is not RequestKind.LEASE:
        raise InvalidError(f"{request.request_id} is a request for a call; edit its arguments")
    more = sorted(allow.keys() - request.allow.keys())
    if more:
        raise InvalidError(f"{more[0]} is not in {request.request_id}; an edit changes values, it adds no action")
    if dict(allow) == request.allow:
        raise InvalidError("nothing is edited: the grants are what they were")
    run = engine.run(request.tenant, request.run_id)
    draft = replace(
        request,
        request_id=RequestId(engine.system.new_id("req")),
        allow=dict(allow),
        edited_from=request.request_id,
        editors=tuple(dict.fromkeys((*request.editors, voice.person))),
    )
    editor = Editor(voice=voice, run=run, request=request, words=words)
    edits = edits_between(shown_grants(request.allow), shown_grants(allow))
    facts, digester = run_so_far(engine, run), engine.digester(request.tenant)
    return engine.ask(
        lambda policy: EditLease(
            editor=editor,
            ask=AskLease(
                policy_document=policy,
                digester=digester,
                run=run,
                request=draft,
                above=above,
                facts=facts,
                edits=edits,
            ),
        )
    )
