"""What `leasehold serve` needs of the extra `server`; imported only when it runs."""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.authority import Authority
from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.events import Streams
from leasehold.http.gates import SLACK_PATH
from leasehold.http.server import Wiring, fitting_limits, listen, run_server
from leasehold.http.site import Site

__all__ = ["Serving"]


class Serving:
    """A server that is bound to its address and not running yet."""

    def __init__(
        self, authority: Authority, host: str, port: int, public_url: str | None, proxies: Sequence[str] = ()
    ) -> None:
        self._authority = authority
        self._proxies = proxies
        public = Site.public(public_url) if public_url is not None else None
        self._listener = listen(host, port)
        self.site = public or Site.loopback(int(self._listener.getsockname()[1]))
        self.chat_url = f"{self.site.origin}{SLACK_PATH}"

    def run(self) -> None:
        """Serve until a signal says to stop."""
        streams = Streams(self._authority)
        app = create_app(self._authority, console_pages(), site=self.site, streams=streams)
        wiring = Wiring(stopping=streams.close, proxies=self._proxies, limits=fitting_limits())
        with self._listener:
            run_server(app, [self._listener], wiring)
