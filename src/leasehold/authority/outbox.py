"""Delivering notices: one thread for each process, woken by commits, with retries that end in an alarm.

At least once: a process that dies between sending and writing that down leaves its claim to run out, and the notice is
sent again under the same id. Nothing waits for it: a channel that is down, slow or wrong delays only itself, and never
a decision. Assembled authorities start the thread; tests and `leasehold notices` call `run_once`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from leasehold.authority.chat import chat_card
from leasehold.authority.engine import Engine
from leasehold.authority.noticing import LedgerReader
from leasehold.authority.trouble import Trouble
from leasehold.decide.facts import Step
from leasehold.decide.lifecycles import DeliveryEvent, DeliveryState
from leasehold.decide.notices import BeginDelivery, EndDelivery, RetryDelivery
from leasehold.decide.rows import AccountRow, DeliveryRow, RequestRow
from leasehold.errors import ConfigError, InvalidError, LeaseholdError, StoreError
from leasehold.ledger.entry import decode_entry
from leasehold.model.card import Card
from leasehold.model.instant import Instant
from leasehold.model.notice import Notice, NoticeEvent
from leasehold.notices.channel import DeliveryError
from leasehold.notices.channels import Channels
from leasehold.notices.events import FOLLOWS
from leasehold.notices.wording import Matter, compose
from leasehold.policy.document import NoticeRule

__all__ = ["Outbox"]

A = TypeVar("A")

_LOG = logging.getLogger("leasehold.notices")
_TRY_SECONDS = 20.0
_GATHER_SECONDS = 0.05
_IDLE_SECONDS = 30.0
_SILENT_SECONDS = 1.0
_FAULT_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_FAR = Instant(2**52)
_CARD = msgspec.json.Decoder(Card)


class Outbox:
    """The notices of one authority. Owns its thread, if it was started."""

    def __init__(self, engine: Engine, channels: Channels) -> None:
        self._engine = engine
        self._channels = channels
        self._reader = LedgerReader(engine)
        self._post = _Post(engine, channels)
        self._worker: _Worker | None = None

    def start(self) -> None:
        """Deliver in a background thread, until `close`."""
        self._worker = _Worker(self._engine, self._reader, self._post)

    def close(self) -> None:
        """Stop the thread and wait for it. What is being sent just then is sent again later."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def run_once(self) -> int:
        """Read the ledger to its end, and try each notice that is due; answers how many were tried.

        Raises:
            StoreError: the database cannot be used.
        """
        return asyncio.run(self._run_once())

    async def _run_once(self) -> int:
        await _enqueue(self._engine, self._reader)
        due = self._engine.store.queries.undelivered(self._engine.system.now())
        tried = await asyncio.gather(*(self._post.deliver_all(rows) for rows in _by_channel(due).values()))
        return sum(tried)

    async def send_now(self, rule: NoticeRule, notice: Notice) -> None:
        """Send one notice past the queue, once: a test of the channel.

        Raises:
            LeaseholdError: it did not arrive.
        """
        at = self._engine.system.now().seconds
        async with asyncio.timeout(_TRY_SECONDS):
            await self._channels.of(rule.kind).send(rule, notice, at=at)

    def retry(self, row: DeliveryRow) -> DeliveryRow:
        """Have a notice that was given up tried again.

        Raises:
            Denied: it was not given up.
        """
        return self._engine.ask(lambda _: RetryDelivery(tenant=row.tenant, delivery_id=row.delivery_id))


class _Worker:
    """The thread of an outbox: an event loop that is woken by commits and by deadlines.

    `_is_poked` is set by any thread and cleared by the loop's: however many commits there are, at most one wake-up is
    under way, so that the lane never pays more for it than reading a flag.
    """

    def __init__(self, engine: Engine, reader: LedgerReader, post: _Post) -> None:
        self._engine = engine
        self._reader = reader
        self._post = post
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._is_poked = False
        self._is_closing = False
        self._unregister: Callable[[], None] | None = None
        self._busy: dict[str, asyncio.Task[int]] = {}
        self._thread = threading.Thread(target=self._run, name="leasehold-notices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and wait for it."""
        self._is_closing = True
        self._loop.call_soon_threadsafe(self._wake.set)
        self._thread.join()
        self._listen(False)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._main())

    async def _main(self) -> None:
        trouble = Trouble(_LOG, "notices could not be delivered", self._engine.system)
        while not self._is_closing:
            self._wake.clear()
            self._is_poked = False
            try:
                seconds = await self._work()
            except LeaseholdError as error:
                trouble.met(error)
                seconds = _FAULT_SECONDS
            except Exception:  # noqa: BLE001 - the outermost edge of the thread: a fault here must not silence every later notice
                _LOG.exception("notices could not be delivered")
                seconds = _FAULT_SECONDS
            else:
                trouble.over()
            await self._sleep(seconds)
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        if not self._is_closing:
            await asyncio.sleep(_GATHER_SECONDS)

    async def _work(self) -> float:
        """Read what was recorded, begin what is due, and answer how long nothing else will have to be done."""
        self._listen(self._reader.take_up() is not None)  # before reading: a commit in between wakes
        is_silent = await _enqueue(self._engine, self._reader)
        queries, now = self._engine.store.queries, self._engine.system.now()
        while rows := queries.undelivered(now, but_not=self._busy):
            for channel, listed in _by_channel(rows).items():
                self._busy[channel] = asyncio.create_task(self._deliver(channel, listed))
        waiting = queries.undelivered(_FAR, but_not=self._busy, limit=1)
        if waiting:
            return min(_IDLE_SECONDS, max(_GATHER_SECONDS, (waiting[0].due_ms - now) / 1000))
        return _SILENT_SECONDS if is_silent else _IDLE_SECONDS

    async def _deliver(self, channel: str, rows: Sequence[DeliveryRow]) -> int:
        """Try a channel's notices one after the other; other channels do not wait for it."""
        try:
            tried = await self._post.deliver_all(rows)
            if tried < len(rows):
                await asyncio.sleep(_PAUSE_SECONDS)  # the receiver does not answer, or somebody else is at work
            return tried
        except Exception:  # noqa: BLE001 - the outermost edge of a task: the notices stay due
            _LOG.exception("notices over %s could not be delivered", channel)
            await asyncio.sleep(_FAULT_SECONDS)
            return 0
        finally:
            del self._busy[channel]
            self._wake.set()

    def _listen(self, is_wanted: bool) -> None:
        """Be woken by commits while there is somebody to tell; else the ledger is looked at now and then."""
        if is_wanted and self._unregister is None:
            self._unregister = self._engine.store.changes.register(self._poke)
        elif not is_wanted and self._unregister is not None:
            self._unregister()
            self._unregister = None

    def _poke(self) -> None:
        if not self._is_poked and not self._is_closing:
            self._is_poked = True
            self._loop.call_soon_threadsafe(self._wake.set)


class _Post:
    """Trying notices one by one, each claimed before and written down after."""

    def __init__(self, engine: Engine, channels: Channels) -> None:
        self._engine = engine
        self._channels = channels

    async def deliver_all(self, rows: Iterable[DeliveryRow]) -> int:
        """Try each of these once, in order; answers how many were tried or found to be overtaken.

        After a try that will be repeated the rest is left for later: a receiver that is down is not asked about each.
        """
        tried = 0
        for row in rows:
            state = await self._deliver(row)
            tried += state is not None
            if state is DeliveryState.WAITING:
                break
        return tried

    async def _deliver(self, row: DeliveryRow) -> DeliveryState | None:
        """Try one notice; answers where it stands then, or None if it is not this process's turn."""
        if self._is_ahead_of_a_copy(row):
            return None
        claim = self._engine.system.random_bytes(8).hex()
        begin = BeginDelivery(tenant=row.tenant, delivery_id=row.delivery_id, claim=claim)
        begun = await _submit(self._engine, begin)
        if begun is None:
            return None
        return await _submit(self._engine, await self._try(begun))

    async def _try(self, row: DeliveryRow) -> EndDelivery:
        """Send a claimed notice and say how that went."""
        end = EndDelivery(tenant=row.tenant, delivery_id=row.delivery_id, claim=row.claim, event=DeliveryEvent.OVERTAKE)
        try:
            rule = self._rule(row)
            notice = self._notice(row, rule) if rule is not None else None
            copies = self._copies(row)
            if rule is None or notice is None or (row.event not in rule.events and not copies):
                return end
            async with asyncio.timeout(_TRY_SECONDS):
                reference = await self._send(rule, notice, copies)
        except TimeoutError:
            fault, error = f"nothing came back within {_TRY_SECONDS:.0f} s", None
        except DeliveryError as failed:
            fault, error = str(failed), failed
        except (ConfigError, InvalidError):
            fault, error = "the channel's secret cannot be used; see: leasehold notices list", None
        except (StoreError, asyncio.CancelledError):
            raise
        except Exception as unexpected:  # noqa: BLE001 - the outermost edge of a channel; its text may hold secrets
            fault, error = f"an error inside the channel ({type(unexpected).__name__})", None
        else:
            return msgspec.structs.replace(end, event=DeliveryEvent.DELIVER, reference=reference)
        return self._failed(end, fault, error)

    def _failed(self, end: EndDelivery, fault: str, error: DeliveryError | None) -> EndDelivery:
        system = self._engine.system
        return msgspec.structs.replace(
            end,
            event=DeliveryEvent.GIVE_UP,
            fault=fault,
            may_repeat=error is None or error.may_repeat,
            not_before_ms=int(system.now()) + 1000 * error.after_seconds if error and error.after_seconds else 0,
            chance=int.from_bytes(system.random_bytes(2), "big") / 0xFFFF,
        )

    async def _send(self, rule: NoticeRule, notice: Notice, copies: Sequence[str]) -> str:
        """Send it, or rewrite every copy that stands."""
        channel, at = self._channels.of(rule.kind), self._engine.system.now().seconds
        for copy in copies:
            await channel.send(rule, notice, at=at, reference=copy)
        return "" if copies else await channel.send(rule, notice, at=at)

    def _rule(self, row: DeliveryRow) -> NoticeRule | None:
        """The channel as the active policy has it; of a policy that was accepted, as it was named before."""
        if row.event == NoticeEvent.POLICY_WIDENED:
            return self._engine.policy(row.policy).notices.get(row.channel)
        rule = self._engine.active_policy().notices.get(row.channel)
        return rule if rule is not None and rule.is_for(row.tenant) else None

    def _notice(self, row: DeliveryRow, rule: NoticeRule) -> Notice | None:
        queries = self._engine.store.queries
        about, _, rest = row.subject.partition(" ")
        request = self._engine.row(RequestRow, row.tenant, rest) if about == "request" else None
        account = self._engine.row(AccountRow, row.tenant, *rest.split(" ")) if about == "budget" else None
        body = queries.card(row.tenant, request.card_digest) if request is not None else None
        card = None if body is None else _CARD.decode(body)
        matter = Matter(
            event=NoticeEvent(row.event),
            notice_id=row.delivery_id,
            subject=row.subject,
            entry=decode_entry(queries.ledger(row.entry, row.entry + 1)[0].body),
            card=card,
            row=request,
            account=account,
            chat=chat_card(self._engine, rule, request, card) if request is not None and card is not None else None,
        )
        return compose(matter, console=rule.console, now=self._engine.system.now())

    def _copies(self, row: DeliveryRow) -> tuple[str, ...]:
        """The posted copies that this notice makes untrue; of a hold, only those since it was lifted before."""
        if row.event not in FOLLOWS:
            return ()
        earlier = [other for other in self._about_the_same(row) if other.entry < row.entry]
        lifts = [other.entry for other in earlier if other.event == row.event == NoticeEvent.STOP_LIFTED]
        since = max(lifts, default=-1)
        posted = (other for other in earlier if other.reference and other.entry > since)
        return tuple(dict.fromkeys(other.reference for other in posted))

    def _is_ahead_of_a_copy(self, row: DeliveryRow) -> bool:
        """Whether the copy that this one would rewrite is being posted just now."""
        if row.event not in FOLLOWS:
            return False
        return any(
            other.claim and other.state == DeliveryState.WAITING and other.entry < row.entry
            for other in self._about_the_same(row)
        )

    def _about_the_same(self, row: DeliveryRow) -> tuple[DeliveryRow, ...]:
        return self._engine.store.queries.deliveries_about(row.tenant, row.subject, row.channel)


async def _enqueue(engine: Engine, reader: LedgerReader) -> bool:
    """Read the ledger to its end; answers whether nobody is to be told of anything."""
    while (cursor := reader.take_up()) is not None:
        step = reader.read(cursor)
        if step is not None:
            try:
                await _submit(engine, step)
            except BaseException:
                reader.forget()
                raise
        if reader.is_at_end():
            return reader.take_up() is None
    return True


def _by_channel(rows: Iterable[DeliveryRow]) -> dict[str, list[DeliveryRow]]:
    grouped: dict[str, list[DeliveryRow]] = {}
    for row in sorted(rows, key=lambda row: row.entry):
        grouped.setdefault(row.channel, []).append(row)
    return grouped


async def _submit(engine: Engine, step: Step[A]) -> A:
    return await asyncio.wrap_future(engine.submit(lambda _: step))
