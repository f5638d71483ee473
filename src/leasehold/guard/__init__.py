"""What stands at a tool: binds arguments, asks to be admitted, runs, settles. It judges nothing itself.

Called by tool authors (`Guard`, `Capability`), by agent loops and adapters (`Toolbox`). It speaks to the authority only
through `leasehold.model.protocols.Door`.
"""

from leasehold.guard.capability import Capability
from leasehold.guard.guard import Guard
from leasehold.guard.toolbox import Toolbox

__all__ = ["Capability", "Guard", "Toolbox"]
