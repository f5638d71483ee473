"""The pytest plugin: collects the `[[tests]]` of policy files. Loaded by pytest through its entry point.

Every `leasehold.toml` below what pytest was asked to run is a file of tests, each expectation a test of its own. Since
pytest loads this in every project of the environment, Leasehold itself is imported only once such a file was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leasehold.policy.cases import Outcome
    from leasehold.policy.document import Policy

__all__ = ["Expectation", "PolicyFile", "pytest_collect_file"]

_NAME = "leasehold.toml"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> PolicyFile | None:
    """Take policy files, and nothing else."""
    return PolicyFile.from_parent(parent, path=file_path) if file_path.name == _NAME else None


class PolicyFile(pytest.File):
    """A policy with its `[[tests]]`. One that does not load is an error of collection, with file and line."""

    def collect(self) -> Iterator[Expectation]:
        """Each expectation of each test, in the order of the file."""
        from leasehold.assemble import read_policy
        from leasehold.errors import ConfigError
        from leasehold.policy.cases import Outcome

        try:
            policy = read_policy(self.path)
        except ConfigError as error:
            raise self.CollectError(str(error)) from None
        for test in policy.tests:
            expected = {
                Outcome.ALLOWS: test.allows,
                Outcome.NEEDS_APPROVAL: test.needs_approval,
                Outcome.REFUSES: test.refuses,
            }
            for outcome, actions in expected.items():
                for action in actions:
                    yield Expectation.of(self, policy, test.route, action, outcome)


class Expectation(pytest.Item):
    """What becomes of one action in one route."""

    policy: Policy
    route: str
    action: str
    expected: Outcome

    @classmethod
    def of(cls, parent: PolicyFile, policy: Policy, route: str, action: str, expected: Outcome) -> Expectation:
        """The test that the route answers `expected` for the action."""
        item = cls.from_parent(parent, name=f"{route}: {expected} {action}")
        item.policy, item.route, item.action, item.expected = policy, route, action, expected
        return item

    def runtest(self) -> None:
        """Ask the policy, and fail with what it says if that is something else."""
        from leasehold.policy.cases import outcome_of

        actual, why = outcome_of(self.policy, self.route, self.action)
        if actual is not self.expected:
            pytest.fail(f"route {self.route} {_WORDS[actual]} {self.action}: {why}", pytrace=False)


_WORDS = {"allows": "allows", "needs_approval": "needs approval for", "refuses": "refuses"}
