"""The example of another team's door, imported from where it stands."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from node import HANDOFF


@pytest.fixture(scope="session")
def foreign() -> ModuleType:
    """`examples/handoff/verify.py`."""
    spec = importlib.util.spec_from_file_location("handoff_verify", HANDOFF / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name while it is being executed
    spec.loader.exec_module(module)
    return module
