"""The suite of all stores, on SQLite: in a file and in memory."""

from __future__ import annotations

from leasehold.testing.store_suite import *  # noqa: F403 - every fixture and test of the suite
from leasehold.testing.store_waiting_suite import *  # noqa: F403 - the same
