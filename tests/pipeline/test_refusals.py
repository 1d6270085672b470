"""A row that is refused takes no other with it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline import refusals
from serving.errors import ServingError, Status


def shout(words: Sequence[str]) -> list[str]:
    if any(len(word) > 3 for word in words):
        raise ServingError(Status.INVALID_ARGUMENT, "too long\n\t [[node Assert]]")
    return [word.upper() for word in words]


def test_the_others_are_answered() -> None:
    words = ["a", "much too long", "bc", "def", "longer"]
    found = refusals.answers(shout, words)
    assert [found[0], *found[2:4]] == ["A", "BC", "DEF"]
    assert [refusals.reason(found[place]) for place in (1, 4)] == ["too long", "too long"]
    assert refusals.answers(shout, []) == []


def test_what_a_graph_asserts_is_the_reason() -> None:
    said = "Graph execution error:\n\nassertion failed: [too long, a row has] [5000] [bytes]\n\t [[{{node Assert}}]]"
    assert refusals.reason(ServingError(Status.INVALID_ARGUMENT, said)) == "too long, a row has 5000 bytes"


def test_what_is_no_matter_of_a_row_is_raised() -> None:
    def away(words: Sequence[str]) -> list[str]:
        raise ServingError(Status.UNAVAILABLE, "nobody there")

    with pytest.raises(ServingError, match="nobody there"):
        refusals.answers(away, ["a", "b"])
