"""Capability leases for AI agents."""
