"""User functions of Transform: functions only, since TFX loads this module anew.

{source: [["abbe"]], target: [["AE B IY"]], ...} -> {source_ids: [[6, 5, 5, 7, 3]], target_ids: [[5, 4, 6, 3]]}
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components import tokenizer
from models.contract import SOURCE, SOURCE_IDS, TARGET, TARGET_IDS


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.RaggedTensor]:
    """Pieces and END of each side: string [batch, 1] -> int64, ragged [batch, source] and [batch, target]."""
    tokenizers = tokenizer.load(custom_config["tokenizer_uri"])

    def ids(text: tf.Tensor, pieces: Any) -> tf.RaggedTensor:
        return tf.cast(pieces.tokenize(tf.reshape(text, [-1])), tf.int64)

    return {
        SOURCE_IDS: ids(inputs[SOURCE], tokenizers.source(add_end=True)),
        TARGET_IDS: ids(inputs[TARGET], tokenizers.target(add_end=True)),
    }
