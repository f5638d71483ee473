"""Thin: builds steps from documents and policy, submits them, waits. Every rule it obeys stands in `decide`.

`leasehold.assemble` puts one together; agent hosts, guards and operators call it through Runs, Door and Desk.
"""

from leasehold.authority.door import EmbeddedDoor
from leasehold.authority.embedded import Authority

__all__ = ["Authority", "EmbeddedDoor"]
