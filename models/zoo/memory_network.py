"""The end-to-end memory network (Sukhbaatar 2015): attention that is asked several times before a piece is said.

A row: source ids [[5, 9, 3]], decoder ids [[2, 7]] -> logits [1, 2, target vocabulary], attention [1, 2, 3].

In the paper a memory is a sentence of a story. Here it is a piece with those before it (`Window`), so that nobody has
to say what a sentence is, and the question is a part of the source, which a hop has to find. An answer of several
pieces is said one by one: what asks first is the pieces said so far. There is no recurrence: a step is a few products.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, NamedTuple

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from models import output
from models.attention import Keys
from models.attention.scaled_dot import ScaledDot
from models.contract import DECODER_IDS, PAD, SOURCE_IDS, Decoded, Length, Seq2Seq, Step
from models.layers import Dense, Dropout

# A unit of time, in pieces: about a short sentence.
_TIME = 8.0


@dataclasses.dataclass(frozen=True)
class Config:
    """The shape of the model.

    Attributes:
        units: of a piece, a memory and a question.
        hops: how often the memories are asked for a piece.
        window: how many pieces a memory is made of, and the first question.
        dropout: of embeddings, memories and questions.
        tie_embeddings: see `models/output.py`; "all" is for shared pieces.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    reads: ClassVar[frozenset[str]] = frozenset({"text"})

    units: Annotated[int, Gt(0)] = 128
    hops: Annotated[int, Gt(0)] = 3
    window: Annotated[int, Gt(0)] = 8
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    tie_embeddings: output.Tied = "none"

    def check(self) -> None:
        """Nothing is left to say."""

    @property
    def shared_pieces(self) -> bool:
        """Whether source and target must be made of the same pieces."""
        return self.tie_embeddings == "all"


class Window(keras.layers.Layer):
    """Sukhbaatar 2015, section 4.1, "position encoding": m_i = sum_k l_k * x_{i-k}, * by element, over `width` pieces.

    The paper's l is a fixed pattern over a sentence. Ours is learned and counts backwards from the last piece, so that
    it needs no ends of sentences. Half of the units start as a bag of words, in which the same word counts the same
    wherever it stands: what a question and a memory have in common is seen at once. The others start knowing the order.
    """

    def __init__(self, depth: int, width: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.pattern = self.add_weight(shape=(width, depth), initializer=_half_a_bag, name="pattern")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[batch, time, depth] -> [batch, time, depth]; before the first piece there is nothing."""
        length, pattern = tf.shape(inputs)[1], tf.cast(self.pattern, self.compute_dtype)
        padded = tf.pad(inputs, [[0, 0], [self.width - 1, 0], [0, 0]])
        shifted = (padded[:, self.width - 1 - back :][:, :length] for back in range(self.width))
        return tf.add_n([part * weights for part, weights in zip(shifted, tf.unstack(pattern), strict=True)])

    def step(self, past: tf.Tensor, now: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One piece more: [..., width - 1, depth], the latest last, and [..., depth] -> (as `call`, the next past)."""
        pieces = tf.concat([past, now[..., None, :]], axis=-2)
        pattern = tf.reverse(tf.cast(self.pattern, self.compute_dtype), [0])
        return tf.reduce_sum(pieces * pattern, axis=-2), pieces[..., 1:, :]


def _half_a_bag(shape: tuple[int, int], dtype: str) -> tf.Tensor:
    """Where a pattern starts, float32 [width, depth]: ones and N(0, 1), and sums that are no larger for more pieces."""
    width, depth = shape
    order = keras.random.normal([width, depth - depth // 2], dtype=dtype)
    return tf.concat([tf.ones([width, depth // 2], dtype), order], axis=-1) * width**-0.5


class Memory(NamedTuple):
    """The source, read once: the memories as attention takes them."""

    keys: Keys


class State(NamedTuple):
    """A decoder between two steps: embeddings of the pieces before, [batch, ...], in decoding [batch, beam, ...]."""

    past: tf.Tensor  # [batch, window - 1, units]


class MemoryNetwork(Seq2Seq):
    """Memories, questions, the attention between them, and the projection of the last question to the pieces."""

    def __init__(self, config: Config, source: int, target_vocabulary: int) -> None:
        super().__init__(name="memory_network")
        units = config.units
        self.hops, self.window, self.units = config.hops, config.window, units
        self.source_embedding, self.target_embedding = output.embeddings(
            source, target_vocabulary, units, config.tie_embeddings, scaled=True
        )
        self.memories = Window(units, config.window, name="memories")
        self.questions = Window(units, config.window, name="questions")
        start = keras.initializers.RandomNormal(stddev=0.1)
        self.time = self.add_weight(shape=(units,), initializer=start, name="time")
        # Every hop has the same weights (section 2.2, "layer-wise"). They start as the identity: question and memory
        # are then compared as they are, as with the paper's embeddings of questions that are those of memories (A = B).
        self.attention = ScaledDot(units, units, name="attention")
        self.ask, self.take, self.carry = (
            Dense(units, units, use_bias=name == "carry", kernel_initializer="identity", name=name)
            for name in ("ask", "take", "carry")
        )
        self.output_logits = output.logits(self.target_embedding, units, config.tie_embeddings)
        self.dropout = Dropout(config.dropout)
        self.built = True

    def encode(self, source: tf.Tensor, training: bool = False) -> Memory:
        embedded = self.dropout(self.source_embedding(source), training=training)
        memories = self.dropout(self.memories(embedded), training=training)
        # Section 4.1, "temporal encoding": m_i + T(i), with a straight line T in place of a row a sentence. How near is
        # then a score of its own kind, which a question may weigh, and as good beyond the lengths of the training.
        time = tf.cast(tf.range(tf.shape(source)[1]), tf.float32)[:, None] / _TIME  # bfloat16 cannot count beyond 256
        memories += tf.cast(time * tf.cast(self.time, tf.float32), memories.dtype)
        return Memory(self.attention.prepare(memories, tf.not_equal(source, PAD)))

    def start(self, memory: Memory, length: Length) -> State:
        values = memory.keys.values
        return State(tf.zeros([tf.shape(values)[0], self.window - 1, self.units], values.dtype))

    def step(self, tokens: tf.Tensor, state: State, memory: Memory) -> Step:
        question, past = self.questions.step(state.past, self.target_embedding(tokens))
        answer, weights = self._hop(question, memory)
        return Step(self.output_logits(answer), weights, State(past))

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Decoded:
        memory = self.encode(inputs[SOURCE_IDS], training=training)
        embedded = self.dropout(self.target_embedding(inputs[DECODER_IDS]), training=training)
        answer, weights = self._hop(self.questions(embedded), memory, training)
        return Decoded(self.output_logits(answer), weights)

    def freeze(self) -> list[tf.Variable]:
        return self.output_logits.freeze()

    def _hop(self, question: tf.Tensor, memory: Memory, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """[batch, query, units] -> (the last question, of the same shape, and where it came from)."""
        question = self.dropout(question, training=training)
        for _ in range(self.hops):
            # Section 2.2: u^{k+1} = H u^k + o^k, with o^k = sum_i p_i c_i, c_i = C m_i (eq. 2) and p from eq. 1.
            attended = self.attention(self.ask(question), memory.keys)
            question = self.dropout(self.carry(question) + self.take(attended.context), training=training)
        return question, attended.weights


def build(config: Config, source: int, target_vocabulary: int) -> MemoryNetwork:
    """The model of a config, with all its weights made."""
    return MemoryNetwork(config, source, target_vocabulary)
