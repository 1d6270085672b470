"""Results of Classify and Regress, to the JSON of the REST response.

[[(b"cat", 0.75)]] -> `{"results": [[["cat", 0.75]]]}`; [3.0, 3.5] -> `{"results": [3.0, 3.5]}`.
"""

from __future__ import annotations

import json

import numpy as np

from serving.inference import Classifications, Regressions
from serving.response_json import decimals


def write_classifications(results: Classifications) -> str:
    """The labels of each example with their scores."""
    rows = [", ".join(_classes(row)) for row in results]
    return f'{{"results": [{", ".join(f"[{row}]" for row in rows)}]}}'


def _classes(row: list[tuple[bytes, float]]) -> list[str]:
    scores = decimals([score for _, score in row], np.float32)
    labels = [json.dumps(label.decode("utf-8", "surrogateescape"), ensure_ascii=False) for label, _ in row]
    return [f"[{label}, {score}]" for label, score in zip(labels, scores, strict=True)]


def write_regressions(results: Regressions) -> str:
    """The value of each example."""
    return f'{{"results": [{", ".join(decimals(results, np.float32))}]}}'
