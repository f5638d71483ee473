"""The channels by kind, each loaded when it is first used. Handed to the outbox by `leasehold.assemble`."""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.model.notice import ChannelKind
from leasehold.notices.channel import Channel, DeliveryError, Secrets, Whispering

__all__ = ["Channels", "NoSecrets"]


class NoSecrets:
    """The secrets of an authority in memory: there are none."""

    def read(self, channel: str) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's signature
        """Nothing. See `Secrets.read`."""
        return {}


class Channels:
    """The channels of one authority. Owned by its outbox."""

    def __init__(self, secrets: Secrets, made: Mapping[ChannelKind, Channel] | None = None) -> None:
        self._secrets = secrets
        self._made = dict(made or {})

    def of(self, kind: ChannelKind) -> Channel:
        """The channel of a kind.

        Raises:
            DeliveryError: what it needs is not installed.
        """
        if kind not in self._made:
            try:
                self._made[kind] = self._make(kind)
            except ImportError:
                raise DeliveryError("channels need more than the core; install leasehold[notices]") from None
        return self._made[kind]

    def whispering(self, kind: ChannelKind) -> Whispering:
        """The channel of a kind by which one user alone can be told something.

        Raises:
            DeliveryError: what it needs is not installed, or there is no such way.
        """
        channel = self.of(kind)
        if not isinstance(channel, Whispering):
            raise DeliveryError(f"nobody can be told something alone over {kind}", may_repeat=False)
        return channel

    def secret(self, channel: str, name: str) -> str:
        """One secret of a channel; empty if it has none.

        Raises:
            ConfigError: they are there and cannot be used.
        """
        return self._secrets.read(channel).get(name, "")

    def _make(self, kind: ChannelKind) -> Channel:
        match kind:
            case ChannelKind.WEBHOOK:
                from leasehold.notices.webhook import WebhookChannel

                return WebhookChannel(self._secrets)
            case ChannelKind.SLACK:
                from leasehold.notices.slack import SlackChannel

                return SlackChannel(self._secrets)
            case ChannelKind.EMAIL:
                from leasehold.notices.mail import MailChannel

                return MailChannel(self._secrets)
