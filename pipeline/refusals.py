"""Batches of which a model refuses some rows: the others are answered all the same.

answers(ask, ["keep", "a text that is too long", "tea"]) -> ["K IY P", ServingError(INVALID_ARGUMENT, ...), "T IY"]
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Sequence

from serving.errors import ServingError, Status

Question = typing.TypeVar("Question")
Answer = typing.TypeVar("Answer")


def answers(
    ask: Callable[[Sequence[Question]], Sequence[Answer]], batch: Sequence[Question]
) -> list[Answer | ServingError]:
    """What is answered to each, or why it is not: a batch that is refused is asked in halves, down to single rows.

    Raises:
        ServingError: any other than INVALID_ARGUMENT, which is no matter of single rows.
    """
    try:
        return list(ask(batch))
    except ServingError as error:
        if error.status is not Status.INVALID_ARGUMENT:
            raise
        if len(batch) == 1:
            return [error]
        half = len(batch) // 2
        return answers(ask, batch[:half]) + answers(ask, batch[half:])


def reason(error: ServingError) -> str:
    """Why a row was refused, without what TensorFlow says of the place in the graph.

    "Graph execution error: ... assertion failed: [text is too long, a row has] [5000] ..." -> "text is too long, a row
    has 5000"
    """
    asserted = re.search(r"assertion failed: (.+)", error.message)
    return " ".join(re.findall(r"\[([^][]+)\]", asserted[1])) if asserted else error.message.partition("\n")[0]
