"""What a step may know and what it may change. Stores load `Facts`, run `decide` over them, and write what it returns.

A step sees the changes of the steps before it in the same batch, through rows and through indexes alike, because the
working set here is updated between them. Asking for a fact that `keys()` did not name is a fault of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import ClassVar, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from leasehold.decide.rows import TABLES, CallRow, ControlRow, RequestRow, Row, StopRow
from leasehold.errors import TransitionError
from leasehold.ledger.entry import Entry
from leasehold.model.call import CallState
from leasehold.model.decision import Decision
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState

__all__ = [
    "INDEXES",
    "ActiveStops",
    "AllOpenCalls",
    "Changes",
    "Facts",
    "Index",
    "Key",
    "Need",
    "OpenCalls",
    "PendingRequests",
    "Ref",
    "RequestsOfCall",
    "Step",
    "StepAnswer",
    "key_of",
]

R = TypeVar("R", bound=Row)
A_co = TypeVar("A_co", covariant=True)

Key: TypeAlias = tuple[str, ...]


class Ref(msgspec.Struct, frozen=True):
    """One row by its key."""

    row_type: type[Row]
    key: Key


class Index(msgspec.Struct, frozen=True):
    """All rows of one table that share a bucket. The list of indexes is closed: stores have a statement for each."""

    ROW: ClassVar[type[Row]]

    bucket: Key

    @staticmethod
    def bucket_of(row: Row) -> Key | None:
        """The bucket that a row stands in, or None if it stands in none."""
        raise NotImplementedError


class OpenCalls(Index, frozen=True):
    """Calls of one tenant that are admitted and not settled. Bucket: (tenant,)."""

    ROW = CallRow

    @staticmethod
    def bucket_of(row: Row) -> Key | None:
        return (row.tenant,) if isinstance(row, CallRow) and row.state == CallState.ADMITTED else None


class AllOpenCalls(Index, frozen=True):
    """Calls of every tenant that are admitted and not settled. Bucket: ()."""

    ROW = CallRow

    @staticmethod
    def bucket_of(row: Row) -> Key | None:
        return () if isinstance(row, CallRow) and row.state == CallState.ADMITTED else None


class RequestsOfCall(Index, frozen=True):
    """Requests for one exact call. Bucket: (tenant, call digest)."""

    ROW = RequestRow

    @staticmethod
    def bucket_of(row: Row) -> Key | None:
        return (row.tenant, row.call_digest) if isinstance(row, RequestRow) and row.call_digest else None


class PendingRequests(Index, frozen=True):
    """Requests of one run that wait for people. Bucket: (tenant, run id)."""

    ROW = RequestRow

    @staticmethod
    def bucket_of(row: Row) -> Key | None:
        return (row.tenant, row.run_id) if isinstance(row, RequestRow) and row.state == RequestState.PENDING else None


class ActiveStops(Index, frozen=True):
    """Wide revokes and holds in force. Bucket: (tenant,); the authority-wide ones stand under the empty tenant."""

    ROW = StopRow

    @staticmethod
    def bucket_of(row: Row) -> Key | None:
        return (row.tenant,) if isinstance(row, StopRow) and row.is_active else None


INDEXES: tuple[type[Index], ...] = (OpenCalls, AllOpenCalls, RequestsOfCall, PendingRequests, ActiveStops)

Need: TypeAlias = Ref | Index


def key_of(row: Row) -> Key:
    """The key of a row, in the order of its table's key columns."""
    return _KEY_OF[type(row)](row)


# attrgetter with two or more names answers a tuple at C speed; the key of the one row with a single name is never hot.
_KEY_OF: dict[type[Row], Callable[[Row], Key]] = {
    row_type: attrgetter(*row_type.KEY) if len(row_type.KEY) > 1 else lambda row: (getattr(row, row.KEY[0]),)
    for row_type in TABLES
}


class Changes(msgspec.Struct, frozen=True):
    """What a step wants written: whole rows (inserted or replaced) and ledger entries, in order.

    `gone` are rows to take out, of a table that no index is over: what is over and was written down in the ledger.
    """

    rows: tuple[Row, ...] = ()
    entries: tuple[Entry, ...] = ()
    gone: tuple[Ref, ...] = ()


class Facts:
    """The working set of one batch. Owned by the thread that runs the lane; never shared.

    `control` is the log's row; `next_index` the ledger index that the next entry will get; `clock_behind` says that the
    clock reads more than two seconds before the last recorded time.
    """

    def __init__(self, control: ControlRow, *, clock_behind: bool = False) -> None:
        self.control = control
        self.clock_behind = clock_behind
        self.next_index = control.size
        self.reader: Callable[[Ref], Row | None] | None = None  # set by stores, valid while their transaction is open
        self._rows: dict[tuple[type[Row], Key], Row | None] = {}
        self._buckets: dict[tuple[type[Index], Key], dict[Key, Row]] = {}
        self._indexed: set[type[Index]] = set()  # of which indexes a bucket is held; seldom that of open calls

    def load(self, ref: Ref, row: Row | None) -> None:
        """Put a stored row, or the knowledge that there is none, into the working set. For stores."""
        self._rows[(ref.row_type, ref.key)] = row

    def load_index(self, index: Index, rows: Iterable[Row]) -> None:
        """Put the stored rows of one bucket into the working set. For stores."""
        bucket = {key_of(row): row for row in rows}
        self._buckets[(type(index), index.bucket)] = bucket
        self._indexed.add(type(index))
        for key, row in bucket.items():
            self._rows.setdefault((type(row), key), row)

    def get(self, row_type: type[R], *key: str) -> R | None:
        """The row, or None if there is none.

        Raises:
            TransitionError: the step did not name it.
        """
        try:
            return self._rows[(row_type, key)]  # type: ignore[index, return-value]  # stored under its own type
        except KeyError:
            raise TransitionError(f"{row_type.__name__} {key} was not named by keys()") from None

    @property
    def now(self) -> Instant:
        """The time that counts, while steps are decided."""
        return Instant(self.control.last_time_ms)

    def seek(self, row_type: type[R], *key: str) -> R | None:
        """A row that could be named only once others were seen, such as the person behind an answer.

        Read in the same transaction, so it is as true as what was loaded before; None where nothing can be read.
        """
        ref = Ref(row_type, key)  # type: ignore[arg-type]  # a type of row, as its bound says
        if (ref.row_type, key) not in self._rows and self.reader is not None:
            self.load(ref, self.reader(ref))
        return self._rows.get((ref.row_type, key))  # type: ignore[return-value]  # stored under its own type

    def find(self, index: Index) -> tuple[Row, ...]:
        """The rows of one bucket, in key order.

        Raises:
            TransitionError: the step did not name it.
        """
        try:
            bucket = self._buckets[(type(index), index.bucket)]
        except KeyError:
            raise TransitionError(f"{index} was not named by keys()") from None
        return tuple(bucket[key] for key in sorted(bucket))

    def apply(self, changes: Changes) -> None:
        """Take a step's changes into the working set, so that the next step sees them. For stores."""
        for row in changes.rows:
            key = key_of(row)
            row_type = type(row)
            if row_type is ControlRow:
                self.control = row  # type: ignore[assignment]  # just checked; isinstance is slower
                continue
            before = self._rows.get((row_type, key))
            self._rows[(row_type, key)] = row
            for index_type in _INDEXES_OF.get(row_type, ()):
                if index_type in self._indexed:
                    self._move(index_type, key, before, row)
        for ref in changes.gone:
            self._rows[(ref.row_type, ref.key)] = None
        self.next_index += len(changes.entries)

    def _move(self, index_type: type[Index], key: Key, before: Row | None, after: Row) -> None:
        old = index_type.bucket_of(before) if before is not None else None
        new = index_type.bucket_of(after)
        if old is not None and old != new and (bucket := self._buckets.get((index_type, old))) is not None:
            bucket.pop(key, None)
        if new is not None and (bucket := self._buckets.get((index_type, new))) is not None:
            bucket[key] = after


_INDEXES_OF: dict[type[Row], tuple[type[Index], ...]] = {
    row_type: tuple(index for index in INDEXES if index.ROW is row_type)
    for row_type in {index.ROW for index in INDEXES}
}


class StepAnswer(msgspec.Struct, Generic[A_co], frozen=True):
    """What a step answers: always the decision, and a value when it went through.

    `active_policy` is set when the step was built with a policy that is no longer active: nothing was decided; build it
    again with the policy of that hash and submit it again.
    """

    decision: Decision
    value: A_co | None = None
    active_policy: str = ""


class Step(Protocol[A_co]):
    """One change of state: the facts it needs, and the pure rule.

    `policy` is the hash of the policy it was built with, or None if none was used; where the active one differs the
    step is not decided (`StepAnswer.active_policy`). `needs_clock` is false only for what must work while the clock is
    wrong (revoke, hold and settle), and for admit, which refuses in its own order and has it written down.
    """

    @property
    def policy(self) -> str | None: ...

    @property
    def needs_clock(self) -> bool: ...

    def keys(self) -> Sequence[Need]:
        """The facts that `decide` will ask for."""
        ...

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[A_co], Changes]:
        """The answer and what to write. Pure: the same facts and time always give the same."""
        ...
