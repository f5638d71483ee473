"""An authority with a provider beside it at which people sign in, and the steps of somebody who does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from issuer import make_key, serving
from leasehold.http.site import Site
from leasehold.ledger.history import check_history
from provider import Provider
from served import Browser, Reply, served
from stage import POLICY, Stage


def table(provider: Provider, more: str = "") -> str:
    return (
        f'\n[sign_in.acme]\nissuer = "{provider.url}"\nclient_id = "leasehold"\nperson = "name"\n'
        f'networks = ["127.0.0.0/8"]\n{more}\n'
    )


GROUPS = 'people = "groups"\ngroups = "groups"\nroles = { leads = ["lead"], ops = ["operator", "lead"] }\n'


class AnyHouse(Protocol):
    """An authority behind a server, with a clock that stands still."""

    stage: Stage
    port: int

    def build(self, site: Site) -> ASGIApp: ...

    def browser(self) -> Browser: ...

    def close_streams(self) -> None: ...


H = TypeVar("H", bound=AnyHouse)


class Town(Generic[H]):
    """A house with a provider beside it, which knows nobody but who is in front of it."""

    def __init__(self, house: H, provider: Provider) -> None:
        self.house = house
        self.provider = provider
        self.sign_ins = house.stage.authority.sign_ins

    def begin(self, browser: Browser, to: str = "/", again: str = "") -> str:
        """Press the button; answers where the browser is led."""
        token = browser.get(f"/sign-in?next={to}{'&again=1' if again else ''}").token("/sign-in")
        reply = browser.post("/sign-in/with/acme", {"token": token, "next": to, "again": again})
        assert reply.status == 200, reply.text
        return reply.text.split("url=")[1].split('"')[0].replace("&amp;", "&")

    def back(self, address: str) -> str:
        """What the provider leads back to, as a path here."""
        parts = urlsplit(self.provider.authorize(address))
        assert parts.path == "/sign-in/with/acme/back"
        return f"{parts.path}?{parts.query}"

    def come(self, browser: Browser, to: str = "/", again: str = "") -> Reply:
        return browser.get(self.back(self.begin(browser, to, again)))

    def signed_in(self, name: str, *groups: str, sub: str = "") -> Browser:
        """A browser of somebody whom the provider has just proven."""
        self.provider.claims = {"name": name, "sub": sub or f"sub-of-{name}", "groups": list(groups)}
        browser = self.house.browser()
        reply = self.come(browser)
        assert (reply.status, reply.location) == (303, "/"), reply.text
        return browser

    def refused(self, browser: Browser | None = None) -> str:
        """What somebody reads who is not signed in."""
        browser = browser or self.house.browser()
        reply = self.come(browser)
        assert reply.status == 403, reply.text
        assert browser.get("/").status == 303
        return reply.text


@contextmanager
def town(make: Callable[[str], H], more: str = GROUPS, secret: str = "") -> Iterator[Town[H]]:
    """A town whose house is made with a policy that names the provider. Its ledger has to be whole afterwards."""
    with serving(Provider(keys=[make_key("RS256")], secret=secret)) as provider:
        house = make(POLICY + table(provider, more))
        provider.now = lambda: house.stage.system.now().seconds
        provider.claims = {"name": "ben", "sub": "sub-of-ben"}
        with served(house.build) as port:
            house.port = port
            yield Town(house, provider)
            house.close_streams()
        assert check_history(house.stage.entries()) == []
        house.stage.close()
