"""Blocks of the Transformer (Vaswani 2017), whose attention is the zoo's multi-head attention.

Around each sub-layer f is a residual connection with a layer normalisation. "post" is the paper's, norm(x + f(x));
"pre" is x + f(norm(x)), which is stable without a warm-up (Xiong 2020), with one more norm at the top.

In decoding the keys and values of the pieces so far are a layer's state (`Cache`). There is room for all that will
come, and a step fills in its own place, so shapes stay what they are.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.attention import Keys
from models.attention.multi_head import Config as MultiHeadConfig
from models.attention.multi_head import MultiHead
from models.contract import Length
from models.layers import Dense, Dropout, LayerNorm


@dataclasses.dataclass(frozen=True)
class LayerShape:
    """What the layers of an encoder or a decoder have in common: sizes, and where they are normalised."""

    units: int
    heads: int
    feed_forward: int
    norm: Literal["pre", "post"]
    dropout: float


class Cache(NamedTuple):
    """A layer's keys and values of what was said, leaves [batch, beam, head, length, depth / heads]."""

    keys: tf.Tensor
    values: tf.Tensor


def sinusoids(positions: tf.Tensor, depth: int) -> tf.Tensor:
    """Vaswani 2017, section 3.5: int32 [...] -> float32 [..., depth].

    The sines first and the cosines after them, where the paper has them in turns: the same up to the order of units.
    """
    waves = -(-depth // 2)
    frequencies = (10_000.0 ** (-2.0 * np.arange(waves) / depth)).astype(np.float32)
    angles = tf.cast(positions, tf.float32)[..., None] * frequencies
    return tf.concat([tf.sin(angles), tf.cos(angles)], axis=-1)[..., :depth]


class Residual(keras.layers.Layer):
    """What is around a sub-layer f: `leave(x, f(enter(x)))`; dropout before the sum (Vaswani 2017, section 5.4)."""

    def __init__(self, shape: LayerShape, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.pre = shape.norm == "pre"
        self.norm = LayerNorm(shape.units, name="norm")
        self.dropout = Dropout(shape.dropout)
        self.built = True

    def enter(self, inputs: tf.Tensor) -> tf.Tensor:
        """[batch, time, units] -> what the sub-layer is given."""
        return self.norm(inputs) if self.pre else inputs

    def leave(self, inputs: tf.Tensor, outputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What came in and what the sub-layer made of it -> [batch, time, units]."""
        added = inputs + self.dropout(outputs, training=training)
        return added if self.pre else self.norm(added)


class FeedForward(keras.layers.Layer):
    """The position-wise network in its residual connection: Vaswani 2017, eq. 2, max(0, x W + b) W + b."""

    def __init__(self, shape: LayerShape, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.hidden = Dense(shape.units, shape.feed_forward, "relu", name="hidden")
        self.outputs = Dense(shape.feed_forward, shape.units, name="outputs")
        self.around = Residual(shape, name="around")
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[batch, time, units] -> [batch, time, units]."""
        return self.around.leave(inputs, self.outputs(self.hidden(self.around.enter(inputs))), training)


class EncoderLayer(keras.layers.Layer):
    """Every position of the source looks at every other."""

    def __init__(self, shape: LayerShape, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.attention = MultiHead(shape.units, shape.units, MultiHeadConfig(shape.heads), name="attention")
        self.around_attention = Residual(shape, name="around_attention")
        self.feed_forward = FeedForward(shape, name="feed_forward")
        self.built = True

    def call(self, inputs: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[batch, source, units], bool [batch, source] -> [batch, source, units]."""
        within = self.around_attention.enter(inputs)
        attended = self.attention(within, self.attention.prepare(within, mask))
        inputs = self.around_attention.leave(inputs, attended.context, training)
        return self.feed_forward(inputs, training=training)


class DecoderLayer(keras.layers.Layer):
    """Every piece looks at itself and those before it, then at the source."""

    def __init__(self, shape: LayerShape, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.heads, self.head_depth = shape.heads, shape.units // shape.heads
        self.self_attention = MultiHead(shape.units, shape.units, MultiHeadConfig(shape.heads), name="self_attention")
        self.around_self_attention = Residual(shape, name="around_self_attention")
        self.attention = MultiHead(shape.units, shape.units, MultiHeadConfig(shape.heads), name="attention")
        self.around_attention = Residual(shape, name="around_attention")
        self.feed_forward = FeedForward(shape, name="feed_forward")
        self.built = True

    def call(
        self, inputs: tf.Tensor, past: tf.Tensor, source: Keys, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """All pieces: [batch, target, units], bool [1, target, target] -> (the same shape, weights of the source).

        `past` is True where a piece (second axis) may look; the weights are float32 [batch, target, source].
        """
        within = self.around_self_attention.enter(inputs)
        attended = self.self_attention(within, self.self_attention.prepare(within, past))
        inputs = self.around_self_attention.leave(inputs, attended.context, training)
        return self._look_at_source(inputs, source, training)

    def start(self, rows: tf.Tensor, length: Length) -> Cache:
        """Nothing said yet, leaves [batch, head, length, depth / heads]."""
        nothing = tf.zeros([rows, self.heads, length, self.head_depth], self.compute_dtype)
        return Cache(nothing, nothing)

    def step(
        self, inputs: tf.Tensor, position: tf.Tensor, cache: Cache, source: Keys
    ) -> tuple[tf.Tensor, tf.Tensor, Cache]:
        """One piece more, [batch, beam, units] at `position`, int32 [batch, beam] -> as `call`, and what is said."""
        batch, beam, length = tf.shape(inputs)[0], tf.shape(inputs)[1], tf.shape(cache.keys)[3]
        # Each hypothesis is a row: it looks at keys of its own, with one query.
        within = tf.reshape(self.around_self_attention.enter(inputs), [batch * beam, 1, inputs.shape[-1]])
        said = tf.reshape(tf.range(length) < position[..., None], [batch * beam, length])
        here = self.self_attention.prepare(within, tf.ones([batch * beam, 1], tf.bool))
        past = Keys(tuple(_together(part) for part in cache), (), said)
        context = self.self_attention.look_back(within, past, here)
        # Read before it is written: a search moves the cache next, and XLA does both at once.
        place = (tf.range(length) == position[..., None])[:, :, None, :, None]
        cache = Cache(*(tf.where(place, _apart(part, beam), old) for part, old in zip(here.keys, cache, strict=True)))
        inputs = self.around_self_attention.leave(inputs, tf.reshape(context, tf.shape(inputs)))
        return *self._look_at_source(inputs, source), cache

    def _look_at_source(self, inputs: tf.Tensor, source: Keys, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        attended = self.attention(self.around_attention.enter(inputs), source)
        inputs = self.around_attention.leave(inputs, attended.context, training)
        return self.feed_forward(inputs, training=training), attended.weights


def _apart(rows: tf.Tensor, beam: tf.Tensor) -> tf.Tensor:
    """[batch * beam, ...] -> [batch, beam, ...]."""
    return tf.reshape(rows, tf.concat([[-1, beam], tf.shape(rows)[1:]], axis=0))


def _together(hypotheses: tf.Tensor) -> tf.Tensor:
    """[batch, beam, ...] -> [batch * beam, ...]."""
    return tf.reshape(hypotheses, tf.concat([[-1], tf.shape(hypotheses)[2:]], axis=0))
