"""What `leasehold serve` writes on stderr: a line a request, and what the program itself has to say. As text or JSON.

A line has no path, query, header, cookie or body: only the route's template, and who asked as far as that is proven.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

import msgspec

from leasehold.http.exchanges import Exchange
from leasehold.model.plain import escape

__all__ = ["LogFormat", "RequestLog", "start_logging"]

_REQUESTS = logging.getLogger("leasehold.requests")
_SERVER_ERROR = 500


class LogFormat(StrEnum):
    """How lines are written."""

    TEXT = "text"
    JSON = "json"


class _Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One JSON line. What is empty is left out."""

    time: str
    level: str
    logger: str
    message: str
    request: str = ""
    trace: str = ""
    client: str = ""
    address: str = ""
    user_id: int | None = None
    method: str = ""
    route: str = ""
    status: int = 0
    milliseconds: float = 0.0
    error: str = ""


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = _Line(
            time=_time(record),
            level=record.levelname.lower(),
            logger=record.name,
            message=record.getMessage(),
            error=self.formatException(record.exc_info) if record.exc_info else "",
        )
        exchange = getattr(record, "exchange", None)
        if isinstance(exchange, Exchange):
            line.request, line.trace, line.client = exchange.request_id, exchange.trace_id, exchange.client
            line.address, line.user_id = exchange.address, exchange.user_id
            line.method, line.route, line.status = exchange.method, exchange.route, exchange.status
            line.milliseconds = round(exchange.seconds * 1000, 3)
        return msgspec.json.encode(line).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line, hidden characters made visible; a traceback follows on lines of its own."""
        line = f"{_time(record)} {record.levelname.lower()} {escape(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def start_logging(log_format: LogFormat, stream: TextIO) -> None:
    """Write everything from `info` up on the stream. Called once, by a program, never by a library."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class RequestLog:
    """Writes the line of each request. As `leasehold.http.exchanges.Observer`."""

    def began(self) -> None:
        """Nothing: there is one line a request."""

    def ended(self, exchange: Exchange) -> None:
        """Write it."""
        who = exchange.client or exchange.address or f"uid {exchange.user_id}"
        _REQUESTS.log(
            logging.ERROR if exchange.status >= _SERVER_ERROR else logging.INFO,
            "%s %s %s %d in %.1f ms for %s",
            exchange.request_id,
            exchange.method,
            exchange.route,
            exchange.status,
            exchange.seconds * 1000,
            who,
            extra={"exchange": exchange},
        )
