"""Signed bytes: keys, the lease as a JWT, the strict reader, keyed digests, a person's signed answer. Pure."""
