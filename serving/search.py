"""How an exported model searches for its answers, and the shapes for which the search is compiled.

Search(model, Decoding(beam_size=5))(source [n, ...], answers=1) -> Hypotheses of the best answer of each row
"""

from __future__ import annotations

import dataclasses
import functools
import typing

import annotated_types
import tensorflow as tf

from models import beam, decoding
from models.constraints import NONE, Constraints
from models.contract import PAD, Seq2Seq
from models.decoding import Hypotheses
from models.walk import Leaving

Sizes: typing.TypeAlias = tuple[typing.Annotated[int, annotated_types.Ge(1)], ...]


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Shapes for which the search is compiled with XLA, which makes one program a shape.

    A request is padded to the smallest bucket that holds it, {rows: [1, 32], lengths: [16, 32]}: one text of 9 pieces
    to [1, 16], ten texts of at most 20 pieces to [32, 32]. One that no bucket holds is searched without XLA. The export
    brings a warm-up request for each bucket, so that a server has compiled them before it takes a request.

    Attributes:
        rows: of a request.
        lengths: pieces of a request's longest text, with END.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    rows: typing.Annotated[Sizes, annotated_types.MinLen(1)]
    lengths: typing.Annotated[Sizes, annotated_types.MinLen(1)]

    def __post_init__(self) -> None:
        """From small to large."""
        for name in ("rows", "lengths"):
            sizes = getattr(self, name)
            if list(sizes) != sorted(set(sizes)):
                raise ValueError(f"{name}: expected sizes from small to large, each once, got {list(sizes)}")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the signature `sample` draws, piece by piece: see `models.decoding.sample`.

    Attributes:
        temperature: below 1 likely pieces become likelier.
        top_k: only so many of the likeliest pieces; 0: all.
        top_p: only the likeliest pieces that have this probability together.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    temperature: typing.Annotated[float, annotated_types.Gt(0)] = 1.0
    top_k: typing.Annotated[int, annotated_types.Ge(0)] = 0
    top_p: typing.Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0


@dataclasses.dataclass(frozen=True)
class Decoding:
    """The `decoding` section: how the exported model searches.

    Attributes:
        max_source_length: a text of more pieces, with END, is refused (so are such answers that are given); what it
            would cost grows with the length, and for a Transformer with its square.
        beam_size: hypotheses kept a row, and the number of answers of the signature `n_best`.
        length_penalty: alpha of GNMT's length penalty (Wu 2016, eq. 14); 0 is none.
        max_length_ratio: an answer has at most this many pieces for each piece of the source (of a recording: for
            each position that attention has of it),
        max_length_offset: and this many more.
        min_length_ratio: an answer has at least this many, where the greatest length allows it.
        coverage_penalty: beta of GNMT's coverage penalty (the same equation), which is for a beam of 2 or more; 0 is
            none.
        sampling: how the signature `sample` draws.
        compiled: shapes for which the search is compiled; None: for none. TensorFlow Serving wants
            `--xla_cpu_compilation_enabled` for it, and the signature `without_xla` is there in any case.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    beam_size: typing.Annotated[int, annotated_types.Ge(1)] = 4
    length_penalty: typing.Annotated[float, annotated_types.Ge(0)] = 0.6
    max_length_ratio: typing.Annotated[float, annotated_types.Ge(0)] = 1.5
    max_length_offset: typing.Annotated[int, annotated_types.Ge(1)] = 10
    min_length_ratio: typing.Annotated[float, annotated_types.Ge(0)] = 0.0
    coverage_penalty: typing.Annotated[float, annotated_types.Ge(0)] = 0.0
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    compiled: Buckets | None = None
    max_source_length: typing.Annotated[int, annotated_types.Ge(2)] = 4096

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.coverage_penalty and self.beam_size == 1:
            wrong.append("coverage_penalty ranks the answers of a beam: expected a beam_size of 2 or more, got 1")
        if self.compiled and self.compiled.lengths[-1] > self.max_source_length:
            longest, limit = self.compiled.lengths[-1], self.max_source_length
            wrong.append(f"compiled.lengths: {longest} is more than max_source_length, {limit}, so no text has it")
        if wrong:
            raise ValueError("; ".join(wrong))

    def of(self, model: Seq2Seq) -> Decoding:
        """As they are for a model: a class is one piece, and its score is its log-probability."""
        if not model.one_piece:
            return self
        return _OfOnePiece(
            self.beam_size,
            length_penalty=0.0,
            sampling=self.sampling,
            compiled=self.compiled,
            max_source_length=self.max_source_length,
        )

    def constraints(self, lengths: tf.Tensor) -> Constraints:
        """What answers must be like, for sources of so many pieces with END: int [n]."""
        if not self.min_length_ratio:
            return NONE
        return Constraints(min_length=tf.cast(tf.cast(lengths, tf.float32) * self.min_length_ratio, tf.int32))

    def limits(self, lengths: tf.Tensor) -> tf.Tensor:
        """How many pieces an answer may have, for sources of so many with END: int [...] -> int32 [...]."""
        return tf.cast(tf.cast(lengths, tf.float32) * self.max_length_ratio, tf.int32) + self.max_length_offset


class _OfOnePiece(Decoding):
    """Answers are as long as classes are."""

    def constraints(self, lengths: tf.Tensor) -> Constraints:
        return Constraints(min_length=tf.ones_like(lengths, tf.int32))

    def limits(self, lengths: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(lengths, tf.int32)


class Search:
    """The searches of an exported model, parts of its graph."""

    def __init__(self, model: Seq2Seq, settings: Decoding) -> None:
        self._model, self._settings = model, settings
        self._compiled: dict[int, typing.Any] = {}

    def __call__(self, source: tf.Tensor, answers: int, compiled: bool = True) -> Hypotheses:
        """The best answers of each row, as `model.source` says -> tokens [n, answers, target], scores [n, answers].

        Args:
            source: pieces and END, PAD behind the shorter rows; or frames, which have no buckets.
            answers: how many a row, at most the beam; a search for fewer may stop earlier.
            compiled: where the settings have buckets, and one of them holds the source.
        """
        buckets = self._settings.compiled
        if not (compiled and buckets):
            return self._search(source, answers, leaving="any")
        rows, length = (
            _smallest(sizes, size)
            for sizes, size in zip((buckets.rows, buckets.lengths), tf.unstack(tf.shape(source)), strict=True)
        )
        return Hypotheses(
            *tf.cond(
                (rows > 0) & (length > 0),
                lambda: self._search_padded(source, rows, length, answers),
                lambda: self._search(source, answers, leaving="any"),
            )
        )

    def _search_padded(self, source: tf.Tensor, rows: tf.Tensor, length: tf.Tensor, answers: int) -> Hypotheses:
        """The same in a bucket; what fills it has no pieces, so its answers end at once."""
        if answers not in self._compiled:  # XLA knows the shapes when it is called, and compiles a program for each
            self._compiled[answers] = tf.function(
                functools.partial(self._search, answers=answers, leaving="halves"),
                input_signature=[tf.TensorSpec([None, None], tf.int32)],
                jit_compile=True,
                autograph=False,
            )
        sizes, half = tf.shape(source), (rows + 1) // 2
        room = tf.where(rows > 1, 2 * half, rows)
        padded = tf.pad(source, [[0, room - sizes[0]], [0, length - sizes[1]]])
        found = tf.cond(
            rows > 1, lambda: self._side_by_side(padded, half, answers), lambda: self._compiled[answers](padded)
        )
        return Hypotheses(*(part[: sizes[0]] for part in found))

    def _side_by_side(self, padded: tf.Tensor, half: tf.Tensor, answers: int) -> Hypotheses:
        """Half the rows beside the other half, in two thirds of the time of all of them at once.

        A program uses several processors badly, for its arrays are small; two programs have one each. Every other row
        is in the same half: both take as long where rows come sorted by length.
        """
        halves = [self._compiled[answers](part) for part in (padded[0::2], padded[1::2])]
        return Hypotheses(*(_in_turns(parts, 2 * half) for parts in zip(*halves, strict=True)))

    def complete(self, source: tf.Tensor, prefix: tf.Tensor) -> Hypotheses:
        """The best answer of each row that begins with some pieces: int32 [n, any], PAD behind the shorter ones.

        There is room for an answer behind a beginning of any length.
        """
        lengths = self._lengths(source)
        limits = self._settings.limits(lengths) + tf.math.count_nonzero(prefix != PAD, axis=1, dtype=tf.int32)
        constraints = self._settings.constraints(lengths)._replace(prefix=prefix)
        return self._beam_search(source, 1, limits, constraints, leaving="any")

    def sample(self, source: tf.Tensor, seeds: tf.Tensor) -> Hypotheses:
        """An answer of each row that is drawn: int32 [n, source] and [n]; the same one for the same seed."""
        settings, lengths = self._settings, self._lengths(source)
        return decoding.sample(
            self._model.step,
            self._model.start,
            self._model.encode(source),
            seeds=seeds,
            max_length=settings.limits(lengths),
            length_penalty=settings.length_penalty,
            constraints=settings.constraints(lengths),
            **dataclasses.asdict(settings.sampling),
        )

    def _search(self, source: tf.Tensor, answers: int, leaving: Leaving) -> Hypotheses:
        lengths = self._lengths(source)
        limits = tf.where(lengths > 0, self._settings.limits(lengths), 0)
        room = self._settings.limits(tf.shape(self._model.source_mask(source))[1])
        return self._beam_search(source, answers, limits, self._settings.constraints(lengths), leaving, room)

    def _beam_search(
        self,
        source: tf.Tensor,
        answers: int,
        limits: tf.Tensor,
        constraints: Constraints,
        leaving: Leaving,
        room: tf.Tensor | None = None,
    ) -> Hypotheses:
        return beam.beam_search(
            self._model.step,
            self._model.start,
            self._model.encode(source),
            batch_size=tf.shape(source)[0],
            beam_size=self._settings.beam_size,
            max_length=limits,
            room=room,
            length_penalty=self._settings.length_penalty,
            coverage_penalty=self._settings.coverage_penalty,
            source=self._model.source_mask(source),
            constraints=constraints,
            n_best=answers,
            leaving=leaving,
        )

    def _lengths(self, source: tf.Tensor) -> tf.Tensor:
        """How many positions attention has of each row: int32 [n]."""
        return tf.math.count_nonzero(self._model.source_mask(source), axis=1, dtype=tf.int32)


def _smallest(sizes: Sizes, size: tf.Tensor) -> tf.Tensor:
    """The smallest of ascending sizes that is at least `size`; 0 where none is: int32 []."""
    fits = tf.constant(sizes) >= size
    return tf.where(tf.reduce_any(fits), tf.gather(sizes, tf.argmax(fits)), 0)


def _in_turns(halves: tuple[tf.Tensor, tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """[a, c] and [b, d] -> [a, b, c, d]."""
    return tf.reshape(tf.stack(halves, axis=1), tf.concat([[rows], tf.shape(halves[0])[1:]], axis=0))
