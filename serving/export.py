"""A trained model as one SavedModel: raw strings in; text, scores and attention out.

Tokenisation, beam search and detokenisation are in the graph, so that any TensorFlow Serving client gets what
`fovea predict` prints::

    serving_default {text: ["fovea"]} -> {text: ["F OW V IY AH"], score: [-0.31]}
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence

import annotated_types
import tensorflow as tf
import tensorflow_text

from models import beam, decoding
from models.constraints import NONE, Constraints
from models.contract import END, PAD, SOURCE, Seq2Seq
from models.forced import Forced, force
from serving import pieces, signatures
from serving.card import EXTRA, Card

WARMUP_FILE = "tf_serving_warmup_requests"  # TensorFlow Serving looks for this name in assets.extra


@dataclasses.dataclass(frozen=True)
class Decoding:
    """The `decoding` section: how the exported model searches.

    Attributes:
        beam_size: hypotheses kept a row, and the number of answers of the signature `n_best`.
        length_penalty: alpha of GNMT's length penalty (Wu 2016, eq. 14); 0 is none.
        max_length_ratio: an answer has at most this many pieces for each piece of the source,
        max_length_offset: and this many more.
        min_length_ratio: an answer has at least this many, where the greatest length allows it.
        coverage_penalty: beta of GNMT's coverage penalty (the same equation), which is for a beam of 2 or more; 0 is
            none.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    beam_size: typing.Annotated[int, annotated_types.Ge(1)] = 4
    length_penalty: typing.Annotated[float, annotated_types.Ge(0)] = 0.6
    max_length_ratio: typing.Annotated[float, annotated_types.Ge(0)] = 1.5
    max_length_offset: typing.Annotated[int, annotated_types.Ge(1)] = 10
    min_length_ratio: typing.Annotated[float, annotated_types.Ge(0)] = 0.0
    coverage_penalty: typing.Annotated[float, annotated_types.Ge(0)] = 0.0

    def __post_init__(self) -> None:
        """Coverage ranks answers: there must be several."""
        if self.coverage_penalty and self.beam_size == 1:
            raise ValueError("coverage_penalty ranks the answers of a beam: expected a beam_size of 2 or more, got 1")

    def constraints(self, lengths: tf.Tensor) -> Constraints:
        """What answers must be like, for sources of so many pieces with END: int [n]."""
        if not self.min_length_ratio:
            return NONE
        return Constraints(min_length=tf.cast(tf.cast(lengths, tf.float32) * self.min_length_ratio, tf.int32))

    def limits(self, lengths: tf.Tensor) -> tf.Tensor:
        """How many pieces an answer may have, for sources of so many with END: int [n] -> int32 [n]."""
        return tf.cast(tf.cast(lengths, tf.float32) * self.max_length_ratio, tf.int32) + self.max_length_offset


class ServedModel(tf.Module):
    """What is saved: the transform graph, the Keras model and the decoding, side by side."""

    def __init__(
        self,
        model: Seq2Seq,
        source_ids: Callable[[tf.Tensor], tf.RaggedTensor],
        source_model: bytes,
        target_model: bytes,
        settings: Decoding,
    ) -> None:
        """Args: the trained model; the transform graph, text [n] -> ids [n, source]; both SentencePiece models."""
        super().__init__()
        # A Keras variable that is tracked is saved twice, and loaders other than tf.saved_model.load (TensorFlow
        # Serving's among them) restore the copy that no function reads. So the TensorFlow variables are tracked, and
        # the model is held where tracking does not look.
        self._weights = [variable.value for variable in model.weights]
        self._untracked = types.SimpleNamespace(model=model)
        self._source_ids = source_ids
        self._source_tokenizer = pieces.tokenizer(source_model)
        self._target_tokenizer = pieces.tokenizer(target_model)
        self._settings = settings

    def _search(self, text: tf.Tensor, answers: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """text [n] -> source ids [n, source], pieces with END [n, answers, target], scores [n, answers]."""
        ragged = self._source_ids(text)
        source = _padded(ragged)
        memory = self._untracked.model.encode(source)
        found = beam.beam_search(
            functools.partial(self._untracked.model.step, memory=memory),
            functools.partial(self._untracked.model.start, memory),
            batch_size=tf.shape(source)[0],
            beam_size=self._settings.beam_size,
            max_length=self._settings.limits(ragged.row_lengths()),
            length_penalty=self._settings.length_penalty,
            coverage_penalty=self._settings.coverage_penalty,
            source=source != PAD,
            constraints=self._settings.constraints(ragged.row_lengths()),
            n_best=answers,
        )
        return source, found.tokens, found.scores

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.TEXT)])
    def _best(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """text [n] -> source ids [n, source], pieces of the best answer [n, target], its score [n]."""
        source, tokens, scores = self._search(text, answers=1)  # a search for one answer may stop earlier
        return source, tokens[:, 0], scores[:, 0]

    def _text(self, tokens: tf.Tensor) -> tf.Tensor:
        """Pieces [..., target] -> strings [...]."""
        flat = tf.reshape(tokens, [-1, tf.shape(tokens)[-1]])
        words = tf.ragged.boolean_mask(flat, (flat != PAD) & (flat != END))
        return tf.reshape(self._target_tokenizer.detokenize(words), tf.shape(tokens)[:-1])

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.TEXT)])
    def best(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving_default`: the best answer of each row."""
        _, tokens, scores = self._best(text)
        return {signatures.TEXT: self._text(tokens), signatures.SCORE: scores}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.TEXT)])
    def n_best(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """`n_best`: all hypotheses of the beam, best first."""
        _, tokens, scores = self._search(text, answers=self._settings.beam_size)
        return {signatures.TEXT: self._text(tokens), signatures.SCORE: scores}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.TEXT)])
    def align(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """`align`: the best answer and its attention, read by running the answer through the decoder once more."""
        source, tokens, scores = self._best(text)
        forced = force(self._untracked.model, source, tokens)
        return {signatures.TEXT: self._text(tokens), signatures.SCORE: scores, **self._said(source, tokens, forced)}

    def _said(self, source: tf.Tensor, tokens: tf.Tensor, forced: Forced) -> dict[str, tf.Tensor]:
        """Given pieces, ids [n, source] and [n, target] -> the pieces, their log-probabilities and attention."""
        return {
            signatures.SOURCE_PIECES: _pieces(self._source_tokenizer, source),
            signatures.TARGET_PIECES: _pieces(self._target_tokenizer, tokens),
            signatures.PIECE_SCORES: forced.log_probabilities,
            signatures.ATTENTION: forced.attention,
        }

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.string, name) for name in (signatures.TEXT, signatures.TARGET)],
    )
    def score(self, text: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        """`score`: the score that a given answer has, as `n_best` would give it, and its attention."""
        tf.debugging.assert_equal(tf.size(text), tf.size(target), "text and target must have the same number of rows")
        ends = tf.fill([tf.size(target), 1], END)
        tokens = _padded(tf.concat([self._target_tokenizer.tokenize(target), ends], axis=1))
        source = _padded(self._source_ids(text))
        forced = force(self._untracked.model, source, tokens)
        length = tf.math.count_nonzero(tokens != PAD, axis=1, dtype=tf.int32)
        score = decoding.normalise(
            tf.reduce_sum(forced.log_probabilities, axis=1), length, self._settings.length_penalty
        )
        if self._settings.coverage_penalty:
            score += beam.coverage(forced.looked[:, None], source != PAD, self._settings.coverage_penalty)[:, 0]
        return {signatures.SCORE: score, **self._said(source, tokens, forced)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.EXAMPLES)])
    def examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`examples`: the best answer for serialized tf.Examples, as the Evaluator has them."""
        parsed = tf.io.parse_example(examples, {SOURCE: tf.io.FixedLenFeature([], tf.string)})
        result: dict[str, tf.Tensor] = self.best(parsed[SOURCE])
        return result


def _padded(ids: tf.RaggedTensor) -> tf.Tensor:
    """Ragged [n, length] -> int32 [n, length], PAD behind the shorter rows."""
    padded = tf.cast(ids.to_tensor(PAD), tf.int32)
    return tf.pad(padded, [[0, 0], [0, tf.cast(tf.shape(padded)[1] == 0, tf.int32)]])  # of no rows: no columns


def _pieces(tokenizer: tensorflow_text.SentencepieceTokenizer, ids: tf.Tensor) -> tf.Tensor:
    """Ids [n, length] -> pieces [n, length], "" for PAD."""
    return tf.where(ids == PAD, "", tokenizer.id_to_string(ids))


def save(served: ServedModel, path: pathlib.Path, card: Card, warmup: Sequence[str]) -> None:
    """Write the SavedModel with its card and its warm-up requests.

    Args:
        served: what to save.
        path: a folder that is not there yet.
        card: what it says of itself.
        warmup: inputs that a model server runs through before it takes the first request.
    """
    tf.saved_model.save(
        served,
        str(path),
        signatures={
            signatures.SERVING_DEFAULT: served.best,
            signatures.N_BEST: served.n_best,
            signatures.ALIGN: served.align,
            signatures.SCORE_TARGET: served.score,
            signatures.EXAMPLES: served.examples,
        },
    )
    card.write(path)
    with tf.io.TFRecordWriter(str(path / EXTRA / WARMUP_FILE)) as writer:
        for name in (signatures.SERVING_DEFAULT, signatures.N_BEST, signatures.ALIGN):
            writer.write(_warmup_request(name, {signatures.TEXT: warmup}))
        pairs = {signatures.TEXT: warmup, signatures.TARGET: warmup}  # any text is an answer that can be scored
        writer.write(_warmup_request(signatures.SCORE_TARGET, pairs))


def _warmup_request(signature: str, inputs: Mapping[str, Sequence[str]]) -> bytes:
    """One PredictionLog, as TensorFlow Serving replays it. The empty model name stands for the model being loaded."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, texts in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(texts), tf.string))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
