"""People who answer where they were told: what a chat says that they pressed, judged like every other answer.

Called by the server with what Slack sends, and by the outbox, which asks whether a posted card gets buttons. Nothing is
answered in a chat but where the policy maps that chat's users to people, and never what is destructive or does not fit
into a message whole: that has a link, and its answer is refused here too.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from leasehold.authority.engine import Engine
from leasehold.authority.looking import look_at_footer
from leasehold.decide.answer import Answered, AnswerRequest, request_need
from leasehold.decide.chat import Heard, NoAnswer, refuse_late
from leasehold.decide.rows import RequestRow
from leasehold.decide.voices import ChatVoice
from leasehold.errors import ConfigError, Denied, InvalidError, NotFoundError
from leasehold.model.card import Card, decode_card
from leasehold.model.decision import Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.ids import check_id
from leasehold.model.notice import ChannelKind, ChatCard
from leasehold.model.proof import ChatProof
from leasehold.model.request import Answer, Verdict
from leasehold.notices.channels import Channels
from leasehold.notices.slack_message import card_text
from leasehold.notices.slack_press import Press, delivery_digest, is_signed, read_stamp
from leasehold.policy.document import NoticeRule

__all__ = ["SIGNING_SECRET", "ChatReview", "Delivery", "chat_card"]

SIGNING_SECRET = "signing_secret"  # noqa: S105 - under which name a channel's private file has it
_WHISPER_SECONDS = 10.0
_LOG = logging.getLogger("leasehold.chat")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Something that Slack said: under the secrets of which channels, when, and the digest of it; and when it was heard
    here. Times are Unix seconds."""

    channels: tuple[str, ...]
    signed_at: int
    heard_at: int
    digest: str


class ChatReview:
    """Answers that come over the chats of notice channels. Threads may share it."""

    def __init__(self, engine: Engine, channels: Channels) -> None:
        self._engine = engine
        self._channels = channels

    def is_open(self) -> bool:
        """Whether the active policy lets anybody answer over any channel."""
        return bool(self._reviewed())

    def hear(self, body: bytes, stamp: str, signature: str) -> Delivery:
        """Check that Slack said this just now, before anything of it is read.

        Raises:
            Denied: it is too old, or signed under the secret of no channel over which people may answer.
        """
        try:
            signed_at = read_stamp(stamp)
        except InvalidError:
            raise _unsigned() from None
        now = self._engine.system.now()
        refusal = refuse_late(signed_at, now)
        if refusal is not None:
            raise Denied(refusal)
        secrets = {rule.name: self._secret(rule.name) for rule in self._reviewed()}
        signed = [name for name, secret in secrets.items() if is_signed(secret, signed_at, body, signature) and secret]
        if not signed:
            raise _unsigned()
        digest = delivery_digest(signed_at, body)
        return Delivery(channels=tuple(signed), signed_at=signed_at, heard_at=now.seconds, digest=digest)

    def answer(self, delivery: Delivery, press: Press) -> Answered:
        """Record what a user of the chat pressed as the answer of the person whom they are here.

        Raises:
            NotFoundError: there is no such request that this channel is told of.
            Denied: the button is not one of a copy that was posted of it, the user is nobody here, or this person's
                word does not count for it.
        """
        rule = self._engine.active_policy().notices.get(press.channel)
        if rule is None or press.channel not in delivery.channels:
            raise Denied(deny(Reason.BAD_SIGNATURE, "this was not signed for the channel that it names"))
        proof = ChatProof(
            channel=rule.name, speaker=press.speaker, signed_at=delivery.signed_at, delivery=delivery.digest
        )
        try:
            person, row = self._said(rule, press)
        except (Denied, NotFoundError):
            self._engine.ask(lambda _: Heard(step=NoAnswer(), proof=proof))
            raise
        answer = Answer(
            person=person,
            verdict=press.verdict,
            answered_at=delivery.heard_at,
            proof=proof,
            reason=press.words,
        )
        return self._record(row, answer, proof, press.card)

    async def whisper(self, press: Press, text: str) -> None:
        """Tell the user who pressed a button something that only they see. Nothing depends on it.

        Raises:
            LeaseholdError: it did not arrive.
            TimeoutError: nobody knows whether it did.
        """
        rule = self._engine.active_policy().notices.get(press.channel)
        if rule is not None:
            async with asyncio.timeout(_WHISPER_SECONDS):
                await self._channels.whispering(rule.kind).whisper(rule, press.place, press.user, text)

    def _said(self, rule: NoticeRule, press: Press) -> tuple[str, RequestRow]:
        """Whose word it is, and about which request, if it can be answered like this."""
        person = _person(rule, press.speaker)
        row = self._posted(rule, press)
        self._check_answerable(rule, row)
        if press.verdict is Verdict.DENY and not press.words:
            raise Denied(_NEEDS_WORDS)
        return person, row

    def _record(self, row: RequestRow, answer: Answer, proof: ChatProof, card_digest: str) -> Answered:
        request, run = self._engine.request(row.tenant, row.request_id), self._engine.run(row.tenant, row.run_id)
        return self._engine.ask(
            lambda policy: Heard(
                step=AnswerRequest(
                    policy_document=policy,
                    run=run,
                    request=request,
                    answer=answer,
                    card_digest=card_digest,
                    voice=ChatVoice(person=answer.person),
                ),
                proof=proof,
            )
        )

    def _reviewed(self) -> tuple[NoticeRule, ...]:
        """The channels over which somebody may answer, by the active policy."""
        return tuple(rule for rule in self._engine.active_policy().notices.values() if rule.reviewers)

    def _secret(self, channel: str) -> str:
        try:
            return self._channels.secret(channel, SIGNING_SECRET)
        except ConfigError as error:
            _LOG.warning("nobody can answer over %s: %s", channel, error)
            return ""

    def _posted(self, rule: NoticeRule, press: Press) -> RequestRow:
        """The request, if the button stands in a copy that was posted of it: nobody else's message says what it is."""
        check_id(press.request, "req")
        queries = self._engine.store.queries
        row = queries.locate(press.request, queries.tenants())
        if not isinstance(row, RequestRow) or not rule.is_for(row.tenant):
            raise NotFoundError(f"{press.request} is not in this ledger")
        copies = queries.deliveries_about(row.tenant, f"request {row.request_id}", rule.name)
        if press.reference not in {copy.reference for copy in copies}:
            raise Denied(
                deny(
                    Reason.NOT_IN_CHAT,
                    "this button stands in a message that is not known here",
                    check="a copy that was posted of this request",
                    enough="the same answer in the console, or once more in a moment",
                )
            )
        return row

    def _check_answerable(self, rule: NoticeRule, row: RequestRow) -> None:
        body = self._engine.store.queries.card(row.tenant, row.card_digest)
        if body is None or chat_card(self._engine, rule, row, decode_card(body)) is None:
            raise Denied(
                deny(
                    Reason.NOT_IN_CHAT,
                    "this is not answered in a chat: it is destructive, or its card does not stand here whole",
                    check="a whole card, nothing destructive",
                    enough="the same answer in the console or at a terminal",
                )
            )


def chat_card(engine: Engine, rule: NoticeRule, row: RequestRow, card: Card) -> ChatCard | None:
    """A card as people may answer it over a channel; None where they have to open it."""
    if rule.kind is not ChannelKind.SLACK or not rule.reviewers:
        return None
    request, run = engine.request(row.tenant, row.request_id), engine.run(row.tenant, row.run_id)
    if request_need(engine.active_policy(), run, request).effect is Effect.DESTRUCTIVE:
        return None
    text = card_text(card, look_at_footer(engine, row))
    return ChatCard(channel=rule.name, request=row.request_id, digest=row.card_digest, text=text) if text else None


def _person(rule: NoticeRule, speaker: str) -> str:
    person = rule.reviewers.get(speaker, "")
    if not person:
        raise Denied(
            deny(
                Reason.NOT_ENTITLED,
                f"you are nobody here: the policy names no person for {speaker}",
                rule=f"notices.{rule.name}.reviewers",
                check=f"{speaker} in reviewers",
                enough="the answer of somebody whom it names, or yours in the console",
            )
        )
    return person


def _unsigned() -> Denied:
    return Denied(deny(Reason.BAD_SIGNATURE, "this is not signed by a chat that answers come from"))


_NEEDS_WORDS = deny(
    Reason.NOT_IN_CHAT,
    "a denial needs words to the agent",
    check="words",
    enough="a few words in the field above the buttons, then Deny again",
)
