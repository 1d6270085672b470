"""A trained model as one SavedModel: raw strings, or recordings, in; text, scores and attention out.

Tokenisation, beam search and detokenisation are in the graph, so that any TensorFlow Serving client gets what
`fovea predict` prints::

    serving_default {text: ["fovea"]} -> {text: ["F OW V IY AH"], score: [-0.31]}
"""

from __future__ import annotations

import pathlib
import shutil
import types
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from models import beam, decoding
from models.audio import recorded
from models.audio.features import to_frames
from models.contract import END, PAD, Seq2Seq
from models.decoding import Hypotheses
from models.forced import Forced, force
from serving import signatures
from serving.allowed_ops import ForeignOpError, check_ops
from serving.card import EXTRA, TARGET_PIECES, Card
from serving.limits import pieces_of
from serving.long_recordings import Parts, Pieces, transcribe
from serving.pieces import tokenizer
from serving.search import Decoding, Search
from serving.signatures import Asked
from serving.sources import Recordings, Source, Texts, padded, with_columns

WARMUP_FILE = "tf_serving_warmup_requests"  # TensorFlow Serving looks for this name in assets.extra


class ServedModel(tf.Module):
    """What is saved: the source's graph, the Keras model and the decoding, side by side."""

    def __init__(self, model: Seq2Seq, source: Source, target_model: bytes, settings: Decoding) -> None:
        """Args: the trained model; what it is asked with; the target's SentencePiece model; how to search."""
        super().__init__()
        settings = settings.of(model)
        # A Keras variable that is tracked is saved twice, and loaders other than tf.saved_model.load (TensorFlow
        # Serving's among them) restore the copy that no function reads. So the TensorFlow variables are tracked, and
        # the model is held where tracking does not look.
        self._weights = [variable.value for variable in model.weights]
        self._frozen = model.freeze()
        self._untracked = types.SimpleNamespace(
            model=model,
            search=Search(model, settings),
            piece_files={**source.piece_files, TARGET_PIECES: target_model},
        )
        self.source = source
        self._target_tokenizer = tokenizer(target_model)
        self.settings = settings

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """By the names of their signatures."""
        asked = tf.TensorSpec([None], tf.string, self.source.input)
        second = {name: tf.TensorSpec([None], tf.string, name) for name in (signatures.TARGET, signatures.PREFIX)}
        functions: dict[str, tuple[Callable, list[tf.TensorSpec]]] = {
            signatures.SERVING_DEFAULT: (self.best, [asked]),
            signatures.N_BEST: (self.n_best, [asked]),
            signatures.ALIGN: (self.align, [asked]),
            signatures.SCORE_TARGET: (self.score, [asked, second[signatures.TARGET]]),
            signatures.COMPLETE: (self.complete, [asked, second[signatures.PREFIX]]),
            signatures.SAMPLE: (self.sample, [asked, tf.TensorSpec([None], tf.int64, signatures.SEED)]),
            signatures.EXAMPLES: (self.examples, [tf.TensorSpec([None], tf.string, signatures.EXAMPLES)]),
        }
        if self.settings.compiled:
            functions[signatures.WITHOUT_XLA] = (self.without_xla, [asked])
        if isinstance(self.source, Recordings):
            functions |= _of_samples(self, self.source)
        return {
            name: tf.function(function, input_signature=specs, autograph=False)
            for name, (function, specs) in functions.items()
        }

    def answer(self, source: tf.Tensor, compiled: bool = True) -> dict[str, tf.Tensor]:
        """The best answer of each row of a source, as `Seq2Seq.source` says."""
        return self._best_of(self._untracked.search(source, answers=1, compiled=compiled))

    def best(self, asked: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving_default`: the best answer of each row, of a recording of any length where it can be parted."""
        if isinstance(self.source, Recordings):
            return self.listen(self.source, self.source.frames(asked))
        return self.answer(self.source.read(asked))

    def listen(self, recordings: Recordings, source: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best answer of each recording, of frames; of a longer one than there were in training in parts."""
        model: Seq2Seq = self._untracked.model
        if not model.follows_source:
            return self.answer(recordings.limited(source))
        parts = Parts.of(recordings.audio, model.frames_per_position)
        text, score = tf.cond(
            tf.shape(source)[1] <= parts.length,
            lambda: tuple(self.answer(source).values()),
            lambda: transcribe(source, model, self._search_best, self._pieces(), parts),
        )
        return {signatures.TEXT: text, signatures.SCORE: score}

    def _search_best(self, source: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tokens, scores = self._untracked.search(source, answers=1)
        return tokens[:, 0], scores[:, 0]

    def _pieces(self) -> Pieces:
        def begins_word(tokens: tf.Tensor) -> tf.Tensor:
            return tf.strings.regex_full_match(
                self._target_tokenizer.id_to_string(tokens), f"{signatures.WORD_BOUNDARY}.*"
            )

        return Pieces(begins_word, self._target_tokenizer.detokenize)

    def without_xla(self, asked: tf.Tensor) -> dict[str, tf.Tensor]:
        """`without_xla`: as `serving_default`, for a server that compiles nothing."""
        return self.answer(self.source.read(asked), compiled=False)

    def n_best(self, asked: tf.Tensor) -> dict[str, tf.Tensor]:
        """`n_best`: all hypotheses of the beam, best first."""
        tokens, scores = self._untracked.search(self.source.read(asked), answers=self.settings.beam_size)
        return {signatures.TEXT: self._text(tokens), signatures.SCORE: scores}

    def complete(self, asked: tf.Tensor, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
        """`complete`: the best answer of each row that begins as it is told to."""
        self._same_rows(asked, prefix, signatures.PREFIX)
        beginning = padded(self._target(prefix, signatures.PREFIX))
        return self._best_of(self._untracked.search.complete(self.source.read(asked), beginning))

    def sample(self, asked: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """`sample`: an answer of each row that is drawn, by the lower 32 bits of its seed."""
        self._same_rows(asked, seed, signatures.SEED)
        return self._best_of(self._untracked.search.sample(self.source.read(asked), tf.cast(seed, tf.int32)))

    def align(self, asked: tf.Tensor) -> dict[str, tf.Tensor]:
        """`align`: the best answer and its attention, read by running the answer through the decoder once more."""
        source = self.source.read(asked)
        found = self._untracked.search(source, answers=1)
        tokens = found.tokens[:, 0]
        forced = force(self._untracked.model, source, tokens)
        return {**self._best_of(found), **self._said(source, tokens, forced)}

    def score(self, asked: tf.Tensor, target: tf.Tensor) -> dict[str, tf.Tensor]:
        """`score`: the score that a given answer has, as `n_best` would give it, and its attention."""
        self._same_rows(asked, target, signatures.TARGET)
        ends = tf.fill([tf.size(target), 1], END)
        tokens = padded(tf.concat([self._target(target, signatures.TARGET), ends], axis=1))
        source = self.source.read(asked)
        model: Seq2Seq = self._untracked.model
        forced = force(model, source, tokens)
        length = tf.math.count_nonzero(tokens != PAD, axis=1, dtype=tf.int32)
        score = decoding.normalise(
            tf.reduce_sum(forced.log_probabilities, axis=1), length, self.settings.length_penalty
        )
        if self.settings.coverage_penalty:
            mask = model.source_mask(source)
            score += beam.coverage(forced.looked[:, None], mask, self.settings.coverage_penalty)[:, 0]
        return {signatures.SCORE: score, **self._said(source, tokens, forced)}

    def examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`examples`: the best answer for serialized tf.Examples, as the Evaluator has them."""
        feature = self.source.feature
        return self.best(tf.io.parse_example(examples, {feature: tf.io.FixedLenFeature([], tf.string)})[feature])

    def requests(self, asked: Sequence[Asked]) -> list[list[Asked]]:
        """What a server is warmed up with: all of these at once, or requests that fill the buckets."""
        if self.settings.compiled and isinstance(self.source, Texts):  # only texts have buckets
            return self.source.fill_buckets(self.settings.compiled, asked)
        return [list(asked)]

    def write_pieces(self, folder: pathlib.Path) -> None:
        """The SentencePiece models as files, for whoever has no graph to ask."""
        for name, content in self._untracked.piece_files.items():
            (folder / name).write_bytes(content)

    def _said(self, source: tf.Tensor, tokens: tf.Tensor, forced: Forced) -> dict[str, tf.Tensor]:
        """Given a source and pieces, ids [n, target] -> the pieces, their log-probabilities and attention."""
        return {
            signatures.SOURCE_PIECES: self.source.labels(source, self._untracked.model),
            signatures.TARGET_PIECES: tf.where(tokens == PAD, "", self._target_tokenizer.id_to_string(tokens)),
            signatures.PIECE_SCORES: forced.log_probabilities,
            signatures.ATTENTION: forced.attention,
        }

    def _target(self, text: tf.Tensor, name: str) -> tf.RaggedTensor:
        """Answers, or their beginnings, [n] -> ids [n, target], without END; one that is too long is an error."""
        return pieces_of(text, self._target_tokenizer.tokenize, self.settings.max_source_length, name)

    def _best_of(self, found: Hypotheses) -> dict[str, tf.Tensor]:
        """The best answer of each row as text, and its score."""
        return {signatures.TEXT: self._text(found.tokens[:, 0]), signatures.SCORE: found.scores[:, 0]}

    def _text(self, tokens: tf.Tensor) -> tf.Tensor:
        """Pieces [..., target] -> strings [...]."""
        flat = tf.reshape(tokens, [-1, tf.shape(tokens)[-1]])
        words = tf.ragged.boolean_mask(flat, (flat != PAD) & (flat != END))
        return tf.reshape(self._target_tokenizer.detokenize(words), tf.shape(tokens)[:-1])

    def _same_rows(self, asked: tf.Tensor, other: tf.Tensor, name: str) -> None:
        message = f"{self.source.input} and {name} must have the same number of rows"
        tf.debugging.assert_equal(tf.size(asked), tf.size(other), message)


def _of_samples(served: ServedModel, recordings: Recordings) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
    """The signature that takes numbers in place of files."""
    audio = recordings.audio
    length = tf.TensorSpec([None], tf.int32, signatures.LENGTH)
    if audio.kind == "features":

        def features(values: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
            return served.listen(recordings, with_columns(recorded.with_mask(values, lengths)))

        values = tf.TensorSpec([None, None, audio.depth], tf.float32, signatures.FEATURES)
        return {signatures.FEATURES: (features, [values, length])}

    def waveform(samples: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
        samples = recorded.numbers(tf.where(tf.sequence_mask(lengths, tf.shape(samples)[1]), samples, 0.0))
        return served.listen(recordings, with_columns(to_frames(samples, lengths, audio)))

    samples = tf.TensorSpec([None, None], tf.float32, signatures.WAVEFORM)
    return {signatures.WAVEFORM: (waveform, [samples, length])}


def save(served: ServedModel, path: pathlib.Path, card: Card, warmup: Sequence[Asked]) -> None:
    """Write the SavedModel with its card and its warm-up requests.

    Args:
        served: what to save.
        path: a folder that is not there yet.
        card: what it says of itself.
        warmup: inputs that a model server runs through before it takes the first request.

    Raises:
        ForeignOpError: an op that a TensorFlow Serving image does not have; nothing is left at `path`.
    """
    tf.saved_model.save(served, str(path), signatures=served.functions())
    try:
        check_ops(path)
    except ForeignOpError:
        shutil.rmtree(path)
        raise
    card.write(path)
    served.write_pieces(path / EXTRA)
    with tf.io.TFRecordWriter(str(path / EXTRA / WARMUP_FILE)) as writer:
        name = served.source.input
        for asked in served.requests(warmup):
            for signature in (signatures.SERVING_DEFAULT, signatures.N_BEST, signatures.ALIGN):
                writer.write(_warmup_request(signature, {name: asked}))
        # Any text is an answer that can be scored, or the beginning of one.
        texts = [text if isinstance(text, str) else "a" for text in warmup]
        writer.write(_warmup_request(signatures.SCORE_TARGET, {name: warmup, signatures.TARGET: texts}))
        writer.write(_warmup_request(signatures.COMPLETE, {name: warmup, signatures.PREFIX: texts}))
        seeds = list(range(len(warmup)))
        writer.write(_warmup_request(signatures.SAMPLE, {name: warmup, signatures.SEED: seeds}))


def _warmup_request(signature: str, inputs: Mapping[str, Sequence[Asked] | Sequence[int]]) -> bytes:
    """One PredictionLog, as TensorFlow Serving replays it. The empty model name stands for the model being loaded."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        dtype = tf.int64 if name == signatures.SEED else tf.string
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(values), dtype))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return bytes(log.SerializeToString())
