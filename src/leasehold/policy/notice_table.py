"""One entry of `[notices]` to one `NoticeRule`: where people are told of what. Called by `load`.

Channels stand in the policy because it has to be accepted: whoever can edit files cannot redirect them (threat case
81). Their secrets never do: they are private files of the state directory.
"""

from __future__ import annotations

from typing import assert_never

from leasehold.model.address import check_mail_address, parse_endpoint
from leasehold.model.notice import ChannelKind, NoticeEvent
from leasehold.model.proof import check_speaker
from leasehold.policy.address_keys import read_endpoint, read_networks
from leasehold.policy.document import NoticeRule
from leasehold.policy.reader import Table, show_path, suggest
from leasehold.policy.route_table import read_audience

__all__ = ["SLACK_API", "read_notice_rule"]

SLACK_API = "https://slack.com/api/"

_COMMON = ("kind", "events", "tenants", "networks", "console")
_OF_KIND = {
    ChannelKind.WEBHOOK: ("url",),
    ChannelKind.SLACK: ("url", "channel", "reviewers"),
    ChannelKind.EMAIL: ("url", "to", "from", "user"),
}
_SCHEMES = {
    ChannelKind.WEBHOOK: ("https", "http"),
    ChannelKind.SLACK: ("https", "http"),
    ChannelKind.EMAIL: ("smtps", "smtp"),
}


def read_notice_rule(name: str, table: Table) -> NoticeRule:
    """Return one channel.

    Raises:
        ConfigError: at the key at fault.
    """
    table.checked_name((), name)
    if "/" in name:
        raise table.fault(f"{show_path(table.keys)}: the name of a channel names a file, so it holds no '/'")
    table.need("kind", "events", "tenants")
    kind = table.choice("kind", ChannelKind)
    table.close((*_COMMON, *_OF_KIND[kind]))
    return NoticeRule(
        name=name,
        kind=kind,
        url=_url(table, kind),
        to=_recipients(table, kind),
        sender=_mail_address(table) if kind is ChannelKind.EMAIL else "",
        user=table.text("user"),
        events=_events(table),
        tenants=read_audience(table, "tenants"),
        networks=read_networks(table),
        console=_console(table),
        reviewers=_reviewers(table),
    )


def _url(table: Table, kind: ChannelKind) -> str:
    if kind is ChannelKind.SLACK and "url" not in table.value:
        return SLACK_API
    table.need("url")
    return read_endpoint(table, "url", _SCHEMES[kind])


def _recipients(table: Table, kind: ChannelKind) -> tuple[str, ...]:
    match kind:
        case ChannelKind.WEBHOOK:
            return ()
        case ChannelKind.SLACK:
            table.need("channel")
            return (table.name("channel"),)
        case ChannelKind.EMAIL:
            table.need("to", "from")
            recipients = table.names("to", check_mail_address)
            if not recipients:
                raise table.fault(f"{show_path((*table.keys, 'to'))} names nobody", "to")
            return recipients
        case _:
            assert_never(kind)


def _mail_address(table: Table) -> str:
    return table.checked(("from",), check_mail_address, table.text("from"))


def _events(table: Table) -> tuple[NoticeEvent, ...]:
    words = table.names("events")
    for word in words:
        if word not in list(NoticeEvent):
            where = show_path((*table.keys, "events"))
            raise table.fault(f'{where}: unknown event "{word}"{suggest(word, NoticeEvent)}', "events")
    if not words:
        raise table.fault(f"{show_path((*table.keys, 'events'))} names nothing", "events")
    return tuple(map(NoticeEvent, words))


def _reviewers(table: Table) -> dict[str, str]:
    """Who may answer in the chat, by their ids there: an explicit table, because names and addresses can be changed."""
    if "reviewers" not in table.value:
        return {}
    people = table.table("reviewers")
    if not people.value:
        raise table.fault(f"{show_path(people.keys)} names nobody; leave it out, and nobody answers there", "reviewers")
    for speaker in people.value:
        people.checked((speaker,), check_speaker, speaker)
    return {speaker: people.name(speaker) for speaker in sorted(people.value)}


def _console(table: Table) -> str:
    """The base of links to the console: as people's browsers reach it, so http to this machine is all right."""
    if "console" not in table.value:
        return ""
    value = table.value["console"]
    if not isinstance(value, str) or "?" in value:
        raise table.fault(f"{show_path((*table.keys, 'console'))} must be an address without a query", "console")
    return str(table.checked(("console",), lambda text: str(parse_endpoint(text, ("https", "http"))), value)).rstrip(
        "/"
    )
