"""User functions of Transform: functions only, since TFX loads this module anew.

{source: [["abbe"]], target: [["AE B IY"]], ...} -> {source_ids: [[6, 5, 5, 7, 3]], target_ids: [[5, 4, 6, 3]]}

A recording stays as it is, for the model listens to the waveform; what all train rows have in common is computed here:

{audio: [["RIFF..."]], target: [["two"]], ...} -> {audio: ["RIFF..."], target_ids: [[5, 3]],
                                                   feature_mean: [[-7.1, ...]], feature_variance: [[4.2, ...]]}
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components import settings, tokenizer
from models.audio import Audio
from models.contract import AUDIO, FEATURE_MEAN, FEATURE_VARIANCE, SOURCE, SOURCE_IDS, TARGET, TARGET_IDS


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Pieces and END of each side: string [batch, 1] -> int64, ragged [batch, source] and [batch, target]."""
    tokenizers = tokenizer.load(custom_config["tokenizer_uri"])

    def ids(text: tf.Tensor, pieces: Any) -> tf.RaggedTensor:
        return tf.cast(pieces.tokenize(tf.reshape(text, [-1])), tf.int64)

    target = {TARGET_IDS: ids(inputs[TARGET], tokenizers.target(add_end=True))}
    if not custom_config["audio"]:
        return {SOURCE_IDS: ids(inputs[SOURCE], tokenizers.source(add_end=True)), **target}
    audio = settings.from_json(Audio, custom_config["audio"])
    recordings = tf.sparse.to_dense(inputs[AUDIO], default_value=b"")[:, 0]
    return {AUDIO: recordings, **target, **_statistics(recordings, audio)}


def _statistics(recordings: tf.Tensor, audio: Audio) -> dict[str, tf.Tensor]:
    """Mean and variance of the features over all frames of the train rows, where the model wants them."""
    if audio.normalize != "global":
        return {}
    import tensorflow_transform as tft

    from models.audio import recorded
    from models.audio.features import features_before_normalization

    features, mask = features_before_normalization(recorded.frames(recordings, audio), audio)
    heard = tf.boolean_mask(features, mask)  # [frames of the batch, depth]
    rows = tf.shape(recordings)[0]
    statistics = {
        FEATURE_MEAN: tft.mean(heard, reduce_instance_dims=False),
        FEATURE_VARIANCE: tft.var(heard, reduce_instance_dims=False),
    }
    return {name: tf.tile(values[None], [rows, 1]) for name, values in statistics.items()}
