"""The one way in: a lane per log, the databases behind it, and the read side. Opened by `leasehold.assemble`."""
