"""The small worlds of programs that call over the network, and each of their guards taken away, one at a time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from explorer.events import accepts
from explorer.mutants import Mutant, gone, rows_as
from explorer.programs import (
    BACK,
    adds_key,
    asks_over_the_network,
    redeems,
    removes_key,
    starts_over_the_network,
)
from explorer.scenario import OTHER, OTHER_REQUEST, REQUEST, RUN, Scenario, policy
from leasehold.decide import clients
from leasehold.decide.clients import ForRun, RememberSent
from leasehold.decide.draw_first import DrawFirst
from leasehold.decide.facts import Facts
from leasehold.decide.rows import SentRow
from leasehold.model.instant import Instant

_FREE = """
allow."desk.update" = { ticket = ["T-*"] }
approve."desk.update" = "none"
"""


def _client(name: str, agents: str, *, redirects: str = "") -> str:
    back = f"redirects = [{redirects!r}]\n" if redirects else ""
    runs = f"agents = ['{agents}'], routes = ['work'], tenants = ['acme'], environments = ['prod']"
    return f"[clients.{name}]\nruns = {{ {runs} }}\n{back}"


_WIDE = policy(_FREE + _client("ci", "bot", redirects=BACK) + _client("other", "*"))
_NARROW = policy(_FREE + _client("ci", "helper") + _client("other", "*"))
_UNSAID = policy(_FREE + _client("ci", "bot"))

CLIENTS = Scenario(
    name="programs with keys",
    policies=(_WIDE, _NARROW),
    setup=(adds_key("ci"), adds_key("other")),
    scripts=(),
    events=(
        starts_over_the_network("ci", RUN, said="one"),
        starts_over_the_network("ci", OTHER, said="one", after=("ci starts 1 saying one",)),
        starts_over_the_network("ci", OTHER, said="two", after=("ci starts 1 saying one",)),
        asks_over_the_network("ci", REQUEST),
        asks_over_the_network("other", OTHER_REQUEST, is_foreign=True),
        removes_key("ci"),
        accepts(_NARROW),
    ),
    ticks_ms=(6_000,),
    pairs=True,
    goals=frozenset(
        {
            "ci starts 1 saying one: ok",
            "ci starts 1 saying one: unknown_client",
            "ci starts 1 saying one: client_may_not",
            "ci starts 3 saying one: ok",
            "ci starts 3 saying two: conflict",
            "ci asks 1: ok",
            "ci asks 1: unknown_client",
            "other asks 3: not_found",
        }
    ),
    states=100,
)

CODES = Scenario(
    name="codes for which people consented",
    policies=(_WIDE, _UNSAID),
    setup=(adds_key("ci"),),
    scripts=(),
    events=(
        starts_over_the_network("ci", RUN, said="one"),
        asks_over_the_network("ci", REQUEST),
        redeems("ci", 1),
        redeems("ci", 2),
        accepts(_UNSAID),
    ),
    pairs=True,
    goals=frozenset({"ci redeems 1: ok", "ci redeems 2: ok", "ci redeems 2: replayed", "ci redeems 1: unknown_client"}),
    states=15,
)

PROGRAM_WORLDS = (CLIENTS, CODES)


def _means_anything(patch: pytest.MonkeyPatch) -> None:
    """What a name for a request meant is not compared with what it is used for now."""
    original = RememberSent.decide

    def lenient(step: RememberSent[object], facts: Facts, now: Instant) -> object:
        row = facts.get(SentRow, "", step.client, step.sending.key)
        meant = step.sending.digest if row is None else row.digest
        return original(replace(step, sending=replace(step.sending, digest=meant)), facts, now)

    patch.setattr(RememberSent, "decide", lenient)


PROGRAM_MUTANTS = (
    Mutant("a client's credential is not looked at", gone(clients, "refuse_client"), (CLIENTS,), ("I4", "I5")),
    Mutant("consent goes wherever it once went", gone(clients, "refuse_client"), (CODES,), ("I4",)),
    Mutant("a client's rule is not looked at", gone(clients, "refuse_run_of"), (CLIENTS,), ("I6",)),
    Mutant("a client goes on with any run", gone(ForRun, "_refuse_runs"), (CLIENTS,), ("I6", "I10")),
    Mutant(
        "what was sent is forgotten",
        rows_as(RememberSent, lambda row: None if isinstance(row, SentRow) else row),
        (CLIENTS,),
        ("I7",),
    ),
    Mutant("a name for a request means anything", _means_anything, (CLIENTS,), ("I7",)),
    Mutant(
        "a code is redeemed again",
        lambda patch: patch.setattr(DrawFirst, "decide", lambda step, facts, now: step.draw.decide(facts, now)),
        (CODES,),
        ("I7",),
    ),
)
