"""Allow or deny, as a value, with a closed reason and the evidence. Made by policy and decide; shown everywhere."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.plain import escape

__all__ = ["WAITING", "Decision", "Reason", "allow", "deny"]


class Reason(StrEnum):
    """Why a step was refused. A code never changes its meaning (convention 18)."""

    OK = "ok"
    # the token and the door
    BAD_TOKEN = "bad_token"  # noqa: S105 - a reason, not a secret
    WRONG_TOOL = "wrong_tool"
    WRONG_ENVIRONMENT = "wrong_environment"
    # repeats
    CONFLICT = "conflict"
    IN_FLIGHT = "in_flight"
    OUTCOME_UNKNOWN = "outcome_unknown"
    ALREADY_DONE = "already_done"
    ALREADY_SETTLED = "already_settled"
    # time and life
    CLOCK = "clock"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    REVOKED = "revoked"
    HELD = "held"
    RUN_FINISHED = "run_finished"
    STALE_ATTEMPT = "stale_attempt"
    STALE_EPOCH = "stale_epoch"
    NOT_FRESH = "not_fresh"
    COMPLETED = "completed"
    ENDING = "ending"
    PARENT_CALL_OVER = "parent_call_over"
    NOT_PENDING = "not_pending"
    # what was granted
    NOT_GRANTED = "not_granted"
    OUT_OF_RANGE = "out_of_range"
    ACTION_DENIED = "action_denied"
    POLICY_DENIES = "policy_denies"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_ROUTE = "unknown_route"
    BAD_ATTRIBUTE = "bad_attribute"
    WIDER_THAN_PARENT = "wider_than_parent"
    NO_DELEGATION = "no_delegation"
    TTL_TOO_LONG = "ttl_too_long"
    OUTSIDE_HOURS = "outside_hours"
    FROZEN = "frozen"
    OUT_OF_ORDER = "out_of_order"
    PREREQUISITE_OPEN = "prerequisite_open"
    TOO_LARGE = "too_large"
    CLIENT_MAY_NOT = "client_may_not"
    UNKNOWN_CLIENT = "unknown_client"
    # people
    KEY_NEEDED = "key_needed"
    APPROVAL_NEEDED = "approval_needed"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    NOT_ENTITLED = "not_entitled"
    OWN_REQUEST = "own_request"
    BAD_SIGNATURE = "bad_signature"
    NOT_SIGNED_IN = "not_signed_in"
    PASSKEY_NEEDED = "passkey_needed"
    SIGN_IN_TOO_OLD = "sign_in_too_old"
    REPLAYED = "replayed"
    CARD_CHANGED = "card_changed"
    PREVIEW_NEEDED = "preview_needed"
    STATE_MOVED = "state_moved"
    TERMS_CHANGED = "terms_changed"
    TOO_MANY_PENDING = "too_many_pending"
    EDITED = "edited"
    NOT_IN_BATCH = "not_in_batch"
    NOT_IN_CHAT = "not_in_chat"
    # money and repeats of refusals
    BUDGET = "budget"
    # the guard's own
    NOT_STARTED_IN_TIME = "not_started_in_time"
    ENDED = "ended"


WAITING = frozenset({Reason.APPROVAL_NEEDED, Reason.STATE_MOVED, Reason.TERMS_CHANGED})
"""The refusals of a call that a person's yes would lift."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided and why.

    `rule` names the policy rule or lease field that decided; `check` the comparison that failed, in words; `enough`
    what would be enough, only ever about things inside the run's own envelope; `request_id` a request to wait on,
    `admission_id` a call of the same run to wait for; `preview` the read that a guard has to make first, so that people
    see what the call would change; `words` what the person who said no wrote to the agent, with their name.
    """

    reason: Reason = Reason.OK
    message: str = ""
    rule: str = ""
    check: str = ""
    enough: str = ""
    request_id: str = ""
    preview: str = ""
    admission_id: str = ""
    words: str = ""

    @property
    def is_allowed(self) -> bool:
        """Whether the step may go on."""
        return self.reason is Reason.OK

    def describe(self) -> str:
        """One line for a person: the reason, what happened, what would be enough."""
        parts = [f"denied ({self.reason}): {self.message}" if not self.is_allowed else "allowed"]
        if self.check:
            parts.append(f"check: {self.check}")
        if self.rule:
            parts.append(f"rule: {self.rule}")
        if self.words:
            parts.append(f"a person wrote: {escape(self.words)}")
        if self.enough:
            parts.append(f"enough would be: {self.enough}")
        return "; ".join(parts)


def allow(rule: str = "") -> Decision:
    """The positive decision."""
    return Decision(rule=rule)


def deny(reason: Reason, message: str, *, rule: str = "", check: str = "", enough: str = "") -> Decision:
    """A refusal."""
    return Decision(reason=reason, message=message, rule=rule, check=check, enough=enough)
