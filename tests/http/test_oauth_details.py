"""What a token request asks for: scopes and RFC 9396 details, read strictly."""

from __future__ import annotations

import json

import pytest

from leasehold.http.oauth.answers import OAuthError
from leasehold.http.oauth.details import Asked, RunAsked, read_asked, scope_of
from leasehold.http.oauth.params import Params, checked

GRANT = {"type": "urn:leasehold:grant:1", "actions": ["ticket.get"], "constraints": {"ticket": ["T-1"]}}
RUN = {"type": "urn:leasehold:run:1", "route": "desk", "agent": "bot", "purpose": "answer T-1"}


def asked(details: object = None, scope: str = "") -> Asked:
    text = details if isinstance(details, str) else json.dumps(details) if details is not None else ""
    return read_asked(Params({"authorization_details": text, "scope": scope}))


def test_a_scope_asks_for_all_that_a_route_offers() -> None:
    assert asked(scope=scope_of("support/close")) == Asked(run=RunAsked(route="support/close"), allow=None)


def test_details_ask_for_grants_as_tokens_carry_them_and_say_for_which_run() -> None:
    found = asked([GRANT, RUN, GRANT | {"actions": ["ticket.list"], "constraints": {}}], "lease:desk")
    assert found.allow == {"ticket.get": {"ticket": ["T-1"]}, "ticket.list": {}}
    assert (found.run.route, found.run.agent, found.run.purpose) == ("desk", "bot", "answer T-1")
    assert asked() == Asked(run=RunAsked(), allow=None)


@pytest.mark.case(13, 14, 15, 17, 20)
@pytest.mark.parametrize(
    "details",
    [
        {}, [], "", [1], [[]], ["x"], "[", "nul", "null", [{}], [{"type": "other"}], [RUN, RUN], [GRANT, GRANT],
        [GRANT | {"more": 1}], [GRANT | {"actions": []}], [GRANT | {"actions": ["a", "b"]}], [GRANT | {"actions": "a"}],
        [GRANT | {"constraints": {"a": 1.5}}], [GRANT | {"constraints": {"a": {"max": 1.5}}}], [RUN | {"more": 1}],
        [RUN | {"ttl_seconds": 901}], [RUN | {"ttl_seconds": True}], [RUN | {"agent": None}],
        [RUN | {"purpose": "x" * 2001}],
        [GRANT] * 65, '[{"type":"urn:leasehold:run:1","type":"urn:leasehold:run:1"}]', '["\\ud800"]', "[" * 5000,
    ],
)  # fmt: skip
def test_details_that_could_be_taken_in_two_ways_are_refused(details: object) -> None:
    if details == "":
        details = " "
    with pytest.raises(OAuthError) as error:
        asked(details)
    assert error.value.error == "invalid_authorization_details"


@pytest.mark.parametrize(
    "scope", ["lease", "lease:", "openid", "lease:a lease:b", "lease:a ", "LEASE:a", "lease:other"]
)
def test_a_scope_names_one_route_and_nothing_else(scope: str) -> None:
    with pytest.raises(OAuthError) as error:
        asked([RUN], scope)
    assert error.value.error == "invalid_scope"


def test_a_parameter_stands_once_and_an_empty_one_is_left_out() -> None:
    params = checked({"a": ("1",), "b": ("",)})
    assert (params.get("a"), params.get("b"), params.values) == ("1", "", {"a": "1"})
    for lists in ({"a": ("1", "1")}, {"a": ("", "")}, {"a": ("x" * 16_385,)}):
        with pytest.raises(OAuthError):
            checked(lists)
    with pytest.raises(OAuthError, match="missing"):
        params.need("b")
    assert params.choose("c", "x", "y", default="y") == "y"
    with pytest.raises(OAuthError, match="x or y"):
        params.choose("a", "x", "y")


def test_an_error_keeps_to_the_characters_of_the_standard() -> None:
    body = json.loads(bytes(OAuthError("invalid_request", 'say "é" \\ \n').response().body))
    assert body["error_description"] == "say ''' ' '"
