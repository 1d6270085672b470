"""Layers that Keras has, without what costs time or weights there: slow products and dropout, lists left unsaved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


def multiply(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """[..., depth] by [depth, units] -> [..., units], the leading axes flattened.

    As one broadcast product, which is what Keras does, the gradient is a kernel a row, summed afterwards: four times
    the time of a training step of [256, 10, 256] by [256, 768] on a CPU. And tf.tensordot's gradient in a loop does not
    compile with XLA.
    """
    if inputs.shape.rank == 2:
        return tf.matmul(inputs, kernel)
    dynamic = tf.shape(inputs)
    leading = [dynamic[n] if size is None else size for n, size in enumerate(inputs.shape[:-1])]
    flat = tf.matmul(tf.reshape(inputs, [-1, kernel.shape[0]]), kernel)
    return tf.reshape(flat, [*leading, kernel.shape[1]])


class Dense(keras.layers.Dense):
    """keras.layers.Dense, [..., depth] -> [..., units], with `multiply`, and its weights made at once."""

    def __init__(self, depth: int, units: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(units, activation, **kwargs)
        self.build((None, depth))

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        outputs = multiply(inputs, tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            outputs += self.bias
        return outputs if self.activation is None else self.activation(outputs)


class Embedding(keras.layers.Embedding):
    """keras.layers.Embedding, int [...] -> [..., depth], its weights made at once.

    `scaled` rows start as N(0, 1 / depth), which suits an output projection, and as inputs are taken times sqrt(depth)
    (Vaswani 2017, section 3.4). That is also how fast a piece is learnt: Adam moves a weight by the learning rate
    whatever its size. Of thousands of pieces the rare ones need it; a few dozen letters learn better without.
    """

    def __init__(self, vocabulary: int, depth: int, scaled: bool, **kwargs: Any) -> None:
        start = keras.initializers.RandomNormal(stddev=depth**-0.5) if scaled else "uniform"
        super().__init__(vocabulary, depth, start, **kwargs)
        self.scale = depth**0.5 if scaled else 1.0
        self.build()

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return super().call(inputs) * self.scale


class LayerNorm(keras.layers.LayerNormalization):
    """keras.layers.LayerNormalization (Ba 2016) over the last axis, its weights made at once."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(epsilon=1e-5, **kwargs)
        self.build((None, depth))


class Dropout(keras.layers.Dropout):
    """keras.layers.Dropout (Srivastava 2014), one float in, 0 or 1 / (1 - rate) times it out, with Philox by name.

    Keras leaves the choice of the generator to TensorFlow, which under XLA on a CPU takes one that is twenty times
    slower (TF 2.21: 282 ms instead of 15 for [256, 9, 256] and a product).
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        draws = tf.random.stateless_uniform(tf.shape(inputs), seed, alg="philox")
        return tf.where(draws >= self.rate, inputs / (1.0 - self.rate), tf.zeros([], inputs.dtype))


class LayerList(keras.layers.Layer):
    """Layers in order. tf.train.Checkpoint leaves out, without a word, the layers of a Python list on a Keras layer."""

    def __init__(self, layers: Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = [f"layer_{number}" for number in range(len(layers))]
        for name, layer in zip(self.names, layers, strict=True):
            setattr(self, name, layer)
        self.built = True

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Any:
        return getattr(self, self.names[number])

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, name) for name in self.names)
