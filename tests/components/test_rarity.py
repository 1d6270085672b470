"""Slices by the rarest piece of a source."""

from __future__ import annotations

import pytest

from components import rarity, tokenizer


def test_counts_are_told_to_a_power_of_ten() -> None:
    assert [rarity.bucket(count) for count in (0, 1, 9, 10, 99, 1234)] == [
        "0", "1-9", "1-9", "10-99", "10-99", "1000-9999",
    ]  # fmt: skip


def test_a_row_is_as_rare_as_its_rarest_piece() -> None:
    model = tokenizer.train({"tea": 7, "quiz": 1}, tokenizer.Pieces("char", 97))
    count = rarity.rarest(model, {"t": 700, "e": 900, "a": 700, "q": 4, "<unk>": 3})
    assert count("tea") == 700 and count("teq") == 4
    assert count("tez") == 0  # a piece that the train rows do not have
    assert count("té") == 0  # no piece at all, however often that was so in training
    rows = [
        {"source": source, "references": ["T"], "prediction": prediction}
        for source, prediction in (("tea", "T"), ("tee", "X"), ("teq", "X"))
    ]
    assert rarity.slices(rows, count, ["sequence_error_rate"], "word") == {
        "rarest_piece:100-999": {"rows": 2, "sequence_error_rate": pytest.approx(0.5)},
        "rarest_piece:1-9": {"rows": 1, "sequence_error_rate": 1.0},
    }
