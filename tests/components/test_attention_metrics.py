"""Attention metrics over rows, from what the signature `score` says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from components import attention_metrics


class Diagonal:
    """A model of characters that looks at the n-th character when it says the n-th; END looks at END."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.asked: list[int] = []

    def predict(self, signature: str, inputs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        assert signature == "score"
        self.asked.append(len(inputs["text"]))
        sides = [[[*text, "</s>"] for text in inputs[name]] for name in ("text", "target")]
        source, target = ([row + [""] * (7 - len(row)) for row in side] for side in sides)
        attention = np.broadcast_to(np.eye(7) * self.weight, (len(source), 7, 7))
        return {"source_pieces": source, "target_pieces": target, "attention": attention}


def row(source: str, target: str, alignment: str | None = None) -> dict[str, Any]:
    return {"source": source, "references": [target, "other"]} | ({} if alignment is None else {"alignment": alignment})


def test_rows_with_gold_alignments_add_up() -> None:
    rows = [row("abc", "CBA", "0-2 1-1 2-0"), row("ab", "AB", "0-0 1-1"), row("ab", "AB"), row("a", "A", "")]
    measured = attention_metrics.measure(Diagonal(), rows)
    assert measured.metrics == pytest.approx(
        {
            "alignment_accuracy": 3 / 5,  # one of three, and both of two: rows without gold do not count
            "alignment_error_rate": pytest.approx(1 - 6 / 10),
            "attention_entropy": 0,
            "attention_coverage": 1,
            "attention_coverage_gap": 0,
            "attention_diagonality": 1,
            "attention_evenness": 0,  # of the one row that is long enough
            "attention_peak": 1 / 4,
        }
    )
    assert measured.left_out == 0 and measured.sentences() == ()


def test_without_gold_a_sample_of_the_rows_says_how_attention_is_spread() -> None:
    model = Diagonal()
    measured = attention_metrics.measure(model, [row("abcd", "AB")] * 1009)
    assert sum(model.asked) == 1000 and max(model.asked) == 64
    assert measured.metrics == pytest.approx(
        {
            "attention_entropy": 0,
            "attention_coverage": 3 / 4,
            "attention_coverage_gap": 1 / 4,
            "attention_diagonality": 1,
        }
    )


def test_a_model_without_attention_has_no_such_metrics() -> None:
    for rows in ([row("ab", "AB", "0-0")], []):
        assert attention_metrics.measure(Diagonal(weight=0.0), rows) == attention_metrics.Measured({}, 0)


@pytest.mark.parametrize("bad", [row("a\u00a0 b", "AB", "0-0"), row("ab", "AB", "0-0 2-1"), row("ab", "AB", "0-2")])
def test_gold_that_does_not_fit_the_pieces_is_left_out_and_said_so(bad: dict[str, Any]) -> None:
    class Merging(Diagonal):
        """Unknown characters in a row are one piece."""

        def predict(self, signature: str, inputs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
            return super().predict(
                signature, dict(inputs) | {"text": [t.replace("\u00a0 ", "?") for t in inputs["text"]]}
            )

    measured = attention_metrics.measure(Merging(), [row("abc", "ABC", "0-0 1-1"), bad])
    assert measured.metrics["alignment_accuracy"] == 1 and measured.metrics["alignment_error_rate"] == pytest.approx(
        1 / 5
    )
    (sentence,) = measured.sentences()
    assert sentence == "gold alignments left out: 1, for the pieces do not spell the tokens that they name"


def test_gold_that_is_no_alignment_is_named() -> None:
    with pytest.raises(ValueError, match=r"alignment: 'x', expected SOURCE-TARGET"):
        attention_metrics.measure(Diagonal(), [row("ab", "AB", "0-0 x")])


def test_a_recording_has_no_tokens() -> None:
    class Listening(Diagonal):
        """Its positions are seconds."""

        def predict(self, signature: str, inputs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
            assert set(inputs) == {"audio", "target"} and all(inputs["audio"])
            found = super().predict(signature, {"text": ["abcdef"] * len(inputs["audio"]), "target": inputs["target"]})
            return found | {"source_pieces": [[f"{0.04 * n:.2f}" for n in range(7)]] * len(inputs["audio"])}

    rows = [row(f"{number}.wav", "ABCD") | {"audio": b"RIFF"} for number in range(11)]
    measured = attention_metrics.measure(Listening(), rows)
    assert measured.left_out == 0
    assert {"attention_entropy", "attention_diagonality", "attention_coverage"} <= set(measured.metrics)
    assert not any(name.startswith("alignment") for name in measured.metrics)
