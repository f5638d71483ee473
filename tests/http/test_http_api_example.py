"""The program of docs/api.md runs, with nothing but the standard library, and the page shows it as it is."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from api_house import api_house
from clients import GUARD, HOST, api_key
from leasehold.model.ids import check_id
from leasehold.policy.load import Source, load_policy

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "over_http.py"
PAGE = (ROOT / "docs" / "api.md").read_text()


def program() -> ModuleType:
    """The example, loaded as a program of its own."""
    spec = importlib.util.spec_from_file_location("over_http", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_gets_a_receipt_of_what_was_done() -> None:
    example = program()
    with api_house() as house:
        url = f"http://127.0.0.1:{house.port}"
        launcher, guard = api_key(house.stage, HOST), api_key(house.stage, GUARD)
        receipt = example.close_ticket(url, launcher, guard, "T-1")
        statement = json.loads(base64.b64decode(receipt["payload"]))
        assert "T-1" in json.dumps(statement)
        with pytest.raises(example.Refused) as refused:
            example.send(url, guard, "GET", "/v1/runs/run_01JZ8Q5X0M3V7K2N9B4C6D8E0F")
        assert refused.value.problem["reason"] == "client_may_not"


def test_the_example_makes_ids_that_the_authority_takes() -> None:
    assert check_id(program().new_admission_id(), "adm")


def test_the_page_shows_the_example_that_is_run() -> None:
    shown = re.search(r"<!-- examples/over_http.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert shown[1] in EXAMPLE.read_text()


def test_the_clients_on_the_page_load() -> None:
    shown = re.search(r"<!-- policy -->\n```toml\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    readme = re.search(r"```toml\n(version = 1.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert readme is not None
    text = shown[1].replace('routes = ["ci/deploy"]', 'routes = ["*"]')
    assert set(load_policy([Source("leasehold.toml", f"{readme[1]}\n{text}")]).clients) == {
        "ci-launcher",
        "ticket-door",
    }
