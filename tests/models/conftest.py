"""Settings of the tests of models."""

import random

import pytest


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The same first weights in every run of a test: a tolerance that holds once holds again.

    Keras draws from here what its initial weights are drawn by. A seed of TensorFlow's own would make it prepare every
    graph anew, which costs a second a test.
    """
    random.seed(1)
