"""The suite of the read side, on SQLite: in a file and in memory."""

from __future__ import annotations

from leasehold.testing.store_queries_suite import *  # noqa: F403 - every fixture and test of the suite
