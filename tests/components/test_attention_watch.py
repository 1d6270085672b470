"""Fixed validation rows through the epochs: numbers at each, and alignments that outlive a kill."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from components import alignment, attention_watch, tokenizer
from components.attention_watch import AttentionWatch
from models.audio import Audio
from models.contract import Decoded
from models.listener import Config as ListenerConfig
from models.zoo import las
from tests.components import toy

SOURCE = np.array([[4, 5, 6, 7, 3], [5, 4, 3, 0, 0]], np.int32)
TARGET = np.array([[6, 5, 4, 3], [4, 3, 0, 0]], np.int32)
BATCH = {"source_ids": SOURCE, "decoder_ids": np.array([[2, 6, 5, 4], [2, 4, 0, 0]], np.int32), "target_ids": TARGET}
PIECES = tokenizer.train({"AE": 7, "B": 6, "K": 5, "T": 3, "S": 2}, tokenizer.Pieces(kind="word"))


class Blind(toy.Toy):
    """A model without attention."""

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        return super().call(inputs, training)._replace(attention=tf.zeros([2, 4, 5]))


def test_each_epoch_adds_numbers_and_alignments(tmp_path: pathlib.Path) -> None:
    logged: list[tuple[int, Mapping[str, float]]] = []
    path = tmp_path / "attention.jsonl"

    def watch() -> AttentionWatch:
        return AttentionWatch(
            [BATCH], tokenizer.Tokenizers(PIECES, PIECES), path, lambda step, metrics: logged.append((step, metrics))
        )

    model = toy.build()
    watch()(model, 1, 10)
    again = watch()  # after a kill
    again(model, 2, 20)
    again(model, 2, 21)  # an epoch that ended before its checkpoint was written
    assert [step for step, _ in logged] == [10, 20, 21]
    assert logged[0][1]["attention_evenness"] > 0.99  # the toy looks everywhere alike
    epochs = attention_watch.read(path)
    assert [(epoch.epoch, epoch.step) for epoch in epochs] == [(1, 10), (2, 21)]
    assert epochs[0].metrics == logged[0][1]
    first, second = epochs[0].rows
    assert first["source_pieces"] == ["▁AE", "▁B", "▁K", "▁T", "</s>"]
    assert second["target_pieces"] == ["▁AE", "</s>"]
    np.testing.assert_allclose(second["attention"], np.full((2, 3), 1 / 3), atol=1e-3)

    picture = tmp_path / "panels.png"
    panels = {f"epoch {epoch.epoch}": np.array(epoch.rows[0]["attention"]) for epoch in epochs}
    alignment.png_panels(first["source_pieces"], first["target_pieces"], panels, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_of_a_model_without_attention_there_is_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "attention.jsonl"
    model = Blind()
    AttentionWatch([BATCH], tokenizer.Tokenizers(PIECES, PIECES), path, lambda *_: None)(model, 1, 10)
    assert attention_watch.read(path) == [] and not path.exists()


def test_positions_of_a_recording_are_named_by_their_seconds(tmp_path: pathlib.Path) -> None:
    audio = Audio(kind="features", depth=5, hop_ms=20)
    shape = las.Config(listener=ListenerConfig(units=6, layers=2, reduce_after=(1, 2)), units=7, embedding=5)
    frames = np.zeros((2, 47, 6), np.float32)
    lengths = (47, 21)
    for row, length in zip(frames, lengths, strict=True):
        row[:length] = np.random.default_rng(length).normal(size=(length, 6))
        row[:length, -1] = 1
    batch = {**BATCH, "frames": frames}
    del batch["source_ids"]
    path = tmp_path / "attention.jsonl"
    model = las.build(shape, audio, 9)
    logged: list[Mapping[str, float]] = []
    watch = AttentionWatch(
        [batch], tokenizer.Tokenizers(b"", PIECES), path, lambda _, metrics: logged.append(metrics), audio
    )
    watch(model, 1, 10)
    (epoch,) = attention_watch.read(path)
    assert epoch.metrics == logged[0]
    for row, length, pieces in zip(epoch.rows, lengths, (4, 2), strict=True):
        positions = -(-length // 4)
        assert row["source_pieces"] == [f"{0.08 * number:.2f}" for number in range(positions)]
        assert np.array(row["attention"]).shape == (pieces, positions) and len(row["target_pieces"]) == pieces
        np.testing.assert_allclose(np.sum(row["attention"], axis=1), 1, atol=0.01)
