"""Programs that call over the network: what they ask with their keys and codes, and what has to hold of that."""

from __future__ import annotations

from hashlib import sha256

from msgspec.structs import replace

from explorer import steps
from explorer.invariants import demand
from explorer.scenario import RUN, Event, Scenario, ident
from explorer.world import World
from leasehold.decide.clients import (
    AddClientKey,
    ClientVoice,
    ForRun,
    Remembered,
    RememberSent,
    RemoveClientKey,
    Sending,
)
from leasehold.decide.draw_first import DrawFirst
from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.rows import LeaseRow
from leasehold.decide.start import Start
from leasehold.model.lease import Lease
from leasehold.model.run import Run
from leasehold.policy.document import Policy

BACK = "https://app.example/back"
KEY_SECONDS = 5


def _voice(client: str) -> ClientVoice:
    return ClientVoice(client=client, key_id=_key_of(client), digest=sha256(client.encode()).digest())


def _key_of(client: str) -> str:
    return f"key of {client}"


def adds_key(client: str) -> Event:
    """A client gets a key."""
    return Event(
        f"add key of {client}",
        lambda world, rules: AddClientKey(
            policy_document=rules,
            client=client,
            key_id=_key_of(client),
            digest=_voice(client).digest,
            ttl_seconds=KEY_SECONDS,
            by="operator",
        ),
    )


def removes_key(client: str) -> Event:
    """It is taken away."""
    return Event(f"remove key of {client}", lambda world, rules: RemoveClientKey(key_id=_key_of(client), by="operator"))


def starts_over_the_network(client: str, run_id: str, *, said: str, after: tuple[str, ...] = ()) -> Event:
    """A client starts a run, under the one name that it has for a request; `said` is what that says."""

    def build(world: World, rules: Policy) -> Step[object]:
        step = steps.start(rules, run_id)
        sending = Sending(key="sent", digest=said)
        start: Step[Remembered[Run]] = RememberSent(
            step=replace(step, client=client), client=client, sending=sending, name=lambda run: run.run_id
        )
        return ForRun(step=start, policy_document=rules, voice=_voice(client), starts=step.run)

    return Event(f"{client} starts {run_id[-1]} saying {said}", build, after=after)


def asks_over_the_network(client: str, request: str, *, is_foreign: bool = False) -> Event:
    """A client asks for a lease of a run that may be another's."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        step = steps.ask(world, rules, RUN, request, {"desk.update": {"ticket": ["T-*"]}})
        if step is None:
            return None
        return ForRun(step=step, policy_document=rules, voice=_voice(client), works_on=step.run)

    return Event(f"{client} asks {request[-1]}", build, is_foreign=is_foreign)


def redeems(client: str, number: int) -> Event:
    """A code of a client is redeemed, after a person consented."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        draw = steps.draw(world, rules, ident("req", 1), ident("lease", number))
        if draw is None:
            return None
        voice = ClientVoice(client=client, redirect=BACK)
        return ForRun(step=DrawFirst(draw=draw), policy_document=rules, voice=voice, works_on=draw.run)

    return Event(f"{client} redeems {number}", build)


# What has to hold


def inner(step: Step[object], answer: StepAnswer[object]) -> tuple[Step[object], StepAnswer[object]]:
    """What is asked for behind the client, and the answer to that."""
    match step:
        case ForRun():
            return inner(step.step, answer)
        case RememberSent():
            value = answer.value.value if isinstance(answer.value, Remembered) else None
            return inner(step.step, replace(answer, value=value))
        case DrawFirst():
            return step.draw, answer
    return step, answer


def check_called(
    scenario: Scenario, before: World, after: World, step: ForRun[object], answer: StepAnswer[object]
) -> World:
    """Whoever asks is a client now (I4, I5), may do this (I6), with its own run (I10), and once where it counts once
    (I7). Answers the world in which it is known whose run it is, and what was sent."""
    if not answer.decision.is_allowed:
        return after
    voice, rule = step.voice, scenario.policy_of(before).clients.get(step.voice.client)
    demand(voice.key_id not in before.ghosts.gone, "I4", f"the removed {voice.key_id} counts")
    if voice.key_id:
        made = next(row for row in before.rows.values() if getattr(row, "key_id", "") == voice.key_id)
        demand(before.database_ms // 1000 < getattr(made, "expires_at", 0), "I5", f"{voice.key_id} counts for ever")
    demand(rule is not None and rule.runs is not None, "I4", f"{voice.client} is no client of the policy")
    assert rule is not None
    assert rule.runs is not None
    demand(not voice.redirect or voice.redirect in rule.redirects, "I4", f"consent went to {voice.redirect}")
    for run in (step.works_on, step.starts):
        named = run is None or run.agent in rule.runs.agents or rule.runs.agents == ("*",)
        demand(named, "I6", f"{voice.client} has to do with a run of another agent")
    if step.works_on is not None:
        own = (step.works_on.run_id, voice.client) in before.ghosts.started
        demand(own, "I10", f"{voice.client} goes on with the run of somebody else")
    return _note(before, after, step, answer)


def _note(before: World, after: World, step: ForRun[object], answer: StepAnswer[object]) -> World:
    asked, said = inner(step, answer)
    ghosts, sent = after.ghosts, step.step
    if isinstance(said.value, Lease) and isinstance(sent, DrawFirst):
        drawn = [row for row in before.rows.values() if isinstance(row, LeaseRow)]
        demand(not drawn, "I7", "a code is redeemed twice")
    if isinstance(sent, RememberSent) and isinstance(answer.value, Remembered):
        name = f"{sent.client} {sent.sending.key}"
        earlier = {each for each in ghosts.sent if each[0] == name}
        told = (name, sent.sending.digest, answer.value.subject)
        demand(earlier <= {told}, "I7", f"{name} meant {sorted(earlier)} and means {told}")
        demand(not earlier or answer.value.value is None, "I7", f"{name} is done twice")
        after = after.with_ghosts(sent=ghosts.sent | {told})
    if isinstance(asked, Start) and said.value is not None:
        after = after.with_ghosts(started=ghosts.started | {(asked.run.run_id, step.voice.client)})
    return after
