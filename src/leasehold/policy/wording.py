"""The words of a refusal: rules as the policy file writes them, and the comparison that failed. Called by `evaluate`.

Texts are bounded, deterministic and hold only values that were checked or made visible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from leasehold.model.grant import Attributes, Constraint, Grant, Scalar, grants_to_json
from leasehold.model.text import visible
from leasehold.policy.client_rule import DoorRight, WorkloadIdentity

__all__ = [
    "allow_rule",
    "compare_constraints",
    "compare_values",
    "route_rule",
    "show_attributes",
    "show_constraint",
    "show_door",
    "show_identity",
    "show_name",
    "show_within",
]

_MAX_SHOWN = 200
_INTEGER = re.compile(r"-?[0-9]{1,15}", re.ASCII)


def route_rule(route: str) -> str:
    """`routes."support/close"`."""
    return f'routes."{route}"'


def allow_rule(route: str, action: str) -> str:
    """`routes."support/close".allow."ticket.close"`."""
    return f'{route_rule(route)}.allow."{action}"'


def show_name(name: str) -> str:
    """A name that came from outside, bounded, with hidden characters visible."""
    return _bounded(visible(name[:_MAX_SHOWN]))


def show_constraint(constraint: Constraint) -> str:
    """A constraint as policies and leases write it, in JSON."""
    return _json(constraint.to_json())


def show_attributes(grant: Grant) -> str:
    """What a grant's attributes may be, in JSON."""
    return _json(grants_to_json({grant.action: grant})[grant.action])


def show_door(door: DoorRight) -> str:
    """`ticket in prod`."""
    return f"{door.tool} in {door.environment}"


def show_identity(identity: WorkloadIdentity) -> str:
    """The issuer, and the claims that its tokens have to have."""
    claims = ", ".join(f"{name} = {value}" for name, value in sorted(identity.claims.items()))
    return f"{identity.issuer}: {claims}"


def show_within(name: str, constraints: Mapping[str, Constraint]) -> str:
    """What would be enough for one attribute; nothing if it is not offered at all."""
    return f"{name} in {show_constraint(constraints[name])}" if name in constraints else ""


def compare_values(name: str, attributes: Attributes, constraints: Mapping[str, Constraint]) -> str:
    """Why a call's values of one attribute fail: `replicas = 9 is not in {"max": 3}`."""
    if name not in constraints:
        return f"{show_name(name)} is not in the grant"
    constraint = constraints[name]
    outside: list[Scalar] = [value for value in attributes.get(name, ()) if not constraint.covers(value)]
    if not outside:
        return f"{name} is missing"
    return f"{name} = {_json(outside[0])} is not in {show_constraint(constraint)}{_other_type(outside[0], constraint)}"


def _other_type(value: Scalar, constraint: Constraint) -> str:
    """The one thing that is easily overlooked: `3` and `"3"` are two values, and paths and queries hold text."""
    if isinstance(value, str) and _INTEGER.fullmatch(value) and constraint.covers(int(value)):
        return ": it is text, and that is a number"
    if type(value) is int and constraint.covers(str(value)):
        return ": it is a number, and that is text"
    return ""


def compare_constraints(name: str, asked: Mapping[str, Constraint], offered: Mapping[str, Constraint]) -> str:
    """Why what is asked for one attribute is too much: `replicas {"max": 9} is not within {"max": 3}`."""
    if name not in asked or name not in offered:
        return f"{show_name(name)} is missing" if name in offered else f"{show_name(name)} is not in the grant"
    return f"{name} {show_constraint(asked[name])} is not within {show_constraint(offered[name])}"


def _json(value: object) -> str:
    return _bounded(json.dumps(value, ensure_ascii=False))


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
