"""What `leasehold serve` needs of the extra `server`; imported only when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from socket import socket

from starlette.types import ASGIApp

from leasehold.authority import Authority
from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.events import Streams
from leasehold.http.exchanges import Observed, Observer
from leasehold.http.gates import SLACK_PATH
from leasehold.http.health import Health, Readiness
from leasehold.http.logs import LogFormat, RequestLog, start_logging
from leasehold.http.metrics import Metrics, metrics_app
from leasehold.http.server import Wiring, fitting_limits, listen, run_server
from leasehold.http.site import Site

__all__ = ["Instruments", "Listening", "Serving"]


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a server listens: `metrics` is the address of the figures' own listener, `proxies` may pass requests on."""

    host: str = "127.0.0.1"
    port: int = 0
    public_url: str | None = None
    proxies: Sequence[str] = ()
    metrics: tuple[str, int] | None = None


class Instruments:
    """What watches one server: its log, and its figures where somebody reads them."""

    def __init__(self, metrics: Metrics | None, log_format: LogFormat) -> None:
        self.metrics = metrics
        self.log_format = log_format

    @property
    def observers(self) -> Sequence[Observer]:
        """Who is told of each request."""
        return [RequestLog(), *([self.metrics.server] if self.metrics is not None else [])]


class Serving:
    """A server that is bound to its addresses and not running yet. `check_keys` raises where keys cannot be read."""

    def __init__(
        self,
        authority: Authority,
        listening: Listening,
        instruments: Instruments | None = None,
        check_keys: Callable[[], object] = lambda: None,
    ) -> None:
        self._authority = authority
        self._listening = listening
        self._instruments = instruments
        self._check_keys = check_keys
        public = Site.public(listening.public_url) if listening.public_url is not None else None
        self._metrics_listener: socket | None = None
        with ExitStack() as held:
            self._listener = held.enter_context(listen(listening.host, listening.port))
            if listening.metrics is not None:
                self._metrics_listener = held.enter_context(listen(*listening.metrics, option="--metrics"))
            self._held = held.pop_all()
        self.site = public or Site.loopback(int(self._listener.getsockname()[1]))
        self.chat_url = f"{self.site.origin}{SLACK_PATH}"

    @property
    def metrics_url(self) -> str:
        """Where the figures are read; empty where they are not."""
        if self._metrics_listener is None:
            return ""
        host, port = self._metrics_listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def run(self) -> None:
        """Serve until a signal says to stop."""
        streams = Streams(self._authority)
        app: ASGIApp = create_app(self._authority, console_pages(), site=self.site, streams=streams)
        if self._instruments is not None:
            start_logging(self._instruments.log_format, sys.stderr)
            app = Observed(app, self._instruments.observers)
        readiness = Readiness(self._authority, keys=self._check_keys, is_stopping=lambda: streams.is_closing)
        with self._held:
            run_server(Health(app, readiness), self._listeners(), self._wiring(streams))

    def _listeners(self) -> Sequence[socket]:
        return [each for each in (self._listener, self._metrics_listener) if each is not None]

    def _wiring(self, streams: Streams) -> Wiring:
        wiring = Wiring(stopping=streams.close, proxies=self._listening.proxies, limits=fitting_limits())
        metrics = self._instruments.metrics if self._instruments is not None else None
        if metrics is None:
            return wiring
        by_port: dict[int, ASGIApp] = {}
        if self._metrics_listener is not None and self._listening.metrics is not None:
            metrics.read(self._authority)
            port = int(self._metrics_listener.getsockname()[1])
            by_port[port] = metrics_app(metrics, self._listening.metrics[0])
        return replace(wiring, ended=metrics.server.let_go, by_port=by_port)
