"""Signing in at a provider that somebody else wrote (oidc-provider, in JavaScript): what it demands, we send."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from re import DOTALL, findall, search
from urllib.parse import urljoin, urlsplit

import pytest
from house import House

from leasehold.model.proof import SignInMethod
from node import NO_NODE, PEERS, find_node
from served import Browser
from stage import POLICY

JOE = "user:joe"


@contextmanager
def peer(house: House, secret: str = "") -> Iterator[str]:
    """The provider, running beside a house, which may lead back to it; answers its address."""
    node = find_node()
    if node is None:
        pytest.skip(NO_NODE)
    back = f"http://127.0.0.1:{house.port}/sign-in/with/acme/back"
    now = str(house.stage.system.now().seconds)
    command = [node, str(PEERS / "provider.mjs"), back, now, *([secret] if secret else [])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.stdin.close()
            process.wait(20)


def prove(address: str, login: str) -> str:
    """Be the person in front of the provider: fill in its own forms until it leads back; answers where to."""
    here = urlsplit(address)
    person = Browser(here.port or 0)
    reply = person.get(f"{here.path}?{here.query}")
    for _ in range(12):
        if reply.status in (302, 303):
            to = urlsplit(urljoin(address, reply.location))
            path = f"{to.path}?{to.query}"
            if to.netloc != here.netloc:
                return path
            reply = person.get(path)
            continue
        form = search(r"<form[^>]*>.*?</form>", reply.text, DOTALL)
        assert form, reply.text
        fields = dict(findall(r'name="([^"]+)" value="([^"]*)"', form[0]))
        filled = {**fields, **({"login": login, "password": "x"} if 'name="login"' in form[0] else {})}
        action = search(r'action="([^"]+)"', form[0])
        assert action, form[0]
        reply = person.post(urlsplit(unescape(action[1])).path, filled)
    raise AssertionError(f"it leads nowhere: {reply}")


def begin(browser: Browser, again: str = "") -> str:
    token = browser.get(f"/sign-in?{'again=1' if again else ''}").token("/sign-in")
    page = browser.post("/sign-in/with/acme", {"token": token, "again": again})
    assert page.status == 200, page.text
    return unescape(page.text.split("url=")[1].split('"')[0])


@pytest.mark.parametrize("secret", ["", "a secret: of 32 characters, or more &%"])
def test_a_provider_of_somebody_else_signs_people_in_with_their_groups(house: House, secret: str) -> None:
    house.provider_secret = secret
    with peer(house, secret) as url:
        house.stage.accept(
            f'{POLICY}\n[sign_in.acme]\nissuer = "{url}"\nclient_id = "leasehold"\nperson = "name"\n'
            'scopes = ["profile", "groups"]\npeople = "groups"\ngroups = "groups"\n'
            f'roles = {{ of-joe = ["lead"] }}\nsecret = {str(bool(secret)).lower()}\nnetworks = ["127.0.0.0/8"]\n'
        )
        browser = house.browser()
        reply = browser.get(prove(begin(browser), "joe"))
        assert (reply.status, reply.location) == (303, "/"), reply.text
        assert "person: user:joe" in browser.get("/").text
        (known,) = house.stage.authority.sign_ins.of(JOE)
        assert (known.method, known.subject, known.groups) == (SignInMethod.OIDC, "sub-of-joe", ("of-joe",))
        assert house.stage.authority.sign_ins.roles_of(JOE) == ("lead",)
        reply = browser.get(prove(begin(browser, again="1"), "joe"))
        assert (reply.status, reply.location) == (303, "/"), reply.text
        stranger = house.browser()
        reply = stranger.get(prove(begin(stranger), "mallory"))
        assert (reply.status, "user:mallory is not known here" in reply.text) == (403, True)
