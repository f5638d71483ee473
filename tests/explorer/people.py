"""People who speak in other ways than by their key, who edit what was asked, and who change the policy together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from explorer import steps
from explorer.scenario import RUN, Event, Script, ident, key_of_person
from explorer.world import World
from leasehold.decide.answer import AnswerRequest, Withdraw
from leasehold.decide.call_request import ProposedCall, call_digest
from leasehold.decide.chat import Heard
from leasehold.decide.edit import EditCall, Editor
from leasehold.decide.facts import Changes, Facts, Need, Step, StepAnswer
from leasehold.decide.proposals import AnswerProposal, PolicyWord, ProposePolicy
from leasehold.decide.proving import Word
from leasehold.decide.rows import ProposalRow, Row, RunRow, SessionRow
from leasehold.decide.sign_ins import AddSignIn, BeginSession, EndSession, RemoveSignIn
from leasehold.decide.voices import ChatVoice, KeyVoice, SessionVoice
from leasehold.model.canonical import decode
from leasehold.model.decision import allow
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.proof import AnswerProof, ChatProof, KeyProof, PasskeyProof, SessionProof, SignIn, SignInMethod
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.request import Answer, Verdict
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import attributes_of, need_for_call
from leasehold.policy.widening import widening_digest
from leasehold.token.proposal import PolicyStatement


def _answers(
    world: World, rules: Policy, script: Script, proof: AnswerProof, voice: KeyVoice | SessionVoice | ChatVoice
) -> AnswerRequest | None:
    """A yes to the request that was made for a script's call."""
    name = steps.request_for(world, script)
    request = None if name is None else steps.find_request(world, name)
    run = None if request is None else steps.find_run(world, request.run_id)
    if request is None or run is None:
        return None
    return AnswerRequest(
        policy_document=rules,
        run=run,
        request=request,
        answer=Answer(person=voice.person, verdict=Verdict.APPROVE, answered_at=world.database_ms // 1000, proof=proof),
        card_digest=request.card_digest,
        voice=voice,
    )


class AsIf(msgspec.Struct, frozen=True, kw_only=True):
    """A step of tests: rows as they would be after what takes too long to play."""

    rows: tuple[Row, ...]

    policy: None = None
    needs_clock: bool = False

    def keys(self) -> Sequence[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        return StepAnswer(allow(), True), Changes(rows=self.rows)


def wears_out(denials: int) -> Event:
    """The run was refused so often."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        row = world.row(RunRow, "acme", RUN)
        return AsIf(rows=(replace(row, denials=denials),)) if isinstance(row, RunRow) else None

    return Event("wear out", build)


def withdraws(script: Script) -> Event:
    """The agent takes the question about a script's call back."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        name = steps.request_for(world, script)
        request = None if name is None else steps.find_request(world, name)
        run = None if request is None else steps.find_run(world, request.run_id)
        return None if request is None or run is None else Withdraw(run=run, request=request)

    return Event(f"withdraw {script.name}", build)


# chats


def presses(script: Script, speaker: str, delivery: int, *, at: int, claims: str = "", again: bool = False) -> Event:
    """A user of the chat presses Approve, as the chat said at a Unix second; `again` is the same delivery once more.

    With `claims` they are said to be somebody whom the policy does not say they are.
    """
    name = f"{speaker[-2:]} presses {script.name}" + (f" as {claims[5:]}" if claims else "")

    def build(world: World, rules: Policy) -> Step[object] | None:
        person = claims or rules.reviewer("desk", speaker)
        proof = ChatProof(channel="desk", speaker=speaker, signed_at=at, delivery=f"sha256:{delivery:064x}")
        step = _answers(world, rules, script, proof, ChatVoice(person=person)) if person else None
        return None if step is None else Heard(step=step, proof=proof)

    return Event(f"{name} again", build, after=(name,)) if again else Event(name, build)


# sign-ins


PASSWORD_OF_BEN, PASSKEY_OF_BEN = ident("signin", 1), ident("signin", 2)


def adds_sign_in(person: str, sign_in: str, method: SignInMethod) -> Event:
    """A person gets a way to sign in."""
    kept = {"secret": "$argon2id$"} if method is SignInMethod.PASSWORD else {"credential": "Y3I", "public_key": "cHU"}
    known = SignIn(sign_in=sign_in, method=method, added_at=0, **kept)
    return Event(f"add {sign_in[-1]}", lambda world, rules: AddSignIn(person=person, sign_in=known, by="operator"))


def signs_in(person: str, sign_in: str, session: str) -> Event:
    """A person signs in."""
    return Event(
        f"sign in {session}",
        lambda world, rules: BeginSession(person=person, sign_in=sign_in, session=session, address=""),
    )


def signs_out(session: str) -> Event:
    """They sign out."""
    return Event(f"sign out {session}", lambda world, rules: EndSession(session=session))


def removes_sign_in(person: str, sign_in: str) -> Event:
    """A way to sign in is taken away."""
    return Event(
        f"remove {sign_in[-1]}", lambda world, rules: RemoveSignIn(person=person, sign_in=sign_in, by="operator")
    )


def answers_signed_in(script: Script, person: str, session: str, *, passkey: str = "") -> Event:
    """A person who signed in answers; with a passkey if one is named."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        row = world.row(SessionRow, "", session)
        if not isinstance(row, SessionRow):
            return None
        proof: AnswerProof = SessionProof(
            sign_in=row.sign_in, method=SignInMethod(row.method), authenticated_at=row.authenticated_at
        )
        if passkey:
            proof = PasskeyProof(sign_in=passkey, authenticator_data="a", client_data="c", signature="s")
        return _answers(world, rules, script, proof, SessionVoice(person=person, session=session))

    return Event(f"{session} approves {script.name}" + (" by passkey" if passkey else ""), build)


# edits

EDITED = ident("req", 200)


def edits(script: Script, person: str, ticket: str, request_id: str = EDITED) -> Event:
    """A person edits the request for a script's call: the same, but for another ticket."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        name = steps.request_for(world, script)
        request = None if name is None else steps.find_request(world, name)
        run = None if request is None else steps.find_run(world, request.run_id)
        if request is None or run is None or request.request_id == request_id:
            return None
        chain = steps.chain_of(world, request.lease_id or "")
        rule, edited = rules.action(script.action), Script("", script.action, ticket)
        arguments = decode(edited.arguments)
        assert isinstance(arguments, dict)
        digest = steps.DIGESTER.digest("arguments", edited.arguments)
        call = ProposedCall(
            policy_document=rules,
            digester=steps.DIGESTER,
            chain=chain,
            action=script.action,
            attributes=attributes_of(rule, arguments),
            arguments=arguments,
            key=request.key,
            need=need_for_call(rules, "work", script.action, [link.lease.allow for link in chain]),
            request_id=RequestId(request_id),
            arguments_digest=digest,
            call_digest=call_digest(steps.DIGESTER, chain, script.action, rule.effect, digest, request.key),
        )
        voice = KeyVoice(person=person, public_key=key_of_person(person).to_bytes())
        return EditCall(editor=Editor(voice=voice, run=run, request=request), call=call, edits=())

    return Event(f"{person[5:]} edits {script.name} to {ticket}", build)


# policies

PROPOSAL = ident("prop", 1)


def _word(world: World, person: str, verdict: PolicyVerdict, said: dict[str, str]) -> PolicyWord:
    statement = PolicyStatement(verdict=verdict, said_at=world.database_ms // 1000, person=person, **said)
    key = key_of_person(person)
    voice = KeyVoice(person=person, public_key=key.to_bytes())
    return PolicyWord(statement=statement, word=Word(voice=voice, proof=KeyProof(key_id=key.kid, signature="signed")))


def proposes(person: str, wanted: Policy) -> Event:
    """A person proposes a policy that widens the active one."""
    listed: dict[str, str] = {}

    def build(world: World, rules: Policy) -> Step[object]:
        if rules.hash not in listed:
            listed[rules.hash] = widening_digest(rules, wanted)
        said = {
            "proposal_id": PROPOSAL,
            "policy": wanted.hash,
            "replaces": rules.hash,
            "widening": listed[rules.hash],
        }
        word = _word(world, person, PolicyVerdict.PROPOSE, said)
        return ProposePolicy(policy_document=wanted, active=rules, word=word)

    return Event(f"{person[5:]} proposes", build)


def confirms(person: str, wanted: Policy, verdict: PolicyVerdict = PolicyVerdict.CONFIRM) -> Event:
    """A person says yes or no to what was proposed, having seen what the proposal says."""

    def build(world: World, rules: Policy) -> Step[object] | None:
        row = world.row(ProposalRow, "", wanted.hash)
        if not isinstance(row, ProposalRow):
            return None
        said = {
            "proposal_id": row.proposal_id,
            "policy": wanted.hash,
            "replaces": row.replaces,
            "widening": row.widening,
        }
        word = _word(world, person, verdict, said)
        return AnswerProposal(policy_document=wanted, active=rules, word=word, proposer=row.person)

    return Event(f"{person[5:]} {verdict}s", build)
