"""What tests of policies that wait for a second person share: two governors, and policies that widen and narrow."""

from __future__ import annotations

from stage import EVA, POLICY, Stage, changed, policy

__all__ = ["NARROWER", "NEW", "OLD", "TWO", "WIDER", "governed", "propose"]


def governed(text: str = POLICY) -> str:
    """The policy with Ben and Eva as those who have a say over it, two of whom it takes."""
    text = changed("[people]", '[policy]\naccept = "two"\n\n[people]', text)
    text = changed('"user:ben" = ["lead", "dba"]', '"user:ben" = ["lead", "dba", "governor"]', text)
    text = changed(
        '"user:eva" = ["lead", "dba", "operator"]', '"user:eva" = ["lead", "dba", "operator", "governor"]', text
    )
    return changed("[roles]", '[roles]\ngovernor = { can = ["policy"], tenants = ["*"] }', text)


TWO = governed()
WIDER = changed("calls = 20", "calls = 21", TWO)
NARROWER = changed("calls = 20", "calls = 19", TWO)
OLD, NEW = policy(TWO), policy(WIDER)


def propose(stage: Stage, person: str = EVA, text: str = WIDER, replaces: str = TWO) -> str:
    """Propose a policy at a terminal; answers the proposal's id."""
    return stage.authority.proposals.propose(policy(text), policy(replaces), stage.people.signatory(person))
