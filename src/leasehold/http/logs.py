"""What `leasehold serve` writes on stderr: a line a request, and what the program itself has to say. As text or JSON.

A line has no path, query, header, cookie or body: only the route's template, and who asked as far as that is proven.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

import msgspec

from leasehold.http.exchanges import Exchange
from leasehold.model.plain import escape

__all__ = ["LogFormat", "RequestLog", "logging_to"]

_REQUESTS = "leasehold.requests"
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
    message: str = ""
    url: str = ""
    metrics: str = ""
    socket: str = ""
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


_encoder = msgspec.json.Encoder()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line. What a record has in `facts`, by the names of the line's fields, stands beside its message."""
        line = _Line(
            time=_time(record.created),
            level=record.levelname.lower(),
            logger=record.name,
            message=record.getMessage(),
            error=self.formatException(record.exc_info) if record.exc_info else "",
            **getattr(record, "facts", {}),
        )
        return _encoder.encode(line).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line, hidden characters made visible; a traceback follows on lines of its own."""
        line = f"{_time(record.created)} {record.levelname.lower()} {escape(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


@contextmanager
def logging_to(log_format: LogFormat, stream: TextIO) -> Iterator[None]:
    """Write everything from `info` up on the stream, and nowhere else, until the block ends. Never by a library."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if log_format is LogFormat.JSON else _TextFormatter())
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)


class RequestLog:
    """Writes the line of each request. As `leasehold.http.exchanges.Observer`.

    Straight to the stream: by way of `logging` a line costs four times as much, and there is one for every admission.
    All lines of one turn of the event loop go out together: while a stream is written, the lane takes the interpreter.
    """

    def __init__(self, log_format: LogFormat, stream: TextIO) -> None:
        self._line = _json_line if log_format is LogFormat.JSON else _text_line
        self._stream = stream
        self._lines: list[str] = []  # the event loop's alone

    def began(self) -> None:
        """Nothing: there is one line a request."""

    def ended(self, exchange: Exchange) -> None:
        """Have it written at the end of this turn."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        level = "error" if exchange.status >= _SERVER_ERROR else "info"
        self._lines.append(self._line(exchange, level))

    def _write(self) -> None:
        """Write what has gathered. Where nobody takes it any more, requests are answered all the same."""
        text = "".join(f"{line}\n" for line in self._lines)
        self._lines.clear()
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _json_line(exchange: Exchange, level: str) -> str:
    line = _Line(
        time=_time(time.time()),
        level=level,
        logger=_REQUESTS,
        request=exchange.request_id,
        trace=exchange.trace_id,
        client=exchange.client,
        address=exchange.address,
        user_id=exchange.user_id,
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        milliseconds=round(exchange.seconds * 1000, 3),
    )
    return _encoder.encode(line).decode()


def _text_line(exchange: Exchange, level: str) -> str:
    who = exchange.client or exchange.address or f"uid {exchange.user_id}"
    return escape(
        f"{_time(time.time())} {level} {exchange.request_id} {exchange.method} {exchange.route} {exchange.status} "
        f"in {exchange.seconds * 1000:.1f} ms for {who}"
    )
