"""A trained model as one SavedModel: raw strings in; text, scores and attention out.

Tokenisation, beam search and detokenisation are in the graph, so that any TensorFlow Serving client gets what
`fovea predict` prints::

    serving_default {text: ["fovea"]} -> {text: ["F OW V IY AH"], score: [-0.31]}
"""

from __future__ import annotations

import bisect
import pathlib
import shutil
import types
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
import tensorflow_text

from models import beam, decoding
from models.contract import END, PAD, SOURCE, Seq2Seq
from models.forced import Forced, force
from serving import pieces, signatures
from serving.allowed_ops import ForeignOpError, check_ops
from serving.card import EXTRA, SOURCE_PIECES, TARGET_PIECES, Card
from serving.limits import pieces_of
from serving.search import Decoding, Search

WARMUP_FILE = "tf_serving_warmup_requests"  # TensorFlow Serving looks for this name in assets.extra


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
        self._untracked = types.SimpleNamespace(
            model=model,
            search=Search(model, settings),
            piece_files={SOURCE_PIECES: source_model, TARGET_PIECES: target_model},
        )
        self._source_ids = source_ids
        self._source_tokenizer = pieces.tokenizer(source_model)
        self._target_tokenizer = pieces.tokenizer(target_model)
        self.settings = settings

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.TEXT)])
    def _best(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """text [n] -> source ids [n, source], pieces of the best answer [n, target], its score [n]."""
        source = self._source(text)
        tokens, scores = self._untracked.search(source, answers=1)
        return source, tokens[:, 0], scores[:, 0]

    def _source(self, text: tf.Tensor) -> tf.Tensor:
        """Text [n] -> ids [n, source], with END; a text that is too long is an error."""
        return _padded(pieces_of(text, self._source_ids, self.settings.max_source_length, signatures.TEXT))

    def _target(self, text: tf.Tensor, name: str) -> tf.RaggedTensor:
        """Answers, or their beginnings, [n] -> ids [n, target], without END; likewise."""
        return pieces_of(text, self._target_tokenizer.tokenize, self.settings.max_source_length, name)

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
    def without_xla(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """`without_xla`: as `serving_default`, for a server that compiles nothing."""
        tokens, scores = self._untracked.search(self._source(text), answers=1, compiled=False)
        return {signatures.TEXT: self._text(tokens[:, 0]), signatures.SCORE: scores[:, 0]}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.TEXT)])
    def n_best(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """`n_best`: all hypotheses of the beam, best first."""
        source = self._source(text)
        tokens, scores = self._untracked.search(source, answers=self.settings.beam_size)
        return {signatures.TEXT: self._text(tokens), signatures.SCORE: scores}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.string, name) for name in (signatures.TEXT, signatures.PREFIX)],
    )
    def complete(self, text: tf.Tensor, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
        """`complete`: the best answer of each row that begins as it is told to."""
        _same_rows(text, prefix, signatures.PREFIX)
        beginning = _padded(self._target(prefix, signatures.PREFIX))
        tokens, scores = self._untracked.search.complete(self._source(text), beginning)
        return {signatures.TEXT: self._text(tokens[:, 0]), signatures.SCORE: scores[:, 0]}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, name=signatures.TEXT),
            tf.TensorSpec([None], tf.int64, name=signatures.SEED),
        ],
    )
    def sample(self, text: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """`sample`: an answer of each row that is drawn."""
        _same_rows(text, seed, signatures.SEED)
        tokens, scores = self._untracked.search.sample(self._source(text), tf.cast(seed, tf.int32))
        return {signatures.TEXT: self._text(tokens[:, 0]), signatures.SCORE: scores[:, 0]}

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
        _same_rows(text, target, signatures.TARGET)
        ends = tf.fill([tf.size(target), 1], END)
        tokens = _padded(tf.concat([self._target(target, signatures.TARGET), ends], axis=1))
        source = self._source(text)
        forced = force(self._untracked.model, source, tokens)
        length = tf.math.count_nonzero(tokens != PAD, axis=1, dtype=tf.int32)
        score = decoding.normalise(
            tf.reduce_sum(forced.log_probabilities, axis=1), length, self.settings.length_penalty
        )
        if self.settings.coverage_penalty:
            score += beam.coverage(forced.looked[:, None], source != PAD, self.settings.coverage_penalty)[:, 0]
        return {signatures.SCORE: score, **self._said(source, tokens, forced)}

    def fill_buckets(self, texts: Sequence[str]) -> list[list[str]]:
        """Requests that go into every bucket of the compiled search, made of some texts; without buckets the texts."""
        buckets = self.settings.compiled
        if not buckets:
            return [list(texts)]
        whole = " ".join(text for text in texts if text) or "a"
        requests = []
        for length in buckets.lengths:
            while self._length(whole) < length:
                whole += " " + whole
            # The longest beginning that the bucket holds: more text has no fewer pieces.
            end = bisect.bisect_right(range(len(whole)), length, key=lambda end: self._length(whole[: end + 1]))
            requests += [[whole[:end].rstrip()] * rows for rows in buckets.rows]
        return requests

    def write_pieces(self, folder: pathlib.Path) -> None:
        """The SentencePiece models as files, for whoever has no graph to ask."""
        for name, content in self._untracked.piece_files.items():
            (folder / name).write_bytes(content)

    def _length(self, text: str) -> int:
        """Pieces of a text, with END."""
        return int(self._source_ids(tf.constant([text])).row_lengths()[0])

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=signatures.EXAMPLES)])
    def examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`examples`: the best answer for serialized tf.Examples, as the Evaluator has them."""
        parsed = tf.io.parse_example(examples, {SOURCE: tf.io.FixedLenFeature([], tf.string)})
        result: dict[str, tf.Tensor] = self.best(parsed[SOURCE])
        return result


def _same_rows(text: tf.Tensor, other: tf.Tensor, name: str) -> None:
    message = f"{signatures.TEXT} and {name} must have the same number of rows"
    tf.debugging.assert_equal(tf.size(text), tf.size(other), message)


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

    Raises:
        ForeignOpError: an op that a TensorFlow Serving image does not have; nothing is left at `path`.
    """
    functions = {
        signatures.SERVING_DEFAULT: served.best,
        signatures.N_BEST: served.n_best,
        signatures.ALIGN: served.align,
        signatures.SCORE_TARGET: served.score,
        signatures.COMPLETE: served.complete,
        signatures.SAMPLE: served.sample,
        signatures.EXAMPLES: served.examples,
    }
    if served.settings.compiled:
        functions[signatures.WITHOUT_XLA] = served.without_xla
    tf.saved_model.save(served, str(path), signatures=functions)
    try:
        check_ops(path)
    except ForeignOpError:
        shutil.rmtree(path)
        raise
    card.write(path)
    served.write_pieces(path / EXTRA)
    with tf.io.TFRecordWriter(str(path / EXTRA / WARMUP_FILE)) as writer:
        for texts in served.fill_buckets(warmup):
            for name in (signatures.SERVING_DEFAULT, signatures.N_BEST, signatures.ALIGN):
                writer.write(_warmup_request(name, {signatures.TEXT: texts}))
        # Any text is an answer that can be scored, or the beginning of one.
        for name, second in ((signatures.SCORE_TARGET, signatures.TARGET), (signatures.COMPLETE, signatures.PREFIX)):
            writer.write(_warmup_request(name, {signatures.TEXT: warmup, second: warmup}))
        writer.write(
            _warmup_request(signatures.SAMPLE, {signatures.TEXT: warmup, signatures.SEED: list(range(len(warmup)))})
        )


def _warmup_request(signature: str, inputs: Mapping[str, Sequence[str] | Sequence[int]]) -> bytes:
    """One PredictionLog, as TensorFlow Serving replays it. The empty model name stands for the model being loaded."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        dtype = tf.int64 if name == signatures.SEED else tf.string
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(values), dtype))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
