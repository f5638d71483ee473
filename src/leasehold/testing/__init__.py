"""Fixtures and clocks for programs that use Leasehold: imported by tests only."""
