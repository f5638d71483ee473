"""What an action function receives: it can be read, narrowed and reported through, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading

import pytest
from door import HELD, LEASE, SECRET_TOKEN, CheckedDoor, MemoryDoor

from leasehold.errors import Denied, InvalidError
from leasehold.guard import Capability, Guard
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.effect import Effect
from leasehold.model.grant import grants_from_json
from leasehold.model.lease import Token
from leasehold.model.text import MAX_VALUE

pytestmark = pytest.mark.requirement("C4")

ONCE = HELD.once("k")


@pytest.mark.requirement("C3", "B4")
def test_capability_shows_whose_call_it_is_and_what_it_covers_but_no_token(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {"ticket": "T-1"}) as capability:
        assert capability.run_id == LEASE.run_id
        assert capability.lease_id == LEASE.lease_id
        assert (capability.tenant, capability.environment) == ("acme", "prod")
        assert (capability.agent, capability.requested_by) == ("support-bot", "user:ana")
        assert (capability.action, capability.effect) == ("ticket.close", Effect.WRITE)
        assert (capability.key, capability.admission_id) == ("k", door.call.admission_id)
        assert capability.attributes == {"ticket": ("T-1", "T-2")}
        assert capability.arguments == {"ticket": "T-1"}
        assert repr(capability) == f"<Capability ticket.close of {LEASE.run_id} under {LEASE.lease_id}>"
        assert SECRET_TOKEN not in repr(capability) + str(capability)


def test_capability_cannot_be_made_subclassed_changed_copied_or_pickled(guard: Guard) -> None:
    with pytest.raises(TypeError, match="cannot be constructed"):
        Capability()
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Wider", (Capability,), {})
    with guard.call(ONCE, "close", {}) as capability:
        with pytest.raises(TypeError, match="cannot be changed"):
            capability.tenant = "other"  # type: ignore[misc]
        with pytest.raises(TypeError, match="cannot be changed"):
            del capability._grant
        for copying in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="copied or pickled"):
                copying(capability)
        with pytest.raises(TypeError):
            capability.attributes["ticket"] = ("T-9",)  # type: ignore[index]
        capability.arguments["x"] = 1
        assert capability.arguments == {}


def test_narrowing_gives_less_and_never_more(guard: Guard) -> None:
    with guard.call(ONCE, "close", {}) as capability:
        narrower = capability.narrow(ticket="T-1")
        assert narrower.attributes == {"ticket": ("T-1",)}
        assert capability.attributes == {"ticket": ("T-1", "T-2")}
        assert narrower.narrow(ticket=["T-1"]).attributes == {"ticket": ("T-1",)}
        for wider in ("T-2", ["T-1", "T-2"], ["T-*"], {"max": 3}):
            with pytest.raises(InvalidError):
                narrower.narrow(ticket=wider)
        with pytest.raises(InvalidError, match="no action of this capability has an attribute 'colour'"):
            capability.narrow(colour="red")
        with pytest.raises(InvalidError, match="send is not in this capability"):
            capability.narrow("mail.send")


def mail_door() -> MemoryDoor:
    return MemoryDoor("mail", "prod")


def using_mail(door: MemoryDoor) -> None:
    """What the authority answers for an action that declares that it uses two actions of `mail`."""
    door.sub_tokens = {"mail": Token("secret-token-of-mail")}
    door.sub_grants = grants_from_json(
        {"mail.send": {"ticket": ["T-1"], "to": ["*"]}, "mail.draft": {"ticket": ["T-1"]}}
    )


@pytest.mark.requirement("C5")
def test_sub_tool_gets_a_narrower_capability_and_the_parent_link(guard: Guard, door: MemoryDoor) -> None:
    using_mail(door)
    mail = mail_door()
    mail_guard = Guard("mail", mail, environment="prod")

    @mail_guard.action("send")
    def send(capability: Capability, to: str) -> str:
        return capability.action

    @guard.action("close")
    def close(capability: Capability, to: str) -> str:
        narrowed = capability.narrow("mail.send", to=[to])
        with pytest.raises(InvalidError):
            narrowed.narrow(to=["*"])
        with pytest.raises(InvalidError):
            narrowed.narrow("mail.draft")
        return send(narrowed.once("mail"), to)

    assert close(ONCE, "ana") == "mail.send"

    ((token, call),) = mail.asked
    assert (token, call.key) == ("secret-token-of-mail", "mail")
    assert call.parent is not None
    assert call.parent.admission_id == door.call.admission_id
    assert call.parent.allow == grants_from_json({"mail.send": {"ticket": ["T-1"], "to": ["ana"]}})


@pytest.mark.requirement("C5")
def test_capability_opens_no_tool_that_its_action_does_not_use(guard: Guard, door: MemoryDoor) -> None:
    using_mail(door)
    mail = mail_door()
    mail_guard = Guard("mail", mail, environment="prod")
    with guard.call(ONCE, "close", {}) as capability:
        with pytest.raises(Denied) as not_used, guard.call(capability, "close", {}):
            pytest.fail("started")
        assert not_used.value.decision.reason is Reason.NOT_GRANTED
        with pytest.raises(Denied), mail_guard.call(capability.narrow("mail.draft").once("2"), "send", {}):
            pytest.fail("started")
        with pytest.raises(InvalidError):
            capability.once("")

    assert mail.admitted == {}


def test_capability_is_dead_once_its_call_has_settled(guard: Guard, door: MemoryDoor) -> None:
    using_mail(door)
    mail_guard = Guard("mail", mail_door(), environment="prod")
    with guard.call(ONCE, "close", {}) as capability:
        capability.check()
    uses = [
        capability.check,
        capability.no_effect,
        lambda: capability.touched("T-1"),
        lambda: capability.file("a"),
        lambda: capability.contacted("zendesk"),
        lambda: capability.spent(usd=1),
        lambda: mail_guard.call(capability.once("x"), "send", {}),
        lambda: asyncio.run(capability.check_async()),
    ]

    for use in uses:
        with pytest.raises(Denied) as ended:
            use()
        assert ended.value.decision.reason is Reason.ENDED


@pytest.mark.case(48)
def test_capability_is_dead_once_its_time_is_over_by_the_local_clock(guard: Guard, door: MemoryDoor) -> None:
    door.finish_within_ms = 10_000
    door.answer_takes_ms = 1_000
    with guard.call(ONCE, "close", {}) as capability:
        door.now_ms += 8_999
        capability.check()
        door.now_ms += 1
        with pytest.raises(Denied, match="had 10000 ms and they are over"):
            capability.check()

    assert door.outcome.duration_micros == 9_000_000


@pytest.mark.requirement("L6")
@pytest.mark.case(53)
def test_check_asks_the_authority_where_the_door_can(checked_door: CheckedDoor) -> None:
    guard = Guard("ticket", checked_door, environment="prod")
    with guard.call(ONCE, "close", {}) as capability:
        capability.check()
        checked_door.is_revoked = True
        with pytest.raises(Denied, match="revoked"):
            capability.check()

    @guard.action("read")
    async def read(capability: Capability) -> None:
        await capability.check_async()

    with pytest.raises(Denied, match="revoked"):
        asyncio.run(read(HELD))


@pytest.mark.case(69)
def test_costs_are_exact_amounts_in_units_that_the_guard_does_not_count_itself(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {}) as capability:
        for bad in ({"usd": 0.1}, {"usd": "-1"}, {"usd": "NaN"}, {"calls": 1}, {"tool_seconds": 1}, {"U SD": 1}):
            with pytest.raises(InvalidError):
                capability.spent(**bad)  # type: ignore[arg-type]
        for _ in range(3):
            capability.spent(usd="0.1", tokens="9007199254")

    assert door.outcome.cost == {"usd": 300_000, "tokens": 2**53 - 1}


@pytest.mark.requirement("B10")
@pytest.mark.case(82)
def test_reported_names_are_listed_once_in_order_with_hidden_characters_visible(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {}) as capability:
        capability.touched("b", "a", "b")
        capability.touched("evil\u202e.txt")
        capability.file("x" * 3000)
        with pytest.raises(TypeError):
            capability.touched(7)  # type: ignore[arg-type]

    assert door.outcome.touched == ("b", "a", "evil<U+202E>.txt")
    assert door.outcome.files == ("x" * MAX_VALUE,)


@pytest.mark.requirement("B10")
def test_more_names_than_an_entry_can_hold_are_counted(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {}) as capability:
        for report in (capability.file, capability.touched, capability.contacted):
            report(*(f'"{number:0>1000}' for number in range(250)), *['"' + "0" * 1000] * 10)

    for listed in (door.outcome.files, door.outcome.touched, door.outcome.contacted):
        assert listed == (*(f'"{number:0>1000}' for number in range(5)), "and 245 more")


def test_reports_of_many_threads_are_all_kept(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {}) as capability:

        def work(number: int) -> None:
            for step in range(50):
                capability.touched(f"{number}-{step}")
                capability.spent(pages=1)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(door.outcome.touched) == 400
    assert door.outcome.cost == {"pages": 400_000_000}
    assert door.outcome.status is OutcomeStatus.DONE


def test_no_effect_counts_only_for_a_call_that_failed(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {}) as capability:
        capability.no_effect()

    assert not door.outcome.no_effect
