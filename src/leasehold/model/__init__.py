"""Values and the protocols Runs, Door, Desk: frozen, typed, no I/O, no clock. Every other layer speaks in them."""
