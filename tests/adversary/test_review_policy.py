"""A policy that says less than its author meant does not load."""

from __future__ import annotations

import pytest

from leasehold.errors import ConfigError
from stage import changed, policy

DENY = 'deny = ["mail.purge"]'


@pytest.mark.requirement("P1")
@pytest.mark.case(28)
@pytest.mark.parametrize("pattern", ["tickets.*", "Ticket.*", "ticker.*"])
def test_a_deny_of_a_mistyped_tool_does_not_load(pattern: str) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        policy(changed(DENY, f'deny = ["mail.purge", "{pattern}"]'))


@pytest.mark.parametrize("pattern", ["secrets.*", "mail.*", "*"])
def test_a_deny_of_a_known_or_an_unrelated_tool_loads(pattern: str) -> None:
    assert pattern in policy(changed(DENY, f'deny = ["{pattern}"]')).routes["desk"].deny
