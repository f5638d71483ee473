"""The real steps, built from a world as the authority builds them: documents read beforehand, ids made up.

A builder returns None where nobody could ask for the step yet, because a document that it needs does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256

import msgspec

from explorer.scenario import ANA, BEGIN_MS, BEN, GLASS, Script, ident, key_of_person
from explorer.world import World
from leasehold.decide import call_request
from leasehold.decide.admit import Admit
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.chain import Chain, ChainLink
from leasehold.decide.documents import decode_admission, decode_lease, decode_request, decode_run
from leasehold.decide.glass import OpenGlass
from leasehold.decide.glass_use import GlassUse
from leasehold.decide.issue import DrawLease
from leasehold.decide.request import AskLease
from leasehold.decide.rows import DocumentRow, GlassRow, LeaseRow, RequestRow, RunRow
from leasehold.decide.start import Start
from leasehold.decide.voices import KeyVoice
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Call, ParentCall
from leasehold.model.canonical import decode
from leasehold.model.glass import Opening, Skippable
from leasehold.model.grant import grants_from_json
from leasehold.model.ids import AdmissionId, LeaseId, RequestId, RunId
from leasehold.model.lease import Lease
from leasehold.model.preview import Preview, PreviewMade
from leasehold.model.proof import KeyProof
from leasehold.model.request import Answer, Request, RequestKind, Verdict
from leasehold.model.run import Link, Run
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import attributes_of, key_of
from leasehold.token.digest import Digester

DIGESTER = Digester(sha256(b"explorer").digest())

_run_of = cache(decode_run)
_request_of = cache(decode_request)
_lease_of = cache(decode_lease)
admission_of = cache(decode_admission)


def _document(world: World, tenant: str, name: str) -> bytes | None:
    row = world.row(DocumentRow, tenant, name)
    return row.body if isinstance(row, DocumentRow) else None


def find_run(world: World, name: str, tenant: str = "acme") -> Run | None:
    """A run's document."""
    body = _document(world, tenant, name)
    return None if body is None else _run_of(body)


def find_request(world: World, name: str, tenant: str = "acme") -> Request | None:
    """A request's document."""
    body = _document(world, tenant, name)
    return None if body is None else _request_of(body)


def find_lease(world: World, name: str, tenant: str = "acme") -> Lease | None:
    """A lease's document."""
    body = _document(world, tenant, name)
    return None if body is None else _lease_of(body)


def chain_of(world: World, name: str, tenant: str = "acme") -> Chain:
    """The lease and all above it, root first; empty if there is no such lease yet."""
    lease = find_lease(world, name, tenant)
    if lease is None:
        return Chain()
    leases = [each for each in (find_lease(world, above, tenant) for above in lease.parents) if each is not None]
    runs = [find_run(world, each.run_id, tenant) for each in (*leases, lease)]
    return Chain(ChainLink(each, run) for each, run in zip((*leases, lease), runs, strict=True) if run is not None)


def start(policy: Policy, run_id: str, *, agent: str = "bot", tenant: str = "acme") -> Start:
    """Start a run of its own."""
    run = Run(
        run_id=RunId(run_id),
        tenant=tenant,
        environment="prod",
        agent=agent,
        requested_by="user:ana",
        route="work",
        purpose="explore",
        started_at=0,
        expires_at=1,
        policy="",
    )
    return Start(policy_document=policy, run=run)


def start_child(world: World, policy: Policy, run_id: str, parent_lease: str) -> Start | None:
    """Start a child run under a lease."""
    chain = chain_of(world, parent_lease)
    if not chain or world.row(RunRow, "acme", run_id) is not None:
        return None
    ancestors = tuple(
        Link(run_id=link.run.run_id, request_id=link.lease.request_id, attempt=link.lease.attempt) for link in chain
    )
    run = Run(
        run_id=RunId(run_id),
        tenant="acme",
        environment="prod",
        agent="helper",
        requested_by="user:ana",
        route="work",
        purpose="explore",
        started_at=0,
        expires_at=1,
        policy="",
        ancestors=ancestors,
    )
    return Start(policy_document=policy, run=run, parent=chain)


def ask(
    world: World,
    policy: Policy,
    run_id: str,
    request_id: str,
    allow: Mapping[str, Mapping[str, object]],
    *,
    depth: int = -1,
    tenant: str = "acme",
) -> AskLease | None:
    """Ask for a lease in the newest attempt of a run."""
    run, row = find_run(world, run_id, tenant), world.row(RunRow, tenant, run_id)
    if run is None or not isinstance(row, RunRow) or world.row(RequestRow, tenant, request_id) is not None:
        return None
    above = _above(world, run)
    if run.ancestors and not above:
        return None
    request = Request(
        request_id=RequestId(request_id),
        kind=RequestKind.LEASE,
        tenant=tenant,
        run_id=run.run_id,
        attempt=row.attempt,
        reason="",
        made_at=0,
        answer_by=1,
        policy="",
        card_digest="",
        allow=grants_from_json(allow),
        delegation_depth=depth,
    )
    grants = tuple(link.lease.allow for link in above)
    return AskLease(policy_document=policy, digester=DIGESTER, run=run, request=request, above=grants)


def draw(world: World, policy: Policy, request_id: str, lease_id: str, tenant: str = "acme") -> DrawLease | None:
    """Draw a lease of a request."""
    request = find_request(world, request_id, tenant)
    run = None if request is None else find_run(world, request.run_id, tenant)
    if request is None or run is None or world.row(LeaseRow, tenant, lease_id) is not None:
        return None
    above = _above(world, run)
    if run.ancestors and not above:
        return None
    return DrawLease(policy_document=policy, run=run, request=request, lease_id=LeaseId(lease_id), parent=above)


def _above(world: World, run: Run) -> Chain:
    """The chain of the newest lease of the request that a child run was delegated from."""
    if not run.ancestors:
        return Chain()
    source = run.ancestors[-1].request_id
    rows = [row for row in world.rows.values() if isinstance(row, LeaseRow) and row.request_id == source]
    return chain_of(world, max(rows, key=lambda row: row.recorded).lease_id) if rows else Chain()


def answer(
    world: World, policy: Policy, request_id: str | None, person: str, verdict: Verdict = Verdict.APPROVE
) -> AnswerRequest | None:
    """One person's answer to a request, with the key that this person has."""
    request = None if request_id is None else find_request(world, request_id)
    run = None if request is None else find_run(world, request.run_id)
    if request is None or run is None:
        return None
    given = Answer(
        person=person,
        verdict=verdict,
        answered_at=world.database_ms // 1000,
        proof=KeyProof(key_id=key_of_person(person).kid, signature="signed"),
    )
    return AnswerRequest(
        policy_document=policy,
        run=run,
        request=request,
        answer=given,
        card_digest=request.card_digest,
        voice=KeyVoice(person=person, public_key=key_of_person(person).to_bytes()),
    )


def open_glass(world: World, policy: Policy, **changes: object) -> OpenGlass | None:
    """Ana and Ben, who have keys, open it for the ten seconds that are left of its minute."""
    if world.row(GlassRow, "acme", GLASS) is not None:
        return None
    keys = {name: changes.pop(name) for name in ("opener_key", "second_key") if name in changes}
    given: dict[str, object] = {
        "glass_id": GLASS,
        "opener": ANA,
        "second": BEN,
        "tenant": "acme",
        "environment": "prod",
        "route": "work",
        "actions": ("desk.erase", "desk.update"),
        "skips": (Skippable.APPROVE,),
        "minutes": 1,
        "reason": "it burns",
        "opened_at": BEGIN_MS // 1000 - 50,
    }
    opening = Opening(**{**given, **changes})  # type: ignore[arg-type]  # known names
    return OpenGlass(
        policy_document=policy,
        opening=opening,
        token="",
        opener_key=key_of_person(str(keys.get("opener_key", opening.opener))).to_bytes(),
        second_key=key_of_person(str(keys.get("second_key", opening.second))).to_bytes(),
    )


def glass_use(world: World) -> GlassUse | None:
    """The opener's use of what was opened."""
    opened = next((each for each in world.ledger if each.kind is EntryKind.GLASS_OPENED), None)
    if opened is None:
        return None
    told = {name: opened.detail[name] for name in ("second", "actions", "skips", "minutes", "reason", "opened_at")}
    place = {"tenant": opened.tenant, "environment": opened.environment, "route": opened.route}
    opening = msgspec.convert({"glass_id": GLASS, "opener": opened.person, **place, **told}, Opening)
    return GlassUse(
        opening=opening,
        opener_key=key_of_person(opening.opener).to_bytes(),
        second_key=key_of_person(opening.second).to_bytes(),
        signature="s",
    )


def request_for(world: World, script: Script) -> str | None:
    """The newest request that was made for exactly a script's call."""
    names = {name for name, shown in world.ghosts.shown if shown[-3:] == script.identity}
    rows = [row for row in world.rows.values() if isinstance(row, RequestRow) and row.request_id in names]
    return max(rows, key=lambda row: row.recorded).request_id if rows else None


def admission_id(index: int, tries: int) -> AdmissionId:
    """The id that the guard of a script makes for one try."""
    return AdmissionId(ident("adm", 10 * (index + 1) + tries))


def admit(world: World, policy: Policy, index: int, script: Script) -> Admit | None:
    """A guard's question for one scripted call, as its door builds it."""
    chain = chain_of(world, script.lease, script.tenant)
    if not chain:
        return None
    parent, preview = None, None
    if script.shows is not None:
        preview = _seen_by(world, script.shows)
    if script.parent is not None:
        above = world.slots[script.parent].admission
        if above is None:
            return None
        parent = ParentCall(admission_id=above.admission_id, allow=chain[-1].lease.allow)
    made = sum(1 for _, shown in world.ghosts.shown if shown[0] == index)
    call = Call(
        action=script.action,
        arguments=script.arguments,
        admission_id=admission_id(index, world.slots[index].tries),
        key=script.key,
        parent=parent,
        preview=preview,
    )
    step = _admit(policy, chain, call, RequestId(ident("req", 100 + 10 * index + made)))
    return msgspec.structs.replace(step, glass=glass_use(world)) if script.by_person else step


def _seen_by(world: World, index: int) -> PreviewMade | None:
    """What the guard of another script saw, once its call has run."""
    admission = world.slots[index].admission
    looks = dict(world.ghosts.looks)
    if admission is None or admission.admission_id not in looks:
        return None
    state = str(looks[admission.admission_id])
    return PreviewMade(admission_id=admission.admission_id, preview=Preview(state=state))


def _admit(policy: Policy, chain: Chain, call: Call, new_request: RequestId) -> Admit:
    rule = policy.action(call.action)
    arguments = decode(call.arguments)
    assert isinstance(arguments, dict)
    attributes = attributes_of(rule, arguments)
    key = key_of(rule, attributes) or call.key
    digest = DIGESTER.digest("arguments", call.arguments)
    return Admit(
        policy_document=policy,
        digester=DIGESTER,
        chain=chain,
        call=call,
        arguments=arguments,
        attributes=attributes,
        found_before=None,
        key=key,
        new_request=new_request,
        arguments_digest=digest,
        call_digest=call_request.call_digest(DIGESTER, chain, call.action, rule.effect, digest, key),
    )
