"""Settings of every test."""

import ctypes
import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from pipeline.startup import prepare

prepare()
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # a program runs once here: a third less time
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """What a file's tests allocated goes back to the system: left alone, glibc keeps gigabytes of it."""
    yield
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
