"""Settings of every test."""

from hypothesis import HealthCheck, settings

from pipeline.startup import prepare

prepare()
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
