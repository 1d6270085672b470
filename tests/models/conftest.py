"""Settings of the tests of models."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The same first weights in every run of a test: a tolerance that holds once holds again."""
    keras.utils.set_random_seed(1)
