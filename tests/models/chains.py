"""Markov chains in place of a model, so small that every answer can be written down."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.beam import beam_search
from models.contract import END, PAD, START, Length, Step
from models.decoding import Hypotheses

VOCABULARY, SOURCE = 7, 3
PIECES = (4, 5, 6)


class Chain(NamedTuple):
    """A second-order Markov chain a row: what follows depends on the piece and on the one before it (the state)."""

    logits: np.ndarray  # float32 [batch, before, last, vocabulary]
    looks: np.ndarray  # float32 [batch, last, source], where the chain looks after a piece

    @property
    def memory(self) -> tf.Tensor:
        """The numbers of the rows."""
        return tf.range(len(self.logits))

    def start(self, memory: tf.Tensor, length: Length) -> dict[str, tf.Tensor]:
        batch = tf.size(memory)
        said = tf.zeros([batch, length], tf.int32)
        return {"row": memory, "before": tf.fill([batch, 1], PAD), "time": tf.zeros([batch], tf.int32), "said": said}

    def step(self, tokens: tf.Tensor, state: dict[str, tf.Tensor], memory: tf.Tensor) -> Step:
        time, room = state["time"], tf.shape(state["said"])[-1]
        tf.debugging.assert_less(time, room, "a step more than there is room for")
        tf.debugging.assert_equal(
            tf.math.count_nonzero(state["said"], axis=-1, dtype=tf.int32), time, "what was said is lost"
        )
        tf.debugging.assert_equal(state["row"], tf.broadcast_to(memory[:, None], tf.shape(tokens)), "another's memory")
        where = tf.stack([state["row"], state["before"][..., 0], tokens], axis=-1)
        logits = tf.gather_nd(tf.constant(self.logits), where)
        looked = tf.gather_nd(tf.constant(self.looks), where[..., ::2])
        said = tf.where(tf.range(room) == time[..., None], 1, state["said"])
        return Step(logits, looked, {"row": state["row"], "before": tokens[..., None], "time": time + 1, "said": said})

    def log_probability(self, row: int, pieces: tuple[int, ...]) -> float:
        """Of the pieces and END."""
        total, before, last = 0.0, PAD, START
        for piece in (*pieces, END):
            logits = self.logits[row, before, last].astype(np.float64)
            total += logits[piece] - np.log(np.exp(logits).sum())
            before, last = last, piece
        return total

    def row(self, number: int) -> Chain:
        """One row alone."""
        return Chain(self.logits[number : number + 1], self.looks[number : number + 1])

    def looked(self, row: int, pieces: tuple[int, ...]) -> np.ndarray:
        """Attention summed over the pieces and END, [source]: each is said after the piece before it."""
        return sum(self.looks[row, last] for last in (START, *pieces))

    def score(self, row: int, pieces: tuple[int, ...], alpha: float) -> float:
        return self.log_probability(row, pieces) / ((5 + len(pieces) + 1) / 6) ** alpha

    def answers(self, row: int, limit: int, alpha: float) -> list[tuple[float, tuple[int, ...]]]:
        """Every answer with its score, best first."""
        every = (pieces for n in range(limit + 1) for pieces in itertools.product(PIECES, repeat=n))
        return sorted(((self.score(row, pieces, alpha), pieces) for pieces in every), reverse=True)


def chain(seed: int, batch: int = 1, scale: float = 2.0) -> Chain:
    shape = (batch, VOCABULARY, VOCABULARY, VOCABULARY)
    random = np.random.default_rng(seed)
    looks = random.dirichlet([0.3] * SOURCE, size=(batch, VOCABULARY))
    return Chain((random.normal(size=shape) * scale).astype(np.float32), looks.astype(np.float32))


def first_order(follows: dict[int, dict[int, float]]) -> Chain:
    """A chain of one row by hand: {last: {next: probability}}; what is not named is as good as impossible."""
    probabilities = np.full((1, VOCABULARY, VOCABULARY, VOCABULARY), 1e-9, np.float32)
    for last, nexts in follows.items():
        for piece, probability in nexts.items():
            probabilities[0, :, last, piece] = probability
    return Chain(np.log(probabilities), np.ones((1, VOCABULARY, SOURCE), np.float32) / SOURCE)


def pieces_of(tokens: tf.Tensor) -> tuple[int, ...]:
    """[7, 5, END, PAD, PAD] -> (7, 5), after a look at its form."""
    row = list(np.asarray(tokens))
    end = row.index(END)
    assert row[end + 1 :] == [PAD] * (len(row) - end - 1)
    return tuple(int(piece) for piece in row[:end])


def search(model: Chain, **options: object) -> Hypotheses:
    return beam_search(model.step, model.start, model.memory, batch_size=len(model.logits), **options)
