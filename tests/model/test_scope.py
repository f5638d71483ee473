"""What can be stopped, as an operator writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.scope import Scope, ScopeKind

ID = "01JZ8Q5X0M3V7K2N9B4C6D8E0F"


@pytest.mark.requirement("P15", "L6")
@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("all", ScopeKind.ALL, ""),
        (f"lease:lease_{ID}", ScopeKind.LEASE, f"lease_{ID}"),
        (f"request:req_{ID}", ScopeKind.REQUEST, f"req_{ID}"),
        (f"run:run_{ID}", ScopeKind.RUN, f"run_{ID}"),
        ("person:user:ana", ScopeKind.PERSON, "user:ana"),
        ("agent:release-bot", ScopeKind.AGENT, "release-bot"),
        ("tool:deploy.prod", ScopeKind.TOOL, "deploy.prod"),
        ("action:deploy.prod.release:create", ScopeKind.ACTION, "deploy.prod.release:create"),
        ("tenant:acme", ScopeKind.TENANT, "acme"),
        ("environment:prod", ScopeKind.ENVIRONMENT, "prod"),
        ("route:support/close", ScopeKind.ROUTE, "support/close"),
    ],
)
def test_every_kind_of_scope_is_read_and_shown_the_same(text: str, kind: ScopeKind, value: str) -> None:
    scope = Scope.parse(text)
    assert (scope.kind, scope.value) == (kind, value)
    assert str(scope) == text


@pytest.mark.case(28, 29, 57)
@pytest.mark.parametrize(
    "text",
    ["", "All", "all:", "all:x", ":", "tool", "tool:", "tool: x", "tool:*", "tool:x\n", "Tool:x", "tools:x",
     f"lease:{ID}", f"lease:run_{ID}", f"run:run_{ID[:-1]}", "run:run_*", "action:close", "person:", "tenant:a//b"],
)  # fmt: skip
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        Scope.parse(text)


def test_a_scope_of_everything_takes_no_value() -> None:
    with pytest.raises(InvalidError, match="takes no value"):
        Scope(ScopeKind.ALL, "x")


@given(st.text(max_size=20))
def test_any_text_is_a_scope_that_shows_as_itself_or_refused(text: str) -> None:
    for candidate in (text, f"tool:{text}"):
        try:
            scope = Scope.parse(candidate)
        except InvalidError:
            continue
        assert str(scope) == candidate


def test_scopes_sort_by_kind_and_value() -> None:
    scopes = [Scope.parse(text) for text in ("tool:b", "tool:a", "agent:z", "all")]
    assert [str(scope) for scope in sorted(scopes)] == ["agent:z", "all", "tool:a", "tool:b"]
