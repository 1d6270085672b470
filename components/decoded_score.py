"""A metric of decoded validation rows, which can choose the best weights: the loss is not what a user sees.

A validation row, ids of "K AE T" in and greedily decoded "K AH T" out, adds [1 edit, 3 tokens] to token_error_rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text

from components import batches, metrics
from models import decoding
from models.contract import END, PAD, TARGET_IDS, Seq2Seq
from serving.search import Decoding


class DecodedScore:
    """A Score of `components.training`.

    It is near to what the Evaluator will say, at a small part of its time, and not the same: rows are decoded greedily,
    whatever `decoding.beam_size` is, and are held against the one target that transformed rows have, as it comes back
    from its pieces, where raw rows may have more references.
    """

    def __init__(
        self,
        name: metrics.Name,
        token_unit: str,
        model: Seq2Seq,
        rows: Sequence[batches.Batch],
        target_tokenizer: tensorflow_text.SentencepieceTokenizer,
        settings: Decoding,
    ) -> None:
        """Args:
        name: of the metric.
        token_unit: see `metrics.find`.
        model: the one that decodes, which takes over the weights of the one that is asked about.
        rows: what is decoded.
        target_tokenizer: pieces -> text.
        settings: how long an answer may be.
        """
        self.name = str(name)
        self.higher_is_better = metrics.find(name, token_unit).higher_is_better
        self._token_unit = token_unit
        self._model = model
        self._rows = rows
        self._target_tokenizer = target_tokenizer
        self._references = [self._text(batch[TARGET_IDS]) for batch in rows]

        @tf.function(input_signature=[model.source], autograph=False)
        def decode(source: tf.Tensor) -> tf.Tensor:
            """As `model.source` says -> the best answer, int32 [batch, target]."""
            lengths = tf.math.count_nonzero(model.source_mask(source), axis=-1)
            found = decoding.greedy(
                model.step,
                model.start,
                model.encode(source),
                batch_size=tf.shape(source)[0],
                max_length=settings.limits(lengths),
                constraints=settings.constraints(lengths),
                leaving="any",
            )
            return found.tokens[:, 0]

        self._decode = decode

    def __call__(self, model: Seq2Seq) -> float:
        """The score of the weights that the model has now."""
        if model is not self._model:
            self._model.set_weights(model.get_weights())
        predictions = [self._text(self._decode(batch[model.source.name])) for batch in self._rows]
        rows = (
            ([reference], prediction)
            for batch in zip(self._references, predictions, strict=True)
            for reference, prediction in zip(*batch, strict=True)
        )
        return metrics.evaluate([self.name], rows, self._token_unit)[self.name]

    def _text(self, ids: tf.Tensor) -> list[str]:
        """int32 [batch, target] -> a text a row."""
        ids = tf.convert_to_tensor(ids)
        pieces = tf.ragged.boolean_mask(ids, (ids != PAD) & (ids != END))
        return [text.decode() for text in self._target_tokenizer.detokenize(pieces).numpy()]
