"""From the call that a guard proposes to the step that judges it, under whichever policy is active then. For doors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from leasehold.authority.engine import Engine
from leasehold.decide.admit import Admit
from leasehold.decide.call_request import call_digest
from leasehold.decide.chain import Chain
from leasehold.decide.glass_use import GlassUse
from leasehold.errors import InvalidError
from leasehold.model.call import Call, check_key
from leasehold.model.canonical import Json, decode_canonical
from leasehold.model.card import Card, decode_card
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.grant import Attributes, split_action
from leasehold.model.ids import RequestId
from leasehold.model.request import RequestState
from leasehold.policy.document import ActionRule, Policy
from leasehold.policy.evaluate import attributes_of, key_of

__all__ = ["AskedCall", "read_arguments"]


class AskedCall(NamedTuple):
    """One call that a tool's door was asked about: what does not change when the policy does.

    `arguments` is the value of the call's bytes, `new_request` the id that a request for it gets if one has to be made.
    `client` is whose door it is, empty for that of whoever holds the open state; `glass` a person's use of their own
    break-glass.
    """

    engine: Engine
    tool: str
    client: str
    chain: Chain
    call: Call
    arguments: Mapping[str, Json]
    new_request: RequestId
    glass: GlassUse | None = None

    def step(self, policy: Policy) -> Admit:
        """The step, with what this policy reads out of the arguments."""
        chain, call = self.chain, self.call
        digester, rule = self.engine.digester(chain[-1].run.tenant), policy.action(call.action)
        attributes, refusal = self._attributes(rule)
        key = _key(rule, attributes, call)
        arguments = digester.digest("arguments", call.arguments)
        digest = call_digest(digester, chain, call.action, rule.effect, arguments, key, call.tool_schema)
        return Admit(
            policy_document=policy,
            digester=digester,
            chain=chain,
            call=call,
            arguments=self.arguments,
            attributes=attributes or {},
            found_before=refusal,
            key=key,
            new_request=self.new_request,
            arguments_digest=arguments,
            call_digest=digest,
            earlier_card=self._earlier_card(digest) if call.preview is not None else None,
            glass=self.glass,
            client=self.client,
        )

    def _attributes(self, rule: ActionRule) -> tuple[Attributes | None, Decision | None]:
        """What the arguments say for each attribute that the action declares, or why they cannot be read for it."""
        action = self.call.action
        if split_action(action)[0] != self.tool:
            return None, deny(Reason.WRONG_TOOL, f"{action} is no action of {self.tool}", check="same tool")
        try:
            return attributes_of(rule, self.arguments), None
        except InvalidError as error:
            return None, deny(Reason.BAD_ATTRIBUTE, str(error), rule=f"actions.{action}.args")

    def _earlier_card(self, digest: str) -> Card | None:
        """The newest card of a call that waits or was approved, to say on the next one what moved since then."""
        run, queries = self.chain[-1].run, self.engine.store.queries
        rows = [
            row
            for row in queries.requests_of_run(run.tenant, run.run_id)
            if row.call_digest == digest and row.state in (RequestState.PENDING, RequestState.APPROVED)
        ]
        body = queries.card(run.tenant, max(rows, key=lambda row: row.recorded).card_digest) if rows else None
        return decode_card(body) if body is not None else None


def read_arguments(call: Call) -> Mapping[str, Json]:
    """The value of a call's bytes.

    Raises:
        InvalidError: they are not the canonical JSON of one object.
    """
    value = decode_canonical(call.arguments)
    if not isinstance(value, dict):
        raise InvalidError("arguments are the canonical JSON (RFC 8785) of one object")
    return value


def _key(rule: ActionRule, attributes: Attributes | None, call: Call) -> str | None:
    """The idempotency key of a write: the action's own rule, else the caller's. Reads have none; repeat them freely."""
    if rule.effect is Effect.READ:
        return None
    own = key_of(rule, attributes) if attributes is not None else None
    return call.key if own is None else check_key(own)
