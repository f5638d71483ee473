"""What `leasehold serve` needs of the extra `server`; imported only when it runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

import click
from starlette.types import ASGIApp

from leasehold.authority import Authority
from leasehold.cli.exits import code_of, words_of
from leasehold.cli.extra import otel_extra
from leasehold.console.pages import console_pages
from leasehold.errors import LeaseholdError
from leasehold.http.api import create_api
from leasehold.http.app import create_app
from leasehold.http.callers import Callers
from leasehold.http.events import Streams
from leasehold.http.exchanges import Observed, Observer
from leasehold.http.gates import SLACK_PATH
from leasehold.http.health import Health, Readiness
from leasehold.http.issuers import Issuers
from leasehold.http.local import LocalSocket
from leasehold.http.logs import LogFormat, RequestLog, logging_to
from leasehold.http.metrics import Metrics, metrics_app
from leasehold.http.oauth.callers import PolicyClients
from leasehold.http.server import Wiring, fitting_limits, listen, run_server
from leasehold.http.site import Site
from leasehold.store.observed import Together, Watcher
from leasehold.system import System

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Instruments", "Listening", "Serving", "is_loopback", "logged"]

_LOG = logging.getLogger("leasehold.serve")


def is_loopback(host: str) -> bool:
    """Whether nobody but programs of this machine connects to this address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def logged(log_format: str) -> Iterator[None]:
    """Have all that is said in the block written as one log, in JSON also why it ended: who reads it reads no words."""
    with logging_to(LogFormat(log_format), sys.stderr):
        try:
            yield
        except LeaseholdError as error:
            if log_format != LogFormat.JSON:
                raise
            _LOG.error("%s", words_of(error))
            raise click.exceptions.Exit(code_of(error)) from error


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a server listens: `metrics` is the address of the figures' own listener, `proxies` may pass requests on.

    `socket` is the path of a unix socket for programs under other accounts, and `socket_mode` who may connect to it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    public_url: str | None = None
    proxies: Sequence[str] = ()
    metrics: tuple[str, int] | None = None
    socket: Path | None = None
    socket_mode: int = 0o660


class Instruments:
    """What watches one server: its log, its figures where somebody reads them, its spans where somebody takes them."""

    def __init__(self, system: System, log_format: str, *, has_metrics: bool, has_traces: bool) -> None:
        """Make them.

        Raises:
            ConfigError: spans are asked for, and OpenTelemetry is not installed.
        """
        self.log_format = LogFormat(log_format)
        self.metrics = Metrics(system) if has_metrics else None
        self._spans: TracerProvider | None = None
        if has_traces:
            with otel_extra():
                from leasehold.http.traces import export_spans
            self._spans = export_spans()

    @property
    def watcher(self) -> Watcher | None:
        """Who is told what the store does; None where nobody wants to know."""
        watchers: list[Watcher] = [self.metrics.store] if self.metrics is not None else []
        if self._spans is not None:
            from leasehold.http.traces import StepSpans

            watchers.append(StepSpans(self._spans))
        return Together(*watchers) if watchers else None

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, watched. Each request has the id of its trace before its line is written."""
        observers: list[Observer] = [RequestLog(self.log_format, sys.stderr)]
        if self.metrics is not None:
            observers.append(self.metrics.server)
        app = Observed(app, observers)
        if self._spans is None:
            return app
        from leasehold.http.traces import Traced

        return Traced(app, self._spans)

    def close(self) -> None:
        """Send what spans there are left."""
        if self._spans is not None:
            self._spans.shutdown()


class Serving:
    """A server that is bound to its addresses and not running yet. `check_keys` raises where keys cannot be read;
    `provider_secret` tells the secret of our client at a provider."""

    def __init__(
        self,
        authority: Authority,
        listening: Listening,
        instruments: Instruments | None = None,
        check_keys: Callable[[], object] = lambda: None,
        provider_secret: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._authority = authority
        self._listening = listening
        self._instruments = instruments
        self._check_keys = check_keys
        self._provider_secret = provider_secret
        public = Site.public(listening.public_url) if listening.public_url is not None else None
        self._metrics_listener: socket | None = None
        self._local: LocalSocket | None = None
        with ExitStack() as held:
            self._listener = held.enter_context(listen(listening.host, listening.port))
            if listening.metrics is not None:
                self._metrics_listener = held.enter_context(listen(*listening.metrics, option="--metrics"))
            if listening.socket is not None:
                self._local = held.enter_context(closing(LocalSocket(listening.socket, listening.socket_mode)))
            self._held = held.pop_all()
        self.site = public or Site.loopback(int(self._listener.getsockname()[1]))

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where it is reached: `url`, `metrics` and `socket`, each empty where it does not listen."""
        return {
            "url": self.site.origin,
            "metrics": self._metrics_url,
            "socket": str(self._listening.socket or ""),
        }

    def say_what_matters(self) -> None:
        """Write into the log what whoever started it has to know before anybody comes."""
        metrics = self._listening.metrics
        if metrics is not None and not is_loopback(metrics[0]):
            _LOG.warning(
                "whoever reaches %s can read it; it names no tenants, people or ids",
                self._metrics_url,
                extra={"facts": {"metrics": self._metrics_url}},
            )
        authority = self._authority
        has_provider = bool(authority.engine.active_policy().sign_in)
        if not has_provider and not any(authority.sign_ins.of(row.person) for row in authority.desk.people()):
            _LOG.warning("nobody can sign in yet; run: leasehold person password PERSON")
        if authority.chat.is_open():
            url = f"{self.site.origin}{SLACK_PATH}"
            _LOG.info("interactivity address of the Slack app: %s", url, extra={"facts": {"url": url}})

    @property
    def _metrics_url(self) -> str:
        if self._metrics_listener is None:
            return ""
        host, port = self._metrics_listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def run(self) -> None:
        """Serve until a signal says to stop."""
        streams = Streams(self._authority, most_held=fitting_limits().connections // 2)
        engine = self._authority.engine
        callers = Callers(self._authority, Issuers(lambda: engine.active_policy().issuers, engine.system))
        app: ASGIApp = create_app(
            self._authority,
            console_pages(),
            site=self.site,
            streams=streams,
            providers=self._provider_secret,
            clients=PolicyClients(self._authority, callers),
            callers=callers,
        )
        readiness = Readiness(self._authority, keys=self._check_keys, is_stopping=lambda: streams.is_closing)
        alone = create_api(self._authority, streams=streams, callers=callers)
        with self._held:
            wiring = replace(self._wiring(streams), local=self._around(alone, readiness))
            _LOG.info("serving at %s", self.site.origin, extra={"facts": self.addresses})
            run_server(self._around(app, readiness), self._listeners(), wiring)
            _LOG.info("stopped")

    def _around(self, app: ASGIApp, readiness: Readiness) -> ASGIApp:
        return Health(self._instruments.around(app) if self._instruments is not None else app, readiness)

    def _listeners(self) -> Sequence[socket]:
        local = self._local.listener if self._local is not None else None
        return [each for each in (self._listener, self._metrics_listener, local) if each is not None]

    def _wiring(self, streams: Streams) -> Wiring:
        def stop() -> None:
            _LOG.info("stopping: what is under way is answered first")
            streams.close()

        wiring = Wiring(stopping=stop, proxies=self._listening.proxies, limits=fitting_limits())
        metrics = self._instruments.metrics if self._instruments is not None else None
        if metrics is None:
            return wiring
        by_port: dict[int, ASGIApp] = {}
        if self._metrics_listener is not None and self._listening.metrics is not None:
            metrics.read(self._authority)
            port = int(self._metrics_listener.getsockname()[1])
            by_port[port] = metrics_app(metrics, self._listening.metrics[0])
        return replace(wiring, ended=metrics.server.let_go, by_port=by_port)
