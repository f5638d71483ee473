"""Signing in with an account at a provider: whose it is, which groups were proven, and the session, in one step.

The ID token was verified before, by whoever knows how; what it said comes here as a value. An account belongs to one
person for ever, and a person has one account at a provider, so that nobody is two people and no two are one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow, SessionRow
from leasehold.decide.sign_ins import MAX_SIGN_INS, begin_session, ended, session_needs
from leasehold.decide.voices import encode_sign_ins, sign_ins_of
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import SignIn, SignInMethod
from leasehold.policy.document import Policy, SignInRule, WhoComesIn

__all__ = ["Account", "SignInByProvider"]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider proved: which account, whose by the policy's claim, in which groups, and since when (Unix s)."""

    provider: str
    issuer: str
    subject: str
    person: str
    groups: tuple[str, ...]
    authenticated_at: int

    @property
    def marker(self) -> str:
        """The row that says whose account this is, so that it is nobody else's ever (threat case 80)."""
        return f"account:{hashlib.sha256(msgspec.json.encode((self.issuer, self.subject))).hexdigest()}"


class SignInByProvider(msgspec.Struct, frozen=True, kw_only=True):
    """Sign somebody in by an account. `sign_in` is a fresh id for it, `session` the digest of a fresh session's id,
    `ends` that of the browser's earlier session, if any."""

    policy_document: Policy
    account: Account
    sign_in: str
    session: str
    address: str
    ends: str = ""

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        people = (Ref(PersonRow, (AUTHORITY_WIDE, name)) for name in (self.account.person, self.account.marker))
        return [*people, *session_needs(self.session, self.ends)]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[SessionRow], Changes]:
        account, rule = self.account, self.policy_document.sign_in.get(self.account.provider)
        row = facts.get(PersonRow, AUTHORITY_WIDE, account.person)
        refusal = self._refuse_provider(rule) or self._refuse_row(row) or self._refuse_account(facts, row)
        if refusal is not None or rule is None:
            return StepAnswer(refusal or _NO_PROVIDER), Changes()
        groups = tuple(sorted(set(account.groups) & rule.roles.keys()))
        if refusal := self._refuse_stranger(rule, row, groups):
            return StepAnswer(refusal), Changes()
        person = row or PersonRow(
            tenant=AUTHORITY_WIDE,
            person=account.person,
            public_key=b"",
            state=PersonState.ACTIVE,
            recorded=facts.next_index,
        )
        known = self._known(person)
        used = self._proven(known, groups, now, rule)
        others = tuple(one for one in sign_ins_of(person) if one is not known and one.sign_in != used.sign_in)
        if len(others) >= MAX_SIGN_INS:
            return StepAnswer(deny(Reason.CONFLICT, f"{account.person} has {MAX_SIGN_INS} ways to sign in")), Changes()
        session = begin_session(facts, used, account.person, self.session, min(account.authenticated_at, now.seconds))
        if session is None:
            return StepAnswer(deny(Reason.NOT_SIGNED_IN, "this session began before")), Changes()
        return StepAnswer(allow(), session), Changes(
            rows=(
                *ended(facts, self.ends),
                replace(person, sign_ins=encode_sign_ins((*others, used))),
                *(() if known is not None else (self._marker(facts),)),
                session,
            ),
            entries=(*(() if known is not None else (self._added(used),)), self._entry(used)),
        )

    def _refuse_provider(self, rule: SignInRule | None) -> Decision | None:
        return None if rule is not None and rule.issuer == self.account.issuer else _NO_PROVIDER

    def _refuse_row(self, row: PersonRow | None) -> Decision | None:
        if row is None or row.state == PersonState.ACTIVE:
            return None
        return deny(
            Reason.NOT_SIGNED_IN,
            f"{self.account.person} was let go or removed here",
            check="the person is known here",
            enough=f"leasehold person add {self.account.person}",
        )

    def _refuse_account(self, facts: Facts, row: PersonRow | None) -> Decision | None:
        """One account is one person's, and one person has one account at a provider."""
        marker = facts.get(PersonRow, AUTHORITY_WIDE, self.account.marker)
        if marker is not None and marker.public_key != self.account.person.encode():
            return deny(
                Reason.CONFLICT,
                f"this account is that of another person than {self.account.person}",
                check="an account belongs to one person for ever",
                enough="the name that the provider gave before",
            )
        known = sign_ins_of(row) if row is not None else ()
        if any(one.provider == self.account.provider and not self._is_this(one) for one in known):
            return deny(
                Reason.CONFLICT,
                f"{self.account.person} has another account at {self.account.provider}",
                check="one account of a provider for each person",
                enough="remove the other one first, on the person's own page",
            )
        return None

    def _refuse_stranger(self, rule: SignInRule, row: PersonRow | None, groups: tuple[str, ...]) -> Decision | None:
        is_known = row is not None or self.account.person in self.policy_document.people
        if is_known or (rule.people is WhoComesIn.GROUPS and groups):
            return None
        return deny(
            Reason.NOT_ENTITLED,
            f"{self.account.person} is not known here",
            rule=f"sign_in.{rule.name}.people",
            check="a person of the policy, or one who was added"
            + (", or in one of the groups" if rule.people is WhoComesIn.GROUPS else ""),
        )

    def _is_this(self, known: SignIn) -> bool:
        return (known.issuer, known.subject) == (self.account.issuer, self.account.subject)

    def _known(self, row: PersonRow) -> SignIn | None:
        return next((one for one in sign_ins_of(row) if self._is_this(one)), None)

    def _proven(self, known: SignIn | None, groups: tuple[str, ...], now: Instant, rule: SignInRule) -> SignIn:
        """The way to sign in with what was proven now; what was proven before counts no more."""
        return SignIn(
            sign_in=known.sign_in if known is not None else self.sign_in,
            method=SignInMethod.OIDC,
            added_at=known.added_at if known is not None else now.seconds,
            provider=self.account.provider,
            issuer=self.account.issuer,
            subject=self.account.subject,
            groups=groups,
            groups_until=now.seconds + rule.groups_seconds if groups else 0,
        )

    def _marker(self, facts: Facts) -> PersonRow:
        return PersonRow(
            tenant=AUTHORITY_WIDE,
            person=self.account.marker,
            public_key=self.account.person.encode(),
            state=PersonState.KEY,
            recorded=facts.next_index,
        )

    def _added(self, used: SignIn) -> Entry:
        detail: dict[str, str | int | tuple[str, ...]] = {
            "sign_in": used.sign_in,
            "method": used.method,
            "by": f"provider:{used.provider}",
            "issuer": used.issuer,
            "subject": used.subject,
        }
        return Entry(kind=EntryKind.SIGN_IN_ADDED, person=self.account.person, detail=detail)

    def _entry(self, used: SignIn) -> Entry:
        detail: dict[str, str | int | tuple[str, ...]] = {
            "sign_in": used.sign_in,
            "method": used.method,
            "session": self.session,
            "address": self.address,
            "provider": used.provider,
            "groups": used.groups,
            "groups_until": used.groups_until,
        }
        return Entry(kind=EntryKind.SIGNED_IN, person=self.account.person, policy=self.policy, detail=detail)


_NO_PROVIDER = deny(
    Reason.NOT_SIGNED_IN,
    "the policy does not name this provider any more",
    check="the provider and its issuer stand in [sign_in]",
    enough="another way to sign in",
)
