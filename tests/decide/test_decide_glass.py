"""Break-glass over facts that a working authority never has: rows that are gone, and one key under two names."""

from __future__ import annotations

import pytest

from glass import WITH_GLASS, break_glass, glass_id, opening
from leasehold.authority.desk import Signatory
from leasehold.decide.chain import stop_needs
from leasehold.decide.facts import Facts, Index, Ref
from leasehold.decide.finish import EXPIRED
from leasehold.decide.glass import OpenGlass, ReviewGlass
from leasehold.decide.glass_use import GlassUse, glass_needs, refuse_glass
from leasehold.decide.rows import GlassRow, PersonRow, StopRow
from leasehold.decide.voices import KeyVoice
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.glass import Opening
from leasehold.testing.fixtures import key_of_person
from stage import ANA, BEN, Stage, changed, reason_of
from stage import policy as policy_of

pytestmark = [pytest.mark.requirement("P16"), pytest.mark.case(117)]


def facts_of(stage: Stage, document: Opening, **rows: object) -> Facts:
    """What is stored about an opening and its people, with some of it changed."""
    engine = stage.authority.engine
    facts = Facts(engine.store.queries.control())
    use = GlassUse(opening=document, opener_key=b"", second_key=b"", signature="")
    for need in (*glass_needs(use), *stop_needs(document.tenant)):
        if isinstance(need, Index):
            facts.load_index(need, [])
        elif isinstance(need, Ref):
            kind = {GlassRow: "glass", PersonRow: "person", StopRow: "stop"}[need.row_type]
            stored = engine.row(need.row_type, *need.key)
            facts.load(need, rows.get(kind, stored))  # type: ignore[arg-type]  # rows
    return facts


@pytest.mark.invariant("I4")
@pytest.mark.case(80)
def test_one_key_is_not_two_people_whoever_it_is_written_down_for() -> None:
    stage = Stage(WITH_GLASS)
    document = opening(stage)
    shared = key_of_person(ANA).public().to_bytes()
    row = stage.authority.engine.row(PersonRow, "", ANA)
    facts = facts_of(stage, document, person=row)
    policy = stage.authority.engine.active_policy()
    step = OpenGlass(policy_document=policy, opening=document, token="", opener_key=shared, second_key=shared)
    answer, changes = step.decide(facts, stage.system.now())
    assert (answer.decision.reason, answer.decision.check) == (Reason.BAD_SIGNATURE, "two people, two keys")
    assert changes.rows == ()
    stage.close()


def test_one_whose_row_is_gone_is_used_and_reviewed_by_nobody() -> None:
    stage = Stage(WITH_GLASS)
    held = break_glass(stage)
    document = stage.authority.break_glass.token(glass_id(held)).opening
    policy, now = stage.authority.engine.active_policy(), stage.system.now()
    facts = facts_of(stage, document, glass=None)
    use = GlassUse(opening=document, opener_key=b"a", second_key=b"b", signature="")
    refused = refuse_glass(facts, policy, use, "ticket.erase", now)
    assert refused is not None
    assert refused.reason is Reason.RUN_FINISHED
    voice = KeyVoice(person=BEN, public_key=key_of_person(BEN).public().to_bytes())
    alone = policy_of(changed('"user:eva" = ["lead", "dba", "operator"]', '"user:eva" = ["dba"]', WITH_GLASS))
    review = ReviewGlass(policy_document=alone, opening=document, voice=voice, words="x")
    assert review.decide(facts, now)[0].decision.reason is Reason.NOT_PENDING
    stage.close()


@pytest.mark.case(52)
def test_while_the_clock_is_wrong_nothing_of_it_goes_on_but_its_end() -> None:
    stage = Stage(WITH_GLASS)
    held = break_glass(stage)
    stage.system.jump(seconds=-60)
    ana, ben = (Signatory(person=person, key=key_of_person(person)) for person in (ANA, BEN))
    glass = stage.authority.break_glass
    door = glass.doors(ana).door("ticket", "prod")
    assert reason_of(lambda: door.admit(held.token_for("ticket"), stage.call("ticket.erase", key="k"))) is Reason.CLOCK
    assert glass.close(glass_id(held)).state == "closed"
    assert reason_of(lambda: glass.review(glass_id(held), ben, "x")) is Reason.CLOCK
    stage.close()


@pytest.mark.case(52)
def test_one_that_is_said_to_be_over_stays_open_until_it_is() -> None:
    stage = Stage(WITH_GLASS)
    held = break_glass(stage)
    run = stage.authority.engine.run("acme", held.lease.run_id)
    closing = stage.authority.runs.closing(run, EXPIRED)
    assert closing.needs_clock
    stage.authority.engine.ask(lambda _: closing)
    assert stage.entries(EntryKind.GLASS_CLOSED) == []
    assert stage.authority.break_glass.close(glass_id(held)).state == "closed"
    stage.close()
