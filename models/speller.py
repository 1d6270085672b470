"""What the families with a recurrent decoder share: attention over what an encoder left, and pieces out of it."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from models import attention, losses, output
from models.attention import Attention, Keys
from models.contract import PAD, Decoded, Seq2Seq
from models.layers import Dense, Embedding
from models.recurrent import CELLS, Layers
from models.recurrent_decoder import AttendAfter, AttendBefore, State

FEW_PIECES = 4096  # of which a table is kept: 12 MB of 768 gates


class Speller(Seq2Seq):
    """A model that attends and spells. A subclass makes its encoder and its embeddings, then calls `make_decoder`."""

    target_embedding: Embedding
    projected: tf.Variable | None = None  # see `freeze`: what `project` says of every piece

    def make_decoder(
        self,
        shape: Layers,
        mechanism: dict[str, Any] | str,
        values: int,
        summary: int | None,
        attend: Literal["before", "after"],
        input_feeding: bool,
        tied: output.Tied,
    ) -> None:
        """Make attention, decoder, bridge and the projection to the pieces.

        Args:
            shape: of the decoder's layers.
            mechanism: a section of `models/attention`.
            values: depth of what is attended to.
            summary: depth of what the first state is made of; None: it is zeros.
            attend: before a step or after it.
            input_feeding: see `AttendAfter`.
            tied: see `models/output.py`.
        """
        embedding = self.target_embedding.output_dim
        depth = shape.units if tied == "none" else embedding
        built = attention.build(mechanism, shape.units, values, name="attention")
        self.decoder = (
            AttendBefore(shape, built, embedding, depth)
            if attend == "before"
            else AttendAfter(shape, built, embedding, depth, input_feeding)
        )
        # A state a layer, each of as many parts as the cell has.
        self.layout = (shape.layers, CELLS[shape.cell].parts)
        self.state_depth = shape.layers * self.layout[1] * shape.units
        self.bridge = None if summary is None else Dense(summary, self.state_depth, "tanh", name="bridge")
        self.output_logits = output.logits(self.target_embedding, depth, tied)

    def first_state(self, keys: Keys, summary: tf.Tensor) -> State:
        """The decoder's state before its first piece, from where both directions of the encoder end, or zeros."""
        # Bahdanau 2015, A.2.2: s_0 = tanh(W h); here h is where both directions end, not the backward one alone.
        layers, parts = self.layout
        if self.bridge:
            first = self.bridge(summary)
        else:
            first = tf.zeros([tf.shape(summary)[0], self.state_depth], summary.dtype)
        flat = tf.split(first, layers * parts, axis=-1)
        cells = tuple(tuple(flat[n * parts : (n + 1) * parts]) for n in range(layers))
        return self.decoder.start(cells, keys)

    def project(self, tokens: tf.Tensor) -> tf.Tensor:
        """What pieces give to the gates of the decoder's lowest cell: int32 [batch, beam] -> [..., gates * units]."""
        if self.projected is not None:
            return tf.gather(self.projected, tokens)
        return self.decoder.bottom.project(self.target_embedding(tokens))

    def freeze(self) -> list[tf.Variable]:
        """Of few pieces a table of what they give to the gates: a third of a GRU's step less to compute."""
        frozen = self.output_logits.freeze()
        pieces = self.target_embedding.input_dim
        if pieces <= FEW_PIECES:
            self.projected = None
            self.projected = tf.Variable(self.project(tf.range(pieces)), trainable=False, name="projected")
            frozen.append(self.projected)
        return frozen

    def auxiliary_loss(self, decoded: Decoded, target_ids: tf.Tensor) -> tf.Tensor:
        """What the mechanism asks for."""
        likelihood = losses.log_likelihood(target_ids, decoded.logits)
        mechanism: Attention = self.decoder.attention
        return mechanism.loss(decoded.attention, decoded.log_choice, likelihood, target_ids != PAD)
