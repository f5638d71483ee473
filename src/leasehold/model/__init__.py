"""Values and the protocol Door: frozen, typed, no I/O, no clock. Every other layer speaks in them."""
