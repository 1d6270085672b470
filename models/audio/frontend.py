"""The first layer of a listener: frames of a recording -> normalised features, and in training never the same twice.

frames float32 [1, 100, 160 + 1] -> (features [1, 100, 80], mask bool [1, 100])
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from models.audio import Audio, augment
from models.audio.features import LEAST_VARIANCE, features_before_normalization, masked, mean_of, normalize


class Frontend(keras.layers.Layer):
    """What a model hears of a recording.

    Everything is computed in float32, whatever the policy: in float16 the quietest energy is 0.

    Attributes:
        audio: the section of the config.
        depth: of a frame of features.
        mean, deviation: of normalize "global" alone, float32 [depth], what `adapt` was given.
    """

    def __init__(self, audio: Audio, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.audio = audio
        self.depth = audio.feature_depth
        self.has_speeds = audio.speeds != (1.0,)
        if self.has_speeds or audio.dither or audio.spec_augment:
            self.seed_generator = keras.random.SeedGenerator()
        if audio.normalize == "global":
            self.mean = self._statistic("mean", "zeros")
            self.deviation = self._statistic("deviation", "ones")
        self.built = True

    def _statistic(self, name: str, start: str) -> keras.Variable:
        return self.add_weight((self.depth,), start, "float32", trainable=False, name=name)

    def adapt(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Take the statistics of `features_before_normalization` over all train rows, float [depth] each."""
        self.mean.assign(mean)
        self.deviation.assign(tf.sqrt(tf.maximum(tf.cast(variance, tf.float32), LEAST_VARIANCE)))

    def call(self, frames: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """float32 [batch, frames, frame depth + 1] -> (features [batch, frames, depth], mask bool [batch, frames]).

        In padding the features are 0. In training a batch that is played faster or slower has fewer or more frames.
        """
        audio = self.audio
        if training and self.has_speeds:
            frames = augment.change_speed(frames, audio, self._seed())
        if training and audio.dither:
            frames = augment.dither(frames, audio, self._seed())
        features, mask = features_before_normalization(frames, audio)
        mean: tf.Tensor | float = 0.0
        if audio.normalize == "recording":
            features = normalize(features, mask)
        elif audio.normalize == "global":
            features = masked((features - self.mean) / self.deviation, mask)
        elif training and audio.spec_augment:
            mean = mean_of(features, mask)
        if training and audio.spec_augment:
            bands = self.depth // (1 + audio.deltas)
            features = augment.spec_augment(features, mask, audio.spec_augment, bands, mean, self._seed())
        return tf.cast(features, self.compute_dtype), mask

    def _seed(self) -> tf.Tensor:
        return tf.cast(self.seed_generator.next(), tf.int32)
