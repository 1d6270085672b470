"""What hears a recording, or reads a text, for attention: recurrent layers that make a long source short.

A source of 7 frames, 2 layers, `reduce_after: [1]`: the second layer and attention see 4 positions, of frames 0 and 1,
2 and 3, 4 and 5, and 6 alone.

The two directions of a layer are two loops, which run beside each other. One loop for both, with stacked weights or
with two products, was no faster on one core, and TensorFlow's fused BlockLSTM was slower.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, ClassVar

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, MinLen, MultipleOf

from models.audio import Audio
from models.contract import FRAMES
from models.layers import Dense, Dropout, LayerList
from models.recurrent import CellName, Encoder, Layers


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Layers of 3 x 3 filters over time and bands below the recurrent ones (as in Gulati 2020, section 2).

    Attributes:
        channels: of every layer.
        strides: of each layer, in time and over the bands alike: (2, 2) makes of four frames one position.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    channels: Annotated[int, Gt(0)] = 32
    strides: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (2, 2)


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of a listener.

    Attributes:
        cell: of every layer.
        units: of a layer; its two directions share them.
        layers: bidirectional ones.
        reduce_after: the layers, counted from 1, whose outputs are joined in pairs: each halves what comes after it.
        projection: of what each layer gives (joined, if it is), with a tanh; 0: none.
        layer_norm: gates are normalised (Ba 2016).
        convolution: below the layers; None: none.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    cell: CellName = "lstm"
    units: Annotated[int, Gt(0), MultipleOf(2)] = 320
    layers: Annotated[int, Gt(0)] = 3
    reduce_after: tuple[Annotated[int, Ge(1)], ...] = (1, 2)
    projection: Annotated[int, Ge(0)] = 0
    layer_norm: bool = False
    convolution: Convolution | None = None

    def __post_init__(self) -> None:
        """A layer can be named once, if it is there."""
        if len(set(self.reduce_after)) < len(self.reduce_after) or any(n > self.layers for n in self.reduce_after):
            raise ValueError(
                f"reduce_after names layers, each once, from 1 to {self.layers}: got {list(self.reduce_after)}"
            )

    @property
    def frames_per_position(self) -> int:
        """How many frames of the source become one position of the attention."""
        strides = self.convolution.strides if self.convolution else ()
        return math.prod(strides) * 2 ** len(self.reduce_after)


def source_of(audio: Audio) -> tf.TensorSpec:
    """What a model takes that hears recordings: see `contract.Seq2Seq.source`."""
    return tf.TensorSpec([None, None, audio.frame_depth + 1], tf.float32, FRAMES)


def real_frames(frames: tf.Tensor) -> tf.Tensor:
    """Which frames are part of a recording: float32 [batch, frames, depth + 1] -> bool [batch, frames]."""
    return frames[..., -1] > 0


class Subsampling(keras.layers.Layer):
    """The convolutional front. Padding is zero before every layer, so that how much there is changes nothing.

    Each side gets one zero frame, whatever the length: TensorFlow's "same" puts the window of a stride elsewhere in an
    even length than in an odd one, and so elsewhere in a longer batch.
    """

    def __init__(self, config: Convolution, depth: int, planes: int, **kwargs: object) -> None:
        """`depth` features a frame, which are `planes` of bands: with deltas, those beside the bands themselves."""
        super().__init__(**kwargs)
        self.strides, self.planes, channels, bands = config.strides, planes, planes, depth // planes
        layers = []
        for stride in config.strides:
            layers.append(keras.layers.Conv2D(config.channels, 3, stride, "valid", activation="relu"))
            layers[-1].build((None, None, bands + 2, channels))
            channels, bands = config.channels, -(-bands // stride)
        self.layers = LayerList(layers)
        self.depth = bands * channels
        self.built = True

    def call(self, inputs: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[batch, frames, depth] and bool [batch, frames] -> ([batch, source, self.depth], bool [batch, source])."""
        batch, frames = tf.unstack(tf.shape(mask))
        outputs = tf.reshape(inputs, [batch, frames, self.planes, inputs.shape[-1] // self.planes])
        outputs = tf.transpose(outputs, [0, 1, 3, 2])  # [batch, frames, bands, planes]
        for layer, stride in zip(self.layers, self.strides, strict=True):
            heard = tf.where(mask[:, :, None, None], outputs, tf.zeros([], outputs.dtype))
            outputs = layer(tf.pad(heard, [[0, 0], [1, 1], [1, 1], [0, 0]]))
            mask = mask[:, ::stride]
        return tf.reshape(outputs, [batch, tf.shape(mask)[1], self.depth]), mask


class Listener(keras.layers.Layer):
    """Convolutions, then bidirectional layers in a pyramid (Chan 2015, section 3.1).

    Attributes:
        depth: of its outputs.
    """

    def __init__(self, config: Config, depth: int, dropout: float, planes: int = 1, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.front = Subsampling(config.convolution, depth, planes, name="front") if config.convolution else None
        depth = self.front.depth if self.front else depth
        one = Layers(config.cell, config.units, 1, dropout, residual=False, layer_norm=config.layer_norm)
        layers, projections = [], []
        for number in range(1, config.layers + 1):
            layers.append(Encoder(one, depth))
            depth = config.units * (2 if number in config.reduce_after else 1)
            if config.projection:
                projections.append(Dense(depth, config.projection, "tanh"))
                depth = config.projection
        self.layers, self.projections = LayerList(layers), LayerList(projections)
        self.dropout = Dropout(dropout)
        self.depth = depth
        self.built = True

    def call(
        self, inputs: tf.Tensor, mask: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """[batch, frames, depth] and bool [batch, frames] -> (outputs, mask, summary).

        Outputs [batch, source, self.depth] with their mask, bool [batch, source], and where the two directions of the
        highest layer end, [batch, units].
        """
        outputs = inputs
        if self.front:
            outputs, mask = self.front(outputs, mask)
        for number, layer in enumerate(self.layers):
            below = self.dropout(outputs, training=training) if number or self.front else outputs
            outputs, summary = layer(below, mask, training=training)
            if number + 1 in self.config.reduce_after:
                outputs, mask = join(outputs, mask)
            if self.projections:
                outputs = self.projections[number](outputs)
        return outputs, mask, summary

    def positions(self, mask: tf.Tensor) -> tf.Tensor:
        """Which positions there will be for a mask of frames: bool [batch, frames] -> bool [batch, source]."""
        # A position is real if its first frame is, at every layer, and so altogether.
        return mask[:, :: self.config.frames_per_position]


def join(outputs: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Pairs of outputs, [h_2i; h_2i+1] (Chan 2015, eq. 5); what has no partner is joined to zeros.

    [batch, time, depth] and bool [batch, time] -> ([batch, time / 2, 2 depth], bool [batch, time / 2]), rounded up.
    """
    batch, time = tf.unstack(tf.shape(mask))
    depth = outputs.shape[-1]
    real = tf.where(mask[..., None], outputs, tf.zeros([], outputs.dtype))
    even = tf.pad(real, [[0, 0], [0, time % 2], [0, 0]])
    return tf.reshape(even, [batch, (time + 1) // 2, 2 * depth]), mask[:, ::2]
