"""PostgreSQL connections with the settings that durability rests on, and PostgreSQL's errors in our words.

Called by the other `postgres_` modules. What a connection must have is set when it is made and read back; a server
where that does not hold is refused, and so is a pooler that does not keep one session to a connection. A password never
stands in a place that is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import msgspec
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from leasehold.errors import ConfigError, StoreError, UnavailableError
from leasehold.store.lane import FullError, RefusedError
from leasehold.store.postgres_patrol import Patrol

__all__ = [
    "SCHEMA",
    "WHICH_SESSION",
    "AgainError",
    "Connection",
    "PostgresPlace",
    "at_one_moment",
    "connect",
    "execute",
    "in_our_words",
    "insist_on_session",
    "insist_on_sessions",
    "is_lost",
    "not_durable",
    "patient",
    "primary",
    "transaction",
    "translated",
]

SCHEMA = "leasehold"
"""Where all tables stand, so that a database may be shared with others."""

_MARK = "leasehold.session"
WHICH_SESSION = f"current_setting('{_MARK}', true)"
"""What the session of the server is marked with that a statement meets."""

_OLDEST_SERVER = 130_000
_LOCAL = ("", "localhost", "127.0.0.1", "::1")
_DURABLE = ("on", "remote_apply")
_LAST_WORDS = ("FATAL", "PANIC")


class AgainError(UnavailableError):
    """Nothing was executed, and at once, over a connection that works, it may be. Caught where that can be tried."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection, and what the server's session was marked with that it was set up in."""

    mark = ""  # written by `connect` alone


class PostgresPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Which database, as libpq's parameters, and how long to wait for it. Shown without any secret.

    `patience_seconds` is how long a connection, a lock or another process's batch is waited for, `statement_seconds`
    how long the server may work on one statement.
    """

    parameters: Mapping[str, str]
    patience_seconds: float = 5.0
    statement_seconds: float = 30.0

    @property
    def silent_seconds(self) -> float:
        """How long a server may say nothing while it is asked: longer than it may wait for a lock and then work."""
        return self.patience_seconds + self.statement_seconds

    @classmethod
    def parse(cls, url: str, *, may_hold_password: bool = False) -> PostgresPlace:
        """Read a connection URL, `postgresql://[user@]host[:port]/database[?parameter=value…]`, or libpq's other form.

        Towards another machine the server's certificate is verified unless the URL itself says otherwise.

        Raises:
            ConfigError: it is none, or holds a password where it may be shown.
        """
        try:
            given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.Error:
            raise ConfigError(
                "the database's URL cannot be read; write postgresql://user@host:5432/database"
            ) from None  # libpq would repeat what it read, and with it a password
        if not may_hold_password and ({"password", "sslpassword"} & given.keys()):
            raise ConfigError(
                "a password in the database's URL can be seen by other accounts; put it into a file of mode 600 "
                "(~/.pgpass, or the one that PGPASSFILE or passfile= names)"
            )
        hosts = given.get("host", "").split(",") + given.get("hostaddr", "").split(",")
        if "sslmode" not in given and not all(host in _LOCAL or host.startswith(("/", "@")) for host in hosts):
            given |= {"sslmode": "verify-full", "sslrootcert": given.get("sslrootcert", "system")}
        return cls(parameters=given)

    def __str__(self) -> str:
        host = self.parameters.get("host") or self.parameters.get("hostaddr") or "localhost"
        port = self.parameters.get("port")
        return f"postgresql://{host}{f':{port}' if port else ''}/{self.parameters.get('dbname', '')}"


def patient(place: PostgresPlace) -> PostgresPlace:
    """The same database for work on all of it, during which one statement may take long."""
    return msgspec.structs.replace(place, patience_seconds=60.0, statement_seconds=86_400.0)


def primary(place: PostgresPlace) -> PostgresPlace:
    """The same database on the server that takes writes, for reading what is so now: a standby may be behind.

    A client key that was removed, a person or a session that is gone would still count on one that lags.
    """
    return msgspec.structs.replace(place, parameters={**place.parameters, "target_session_attrs": "primary"})


def connect(place: PostgresPlace, *, read_only: bool = False) -> Connection:
    """Return a connection with every setting in force; each statement is its own transaction unless one is begun.

    Raises:
        UnavailableError: the server cannot be reached, lets nobody in, is a standby that takes no writes, or may lose
            what it confirms; or what is in between gives no session, or now this one and now that one.
        StoreError: the server is too old, or does not keep text as UTF-8.
    """
    seconds = max(2, int(place.patience_seconds))
    given = {
        "connect_timeout": str(seconds),
        "application_name": "leasehold",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": str(int(1000 * place.statement_seconds)),
        "target_session_attrs": "any" if read_only else "read-write",
        **place.parameters,
        "client_encoding": "UTF8",
    }
    try:
        connection = Connection.connect(make_conninfo("", **given), autocommit=True, prepare_threshold=0)
    except psycopg.Error as error:
        raise UnavailableError(
            f"{place}: the database cannot be reached; nothing was executed: {_told(error)}"
        ) from error
    try:
        _set_up_in_time(connection, place, seconds, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up_in_time(connection: Connection, place: PostgresPlace, seconds: int, *, read_only: bool) -> None:
    """Set up a connection. A pooler lets in whom it has no session for yet, and makes the first statement wait."""
    began = monotonic()
    try:
        with closing(Patrol(seconds)) as patrol, patrol.watching(connection), translated(place):
            _set_up(connection, place, read_only=read_only)
    except AgainError as error:
        if monotonic() - began < seconds:
            raise
        raise UnavailableError(
            f"{place}: the database cannot be reached; nothing was executed: what is there let us in and then said "
            f"nothing for {seconds} s. A pooler in between may be paused, or have no session left (default_pool_size)"
        ) from error


def _settings(place: PostgresPlace, *, read_only: bool) -> dict[str, str]:
    patience = f"{int(1000 * place.patience_seconds)}ms"
    return {
        "search_path": f"{SCHEMA}, pg_temp",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "on" if read_only else "off",
        "lock_timeout": patience,
        "statement_timeout": f"{int(1000 * place.statement_seconds)}ms",
        # A process that was stopped inside its batch must not keep the log's lock for ever.
        "idle_in_transaction_session_timeout": patience,
        "bytea_output": "hex",
        # Plans are made once, of tables that may be empty then: left to choose, they read whole tables ever after.
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "enable_material": "off",
        "jit": "off",
    }


def _set_up(connection: Connection, place: PostgresPlace, *, read_only: bool) -> None:
    if connection.info.server_version < _OLDEST_SERVER:
        raise StoreError(f"{place}: this server is older than PostgreSQL 13; use a newer one")
    wanted = _settings(place, read_only=read_only)
    settings = ", ".join(["set_config(%s, %s, false)"] * len(wanted))
    marked = f"set_config('{_MARK}', CAST(gen_random_uuid() AS text), false)"
    named = [text for setting in wanted.items() for text in setting]
    connection.mark, *_ = execute(connection, f"SELECT {marked}, {settings}", named).fetchone() or ("",)
    *found, mark = _shown(connection, ("server_encoding", "standard_conforming_strings", "client_encoding", _MARK))
    insist_on_session(connection, place, mark)
    if found != ["UTF8", "on", "UTF8"]:
        raise StoreError(
            f"{place}: this database does not keep its text as UTF-8 (server_encoding, standard_conforming_strings and "
            f"client_encoding are {found}); make one with: createdb --encoding=UTF8 --template=template0"
        )
    if not read_only:
        _insist_on_durability(connection, place)


def _insist_on_durability(connection: Connection, place: PostgresPlace) -> None:
    """Have commits wait for the disk, whatever is set for the server now or later; what only it can set has to hold."""
    (kept,) = _shown(connection, ("synchronous_commit",))
    wanted = kept if kept in _DURABLE else "on"
    execute(connection, "SELECT set_config('synchronous_commit', %s, false)", (wanted,))
    found = _shown(connection, ("synchronous_commit", "fsync", "full_page_writes"))
    if found != [wanted, "on", "on"]:
        raise not_durable(place)


def not_durable(place: PostgresPlace) -> UnavailableError:
    """The error of a server that may lose what it has confirmed, by what is set for it now."""
    return UnavailableError(
        f"{place}: this server may lose what it has confirmed, so nothing is executed; set fsync and full_page_writes "
        "to on, and let synchronous_commit be set to on"
    )


def insist_on_session(connection: Connection, place: PostgresPlace, mark: str | None) -> None:
    """Refuse a session that is not, or no longer alone, the one that a connection was set up in.

    What is prepared there has the names that we gave to other statements: one would be executed in place of another.

    Raises:
        UnavailableError: `mark`, which stands there, is not the connection's. The connection is closed.
    """
    if mark != connection.mark:
        connection.close()
        raise UnavailableError(
            f"{place}: a pooler in between gives one connection now this and now that session of the server; nothing "
            "was executed. Have it keep sessions (PgBouncer: pool_mode = session), or name the server itself"
        )


def insist_on_sessions(connection: Connection, place: PostgresPlace) -> None:
    """Refuse a pooler in which a second connection gets the session of this one, which is still in use.

    Raises:
        UnavailableError: it does.
    """
    row = execute(connection, "SELECT pg_backend_pid()").fetchone()
    if row != (connection.info.backend_pid,):  # a pooler numbers those whom it lets in by itself
        connect(place, read_only=True).close()
        insist_on_session(connection, place, *_shown(connection, (_MARK,)))


def _shown(connection: Connection, names: Sequence[str]) -> list[str]:
    row = execute(connection, f"SELECT {', '.join(['current_setting(%s, true)'] * len(names))}", names).fetchone()
    return [str(value) for value in row or ()]


def execute(
    connection: Connection, sql: str, bound: Sequence[object] = (), *, is_prepared: bool = False
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Execute one statement, or several without parameters, and return the cursor over its answer.

    A statement that comes again and again is prepared: parsed and planned once a connection.
    """
    return connection.execute(sql.encode(), bound or None, prepare=is_prepared)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit what the body does, or undo everything if it raises."""
    execute(connection, "BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        yield
        execute(connection, "COMMIT")
    except BaseException:
        if not connection.closed:
            execute(connection, "ROLLBACK")
        raise


@contextmanager
def at_one_moment(connection: Connection) -> Iterator[None]:
    """Have all statements of the body see the database as it is at one moment; it can only read."""
    execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not connection.closed:
            execute(connection, "ROLLBACK")


@contextmanager
def translated(place: PostgresPlace) -> Iterator[None]:
    """Raise PostgreSQL's errors as ours."""
    try:
        yield
    except psycopg.Error as error:
        raise in_our_words(error, place) from error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, or the server is going: what was under way may or may not have happened.

    Whatever a server says last is no answer: one whose disk fails behind a commit ends with that error, and the next
    start may find the commit in its log.
    """
    state = error.sqlstate or ""
    return not state or state.startswith(("08", "57P")) or error.diag.severity_nonlocalized in _LAST_WORDS


def in_our_words(error: psycopg.Error, place: PostgresPlace) -> StoreError:
    """The error that says what happened, why, and what to do. Nothing was executed, unless a COMMIT was under way.

    `AgainError` where trying at once may help, over another connection if need be, `UnavailableError` where trying
    later may (`FullError` once there is room), `RefusedError` where one statement is at fault, `StoreError` where the
    database is not what it was.
    """
    told = _told(error)
    if is_lost(error):
        return AgainError(f"{place}: the connection to the database was lost; nothing was executed: {told}")
    match error:
        case errors.LockNotAvailable() | errors.QueryCanceled():
            return UnavailableError(
                f"{place}: another process holds the log's lock, or the server is slow; nothing was executed: {told}"
            )
        case errors.SerializationFailure() | errors.DeadlockDetected():
            return AgainError(f"{place}: the server wants it tried again; nothing was executed: {told}")
        case errors.ReadOnlySqlTransaction():
            return AgainError(f"{place}: this server takes no writes, it is a standby; nothing was executed: {told}")
        case errors.DiskFull():
            return FullError(f"{place}: the server's disk is full; nothing was executed; make room: {told}")
        case errors.InsufficientPrivilege():
            return UnavailableError(
                f"{place}: this user may not do that; nothing was executed; let it own the schema {SCHEMA}, or make "
                f"schemas in this database: {told}"
            )
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.InvalidSchemaName():
            return StoreError(f"{place}: the database lacks a part of it; restore a backup: {told}")
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return RefusedError(f"{place}: a part of the database is damaged; run: leasehold db check: {told}")
        case _ if (error.sqlstate or "").startswith(("53", "58")):
            return UnavailableError(f"{place}: the server lacks what it needs; nothing was executed: {told}")
        case _:
            return RefusedError(f"{place}: the database refused it; nothing was written: {told}")


def _told(error: psycopg.Error) -> str:
    """The server's own sentence, without the values that it may repeat in further lines."""
    text = error.diag.message_primary or str(error)
    return " ".join(text.split("\n", 1)[0].split())
