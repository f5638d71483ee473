"""Settings for all tests: Hypothesis without deadlines (machines are noisy; no test asserts a time)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("leasehold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("leasehold")
