"""docs/openapi.json is what the code makes, and says of every endpoint what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_house import api_house
from leasehold.http.openapi import openapi_document
from leasehold.model.endpoints import ENDPOINTS, Endpoint

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT: dict[str, Any] = json.loads(openapi_document())


def test_the_file_in_docs_is_what_the_code_makes() -> None:
    made = openapi_document()
    assert FILE.read_bytes() == made, "write it again with: python -m leasehold.http.openapi > docs/openapi.json"


def test_the_server_gives_the_same_document_to_everybody() -> None:
    with api_house() as house:
        told = house.nobody().get("/v1/openapi.json")
    assert told.headers["content-type"] == "application/json"
    assert told.body == FILE.read_bytes()


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=lambda each: each.name)
def test_every_endpoint_is_described_with_its_problems_in_the_one_shape(endpoint: Endpoint) -> None:
    operation = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == endpoint.name
    assert ("requestBody" in operation) == (endpoint.body is not None)
    for status, response in operation["responses"].items():
        shapes = set(response["content"])
        assert shapes == {"application/problem+json"} or status == "200"
    assert {"400", "401", "403", "404", "503"} <= operation["responses"].keys()


def test_every_reference_leads_somewhere_and_every_body_is_closed() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert all(name.rpartition("/")[2] in schemas for name in _references(DOCUMENT))
    for endpoint in ENDPOINTS.values():
        if endpoint.body is not None:
            assert schemas[endpoint.body.__name__]["additionalProperties"] is False


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)
