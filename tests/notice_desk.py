"""A stage whose policy names channels, with the secrets in hand and the outbox driven by the test."""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.authority import Authority
from leasehold.decide.rows import DeliveryRow
from leasehold.model.notice import ChannelKind
from leasehold.notices.channel import Channel
from leasehold.notices.channels import Channels
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import memory_authority
from stage import POLICY, Stage

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONSOLE = "https://desk.example.com"


class Given:
    """Secrets that the test gives."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]]) -> None:
        self.secrets = {name: dict(named) for name, named in secrets.items()}

    def read(self, channel: str) -> Mapping[str, str]:
        return self.secrets.get(channel, {})


def webhook_rule(url: str, name: str = "hook", events: str = "", tenants: str = '["*"]', more: str = "") -> str:
    """A channel of the policy, to a receiver on this machine."""
    listed = events or '["request.waiting", "request.decided", "request.closed", "stop.set", "stop.lifted"]'
    return f"""
[notices.{name}]
kind = "webhook"
url = "{url}"
events = {listed}
tenants = {tenants}
networks = ["127.0.0.0/8"]
{more}
"""


class NoticeStage(Stage):
    """A stage that tells people."""

    def __init__(
        self,
        notices: str,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        made: Mapping[ChannelKind, Channel] | None = None,
        *,
        text: str = POLICY,
    ) -> None:
        system = FrozenSystem()
        self.given = Given(secrets or {"hook": {"keys": WHSEC}})
        opened = memory_authority(text + notices, system=system)
        authority = Authority(opened.engine, Channels(self.given, made))
        super().__init__(authority=authority, system=system)

    def tell(self) -> int:
        """Let the outbox read and deliver what is due; answers how many notices were tried."""
        return self.authority.outbox.run_once()

    def deliveries(self, tenant: str = "acme") -> tuple[DeliveryRow, ...]:
        """Notices, the oldest first."""
        return tuple(reversed(self.authority.engine.store.queries.deliveries([tenant])))

    def states(self, tenant: str = "acme") -> list[tuple[str, str]]:
        """Event and state of each notice, the oldest first."""
        return [(row.event, row.state) for row in self.deliveries(tenant)]

    def ask_close(self, ticket: str = "T-1") -> str:
        """A call that waits for a lead."""
        from stage import CLOSE

        return self.ask(self.lease(CLOSE), "ticket.close", ticket, key="k")
