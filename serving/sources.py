"""What a served model is asked with: texts or recordings, as its graph takes them in.

Texts       {text: ["fovea"]}        -> source ids [[9, 7, 12, 5, 4, 3]]
Recordings  {audio: [b"RIFF..."]}    -> frames [1, 214, 161], of which the model attends to every fourth
"""

from __future__ import annotations

import abc
import bisect
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from models.audio import Audio, recorded
from models.contract import AUDIO, PAD, SOURCE, Seq2Seq
from serving import pieces, signatures
from serving.card import SOURCE_PIECES
from serving.limits import pieces_of
from serving.search import Buckets
from serving.signatures import Asked

MOST_VALUES = 2**28  # of the recordings of a request, a gigabyte: at 16 kHz one of four hours and a half


class Source(tf.Module, abc.ABC):
    """How requests become what a model encodes.

    Attributes:
        input: the name that a request has for it.
        feature: the name that a raw row has for it.
        piece_files: SentencePiece models by name, for whoever has no graph to ask.
    """

    input: str
    feature: str
    piece_files: Mapping[str, bytes] = {}

    @abc.abstractmethod
    def read(self, asked: tf.Tensor) -> tf.Tensor:
        """String [n] -> as `Seq2Seq.source` says; INVALID_ARGUMENT for what is no such source, or too much of it."""

    @abc.abstractmethod
    def labels(self, source: tf.Tensor, model: Seq2Seq) -> tf.Tensor:
        """What attention looks at, for people: string [n, source], "" where there is nothing."""


class Texts(Source):
    """Texts, cut into pieces by the graph of the training."""

    input, feature = signatures.TEXT, SOURCE

    def __init__(self, source_ids: Callable[[tf.Tensor], tf.RaggedTensor], source_model: bytes, longest: int) -> None:
        """Args: the transform graph, text [n] -> ids [n, source]; its SentencePiece model; the most pieces of a text.

        (`decoding.max_source_length`.)
        """
        super().__init__()
        self._source_ids = source_ids
        self._tokenizer = pieces.tokenizer(source_model)
        self._longest = longest
        self.piece_files = {SOURCE_PIECES: source_model}

    def read(self, asked: tf.Tensor) -> tf.Tensor:
        return padded(pieces_of(asked, self._source_ids, self._longest, self.input))

    def labels(self, source: tf.Tensor, model: Seq2Seq) -> tf.Tensor:
        return tf.where(source == PAD, "", self._tokenizer.id_to_string(source))

    def fill_buckets(self, buckets: Buckets, asked: Sequence[Asked]) -> list[list[Asked]]:
        """Requests that go into every bucket of the compiled search, made of some texts."""
        whole = " ".join(text for text in asked if text and isinstance(text, str)) or "a"
        requests: list[list[Asked]] = []
        for length in buckets.lengths:
            while self._length(whole) < length:
                whole += " " + whole
            # The longest beginning that the bucket holds: more text has no fewer pieces.
            end = bisect.bisect_right(range(len(whole)), length, key=lambda end: self._length(whole[: end + 1]))
            requests += [[whole[:end].rstrip()] * rows for rows in buckets.rows]
        return requests

    def _length(self, text: str) -> int:
        """Pieces of a text, with END."""
        return int(self._source_ids(tf.constant([text])).row_lengths()[0])


class Recordings(Source):
    """WAV files of any rate, or files of features: see `models.audio.recorded`."""

    input, feature = signatures.AUDIO, AUDIO

    def __init__(self, audio: Audio) -> None:
        """Args: the section `audio`."""
        super().__init__()
        self.audio = audio

    def read(self, asked: tf.Tensor) -> tf.Tensor:
        return self.limited(self.frames(asked))

    def frames(self, asked: tf.Tensor) -> tf.Tensor:
        """The same for recordings of any length."""
        return with_columns(recorded.frames(asked, self.audio, MOST_VALUES))

    def limited(self, frames: tf.Tensor) -> tf.Tensor:
        """The frames, none of a recording that is too long."""
        lengths = tf.math.count_nonzero(frames[..., -1], axis=1, dtype=tf.int32)
        most = self.audio.frames(self.audio.max_seconds)
        message = f"too long: at most {most} frames, {self.audio.max_seconds:g} s (audio.max_seconds), got"
        with tf.control_dependencies([recorded.none(lengths, lengths > most, message)]):
            return tf.identity(frames)

    def labels(self, source: tf.Tensor, model: Seq2Seq) -> tf.Tensor:
        """When each position begins, in seconds: ["0.00", "0.04", ...]."""
        mask = model.source_mask(source)
        a_position_s = model.frames_per_position * self.audio.hop_ms / 1000
        seconds = tf.cast(tf.range(tf.shape(mask)[1]), tf.float32) * a_position_s
        return tf.where(mask, tf.strings.as_string(seconds, precision=2)[None], "")


def padded(ids: tf.RaggedTensor) -> tf.Tensor:
    """Ragged [n, length] -> int32 [n, length], PAD behind the shorter rows."""
    return with_columns(tf.cast(ids.to_tensor(PAD), tf.int32))


def with_columns(rows: tf.Tensor) -> tf.Tensor:
    """[n, length, ...]: of no rows there are no columns either, but no layer takes fewer than one."""
    missing = tf.cast(tf.shape(rows)[1] == 0, tf.int32)
    return tf.pad(rows, [[0, 0], [0, missing], *[[0, 0]] * (rows.shape.rank - 2)])
