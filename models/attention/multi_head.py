"""Multi-head attention: Vaswani 2017."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Gt

from models.attention import Attended, Attention, Keys, masked_softmax, query_mask
from models.contract import Nest
from models.layers import Dense


@dataclasses.dataclass(frozen=True)
class Config:
    """The heads share the depth of the queries."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    heads: Annotated[int, Gt(0)] = 4


class MultiHead(Attention):
    """Scaled dot attention in `heads` subspaces at once, [head_1; ...; head_h] W: Vaswani 2017, section 3.2.2.

    Across (a decoder's queries, an encoder's values) or within a sequence (queries and values are the same). What may
    look where is the mask's: causal attention of three positions is `mask` [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]] as
    bool, [batch, query, source]. The weights it reports are the mean over the heads.
    """

    Config = Config
    mixes_values = False  # but those of its heads

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.heads: int = self.config.heads
        if depth % self.heads:
            raise ValueError(
                f"the heads of multi_head attention share its depth, which must be a multiple of their number: "
                f"got depth {depth} and {self.heads} heads"
            )
        self.queries = Dense(depth, depth, use_bias=False, name="queries")
        self.keys = Dense(value_depth, depth, use_bias=False, name="keys")
        self.values = Dense(value_depth, depth, use_bias=False, name="values")
        self.contexts = Dense(depth, value_depth, use_bias=False, name="contexts")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        # What is projected and split into heads is [batch, head, source, depth / heads].
        return Keys((self._split(self.keys(values)), self._split(self.values(values))), values, mask)

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        queries = self._split(self.queries(query)) * (self.depth // self.heads) ** -0.5
        projected, values = keys.keys  # [batch, head, source, depth / heads]
        scores = tf.matmul(queries, projected, transpose_b=True)  # [batch, head, query, source]
        weights = masked_softmax(scores, query_mask(keys.mask)[:, None])
        context = tf.matmul(tf.cast(weights, values.dtype), values)
        return Attended(self._join(context, query), tf.reduce_mean(weights, axis=1))

    def look_back(self, query: tf.Tensor, past: Keys, here: Keys) -> tf.Tensor:
        """The context of one query, [batch, 1, depth], that looks at the past and at where it is itself.

        As `call` with the two side by side, which would be a copy of all that was said.
        """
        queries = self._split(self.queries(query)) * (self.depth // self.heads) ** -0.5
        scores = [tf.matmul(queries, each.keys[0], transpose_b=True) for each in (past, here)]
        masks = [query_mask(each.mask)[:, None] for each in (past, here)]
        weights = masked_softmax(tf.concat(scores, axis=-1), tf.concat(masks, axis=-1))
        weights = tf.cast(weights, query.dtype)
        context = tf.matmul(weights[..., :-1], past.keys[1]) + weights[..., -1:] * here.keys[1]
        return self._join(context, query)

    def _join(self, context: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """The heads side by side, projected: [batch, head, query, depth / heads] -> [batch, query, value depth]."""
        return self.contexts(tf.reshape(tf.transpose(context, [0, 2, 1, 3]), tf.shape(query)))

    def _split(self, inputs: tf.Tensor) -> tf.Tensor:
        """[batch, time, depth] -> [batch, head, time, depth / heads]."""
        batch, time = tf.unstack(tf.shape(inputs)[:2])
        heads = tf.reshape(inputs, [batch, time, self.heads, self.depth // self.heads])
        return tf.transpose(heads, [0, 2, 1, 3])
