"""The OAuth doors behind a real server, with clients of the policy, and programs that talk to them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from house import House
from starlette.types import ASGIApp

from issuer import make_key, sign
from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.callers import Callers
from leasehold.http.events import Streams
from leasehold.http.issuers import Issuers
from leasehold.http.oauth.callers import PolicyClients
from leasehold.http.site import Site
from served import Browser, Reply
from stage import ANA, POLICY, Stage

BACK = "http://127.0.0.1:7777/back"
CI = "https://ci.example"
HERE = "https://lease.example"
CI_KEY = make_key("ES256")

CLIENTS = f"""
[issuers."{CI}"]
audience = "{HERE}"
keys = [{{ kty = "EC", crv = "P-256", kid = "one", x = "{CI_KEY.as_dict()["x"]}", y = "{CI_KEY.as_dict()["y"]}" }}]

[sign_in.company]
issuer = "{CI}"
client_id = "console"
person = "name"

[clients."launcher"]
runs = {{ agents = ["bot", "helper"], routes = ["desk"], tenants = ["acme"], environments = ["prod"] }}
identity = {{ issuer = "{CI}", claims = {{ sub = "launcher" }} }}
[clients."other"]
runs = {{ agents = ["bot"], routes = ["desk", "solo"], tenants = ["*"], environments = ["prod"] }}
[clients."anywhere"]
runs = {{ agents = ["bot"], routes = ["*"], tenants = ["acme"], environments = ["prod"] }}
[clients."desktop"]
runs = {{ agents = ["bot"], routes = ["desk"], tenants = ["acme"], environments = ["prod"] }}
redirects = ["{BACK}"]
[clients."web"]
runs = {{ agents = ["bot"], routes = ["desk"], tenants = ["acme"], environments = ["prod"] }}
redirects = ["{BACK}", "{BACK}?x=1"]
[clients."ticket-door"]
door = {{ tool = "ticket", environment = "prod" }}
[clients."mail-door"]
door = {{ tool = "mail", environment = "prod" }}
"""
WITH_KEYS = ("launcher", "other", "anywhere", "web", "ticket-door", "mail-door")


class OAuthHouse(House):
    """The house with doors for programs, each with an API key but the desktop's."""

    def __init__(self, text: str = POLICY + CLIENTS) -> None:
        super().__init__()
        self.stage.close()
        self.stage = Stage(text)
        self.streams = Streams(self.stage.authority)
        clients = self.stage.authority.clients
        known = [name for name in WITH_KEYS if name in self.stage.authority.engine.active_policy().clients]
        self.keys = {name: clients.add_key(name, ttl_seconds=86_400, by="op") for name in known}

    def secret(self, client: str) -> str:
        """The API key of a client."""
        return self.keys[client].text

    def workload(self, subject: str, **claims: object) -> str:
        """A token that the CI's issuer gives to a workload."""
        now = self.stage.system.now().seconds
        return sign(CI_KEY, {"iss": CI, "aud": HERE, "sub": subject, "iat": now, "exp": now + 300, **claims})

    def build(self, site: Site) -> ASGIApp:
        """The application, as `served` wants it."""
        authority = self.stage.authority
        issuers = Issuers(lambda: authority.engine.active_policy().issuers, authority.engine.system)
        return create_app(
            authority,
            console_pages(),
            site=site,
            streams=self.streams,
            passwords=self.passwords,
            clients=PolicyClients(authority, Callers(authority, issuers)),
        )

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, client: str, form: Mapping[str, str], **headers: str) -> Reply:
        """Send a form as a program does: with its secret, and without saying where it comes from."""
        usual = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": self.basic(client)}
        return Browser(self.port).send("POST", path, urlencode(form).encode(), {**usual, **headers})

    def basic(self, client: str) -> str:
        """A client's `Authorization`; empty for none."""
        return f"Basic {base64.b64encode(f'{client}:{self.secret(client)}'.encode()).decode()}" if client else ""

    def token(self, client: str = "launcher", grants: object = None, **form: str) -> Reply:
        """Ask for a token by client credentials."""
        asked = {"grant_type": "client_credentials", "authorization_details": details(grants), **form}
        return self.post("/oauth/token", client, asked)


RUN = {"type": "urn:leasehold:run:1", "agent": "bot", "purpose": "answer T-1", "requested_by": "user:ana"}
GET_ONE = {"ticket.get": {"ticket": ["T-1"]}}


def details(grants: object = None, **run: object) -> str:
    """The details of a request: for which run, and these grants by action."""
    wanted = GET_ONE if grants is None else grants
    listed = [
        {"type": "urn:leasehold:grant:1", "actions": [action], "constraints": constraints}
        for action, constraints in dict(wanted).items()
    ]
    return json.dumps([RUN | run, *listed])


def said(reply: Reply, status: int = 200) -> dict[str, object]:
    """The JSON of an answer with this status."""
    assert reply.status == status, reply.text
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    return json.loads(reply.text)


def shown(browser: Browser, asked: str) -> Reply:
    return browser.get(f"/oauth/authorize?{asked}")


def form_of(page: Reply, verdict: str = "allow") -> dict[str, str]:
    """What the consent page's form posts."""
    assert page.status == 200, page.text
    hidden = dict(re.findall(r'name="(asked|shown)" value="([^"]*)"', page.text))
    kept = {name: html.unescape(value) for name, value in hidden.items()}
    assert set(kept) == {"asked", "shown"}, page.text
    return {"token": page.token("/oauth/authorize"), "verdict": verdict, **kept}


def consent(browser: Browser, asked: str, verdict: str = "allow", **form: str) -> Reply:
    """Look at the page and say yes, unless something else is said."""
    return browser.post("/oauth/authorize", form_of(shown(browser, asked), verdict) | form)


def back(reply: Reply) -> dict[str, str]:
    """What the client gets of the browser that comes back to it."""
    found = re.search(r'url=([^"]*)"', reply.text)
    assert (reply.status, bool(found)) == (200, True), reply.text
    parts = urlsplit(html.unescape(found[1]))
    assert parts._replace(query="").geturl() == BACK
    return {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}


# Codes

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CLOSE = {"ticket.close": {"ticket": ["T-1"]}}


def query(grants: object = None, **changes: str) -> str:
    """What a client sends the browser with."""
    asked = {
        "response_type": "code",
        "client_id": "desktop",
        "redirect_uri": BACK,
        "state": "s 1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "authorization_details": details(grants, requested_by=""),
    }
    return urlencode({name: value for name, value in (asked | changes).items() if value})


def redeem(oauth: OAuthHouse, code: str, client: str = "desktop", /, **form: str) -> Reply:
    asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    return oauth.post("/oauth/token", "", {"client_id": client, **asked, **form})


def code_of(oauth: OAuthHouse, grants: object = None, **changes: str) -> str:
    return back(consent(oauth.signed_in(ANA), query(grants, **changes)))["code"]
