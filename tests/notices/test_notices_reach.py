"""Where notices may go: public addresses, and the private ones that the policy lists (threat case 33)."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network

import pytest

from leasehold.errors import InvalidError
from leasehold.model.address import Endpoint, check_mail_address, parse_endpoint
from leasehold.notices.channel import DeliveryError
from leasehold.notices.reach import allowed_address, is_reachable, resolve_name

pytestmark = pytest.mark.case(33)

INWARD = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "::ffff:1.1.1.1", "64:ff9b::101:101", "2606:4700:4700::1111"]


@pytest.mark.parametrize("address", INWARD)
def test_an_address_that_leads_inward_is_refused_unless_its_network_is_listed(address: str) -> None:
    assert not is_reachable(ip_address(address), [])
    assert not is_reachable(ip_address(address), [ip_network("203.0.113.0/24"), ip_network("2001:4860::/32")])
    assert is_reachable(ip_address(address), [ip_network(address)])


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached_also_through_nat64(address: str) -> None:
    assert is_reachable(ip_address(address), [])


def test_a_mapped_address_is_judged_by_the_one_inside() -> None:
    assert is_reachable(ip_address("::ffff:10.0.0.1"), [ip_network("10.0.0.0/8")])


def ask(url: str, answers: list[str], networks: tuple[str, ...] = ()) -> str:
    async def resolve(host: str, port: int) -> list[str]:
        return answers

    return asyncio.run(allowed_address(parse_endpoint(url, ("https", "http")), networks, resolve))


def test_every_address_of_a_name_has_to_be_allowed() -> None:
    assert ask("https://a.example", ["1.1.1.1", "2606:4700:4700::1111"]) == "1.1.1.1"
    with pytest.raises(DeliveryError, match="not public") as refused:
        ask("https://a.example", ["1.1.1.1", "127.0.0.1"])
    assert not refused.value.may_repeat
    assert ask("https://a.example", ["10.2.0.9"], ("10.2.0.0/16",)) == "10.2.0.9"


@pytest.mark.parametrize("answers", [[], ["fe80::1%eth0"], ["nonsense"]])
def test_a_name_without_a_usable_address_is_no_receiver(answers: list[str]) -> None:
    with pytest.raises(DeliveryError):
        ask("https://a.example", answers)


def test_http_is_for_this_machine_alone() -> None:
    assert ask("http://localhost", ["127.0.0.1"], ("127.0.0.0/8",)) == "127.0.0.1"
    with pytest.raises(DeliveryError, match="use https"):
        ask("http://a.example", ["10.2.0.9"], ("10.2.0.0/16",))
    with pytest.raises(DeliveryError, match="use https"):
        ask("http://a.example", ["1.1.1.1"])


def test_the_systems_resolver_is_asked() -> None:
    assert set(asyncio.run(resolve_name("localhost", 80))) <= {"127.0.0.1", "::1"}
    with pytest.raises(DeliveryError, match="cannot be resolved"):
        asyncio.run(resolve_name("no-such-host.invalid", 80))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://hooks.example.com/x?y=1&z=%2f", "https://hooks.example.com/x?y=1&z=%2f"),
        ("https://hooks.example.com:443", "https://hooks.example.com"),
        ("https://10.2.3.4:8443/x", "https://10.2.3.4:8443/x"),
        ("https://[2606:4700::1]/x", "https://[2606:4700::1]/x"),
        ("http://localhost:8080/", "http://localhost:8080/"),
    ],
)
def test_a_plain_address_is_taken_as_it_is(text: str, shown: str) -> None:
    assert str(parse_endpoint(text, ("https", "http"))) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.example.com/x",
        "//hooks.example.com/x",
        "ftp://hooks.example.com/x",
        "HTTPS://hooks.example.com/x",
        "https://user@hooks.example.com/x",
        "https://user:pass@hooks.example.com/x",
        "https://hooks.example.com@evil.example/x",
        "https://hooks.example.com\\@evil.example/x",
        "https:\\\\hooks.example.com/x",
        "https://hooks.example.com/x#y",
        "https://hooks.example.com/x y",
        "https://hooks.example.com/x\t",
        "https://hooks.example.com/\nx",
        " https://hooks.example.com/",
        "https://hooks.example.com:0/x",
        "https://hooks.example.com:99999/x",
        "https://hooks.example.com:/x",
        "https://hooks..example.com/x",
        "https://.example.com/x",
        "https://example.com./x",
        "https://Hooks.example.com/x",
        "https://h\u00f6oks.example.com/x",
        "https://hooks.example.com?x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0x7f.1/x",
        "https://0177.0.0.1/x",
        "https://127.1/x",
        "https://127.0.0.01/x",
        "https://127.0.0.1.1/x",
        "https://[::1%25eth0]/x",
        "https://[0:0:0:0:0:0:0:1]/x",
        "https://[fe80::1%eth0]/x",
        "https://[1::2::3]/x",
        "https://" + "a" * 64 + ".example/x",
        "https://example.com/" + "a" * 2000,
    ],
)
def test_every_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="no address"):
        parse_endpoint(text, ("https", "http"))


def test_an_endpoint_knows_its_host_header() -> None:
    assert Endpoint(scheme="https", host="::1", port=8443, target="/").authority == "[::1]:8443"


@pytest.mark.parametrize("text", ["ops@example.com", "first.last+tag@mail.example.com"])
def test_a_plain_mail_address_is_taken(text: str) -> None:
    assert check_mail_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ops",
        "@example.com",
        "ops@",
        "ops@@example.com",
        "Ops <ops@example.com>",
        '"a b"@example.com',
        "ops@exam ple.com",
        "ops@example.com\nBcc: x@y.z",
        "ops@example.com,x@y.z",
        "a..b@example.com",
        ".a@example.com",
        "ops@[127.0.0.1]",
        "ops@EXAMPLE.com",
        "a" * 65 + "@example.com",
        "a@" + "b." * 126 + "com",
        "\u00f6ps@example.com",
    ],
)
def test_every_other_mail_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="no address"):
        check_mail_address(text)
