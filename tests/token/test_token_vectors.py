"""The numbered vectors: the files are what the generator writes, and the verifier does what they say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from leasehold.errors import InvalidError, TokenError
from leasehold.model.budget import amounts_from_json, amounts_to_json
from leasehold.model.grant import grants_from_json, grants_to_json
from leasehold.model.instant import Instant
from leasehold.token.cache import VerifiedCache
from leasehold.token.codes import TokenCode
from leasehold.token.jwk import read_public_jwks
from leasehold.token.keys import DocumentType
from leasehold.token.verify import VerifiedToken, Verifier

VECTORS = Path(__file__).parent.parent / "vectors"
FILES = sorted((VECTORS / "token").glob("*.json"))


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_token_vectors", VECTORS / "make_token_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name while it is being executed
    spec.loader.exec_module(module)
    return module


@pytest.mark.case(23)
def test_the_committed_vectors_are_what_the_seeded_key_gives(generator: ModuleType) -> None:
    written = {name: generator.text_of(members) for name, members in generator.vectors().items()}
    assert written == {file.name: file.read_text(encoding="ascii") for file in FILES}


def test_the_vectors_are_numbered_without_gaps_and_cover_every_code() -> None:
    assert [int(file.name[:3]) for file in FILES] == list(range(1, len(FILES) + 1))
    assert len({file.name[4:] for file in FILES}) == len(FILES) >= 60
    expected = {json.loads(file.read_text())["expect"] for file in FILES}
    assert expected == {*map(str, TokenCode), "accept", "keys_refused"}


def outcome(vector: dict[str, object], cache: VerifiedCache[VerifiedToken] | None) -> VerifiedToken | str:
    try:
        keys = read_public_jwks(json.dumps(vector["keys"]).encode(), DocumentType.LEASE)
    except InvalidError:
        return "keys_refused"
    verifier = Verifier(str(vector["issuer"]), keys, cache)
    try:
        return verifier.verify(
            str(vector["token"]),
            audience=str(vector["audience"]),
            environment=str(vector["environment"]),
            now=Instant(int(str(vector["now_milliseconds"]))),
            holder=None if vector["holder"] is None else str(vector["holder"]),
        )
    except TokenError as error:
        return str(error.code)


@pytest.mark.case(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 50)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_verifier_does_what_the_vector_says_cold_and_warm(file: Path) -> None:
    vector = json.loads(file.read_text(encoding="ascii"))
    cache: VerifiedCache[VerifiedToken] = VerifiedCache(4)
    for got in (outcome(vector, None), outcome(vector, cache), outcome(vector, cache)):
        if vector["expect"] != "accept":
            assert got == vector["expect"]
            continue
        assert isinstance(got, VerifiedToken)
        lease = dict(vector["lease"])
        assert grants_to_json(got.allow) == grants_to_json(grants_from_json(lease.pop("allow")))
        assert amounts_to_json(got.budget) == amounts_to_json(amounts_from_json(lease.pop("budget")))
        members = json.loads(msgspec.json.encode(msgspec.structs.replace(got, allow={})))
        assert {name: members[name] for name in lease} == lease
