"""Local attention with a monotonic alignment: Luong 2015."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import tensorflow as tf
from annotated_types import Gt

from models.attention import Attended, Attention, Keys, lengths, masked_softmax, mix, query_mask
from models.attention.general import General
from models.contract import Nest


@dataclasses.dataclass(frozen=True)
class Config:
    """How far the window reaches to either side of its centre: D."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    window: Annotated[int, Gt(0)] = 10


class LocalM(Attention):
    """General attention within [p - D, p + D], p = t: Luong 2015, section 3.2, "local-m".

    The t-th query looks around the t-th position. Its number is the state, so that every query of a target can ask at
    once: with a window of 1, queries 0, 1, 2 of a source of four positions look at 0-1, 0-2, 1-3.

    Our deviation: p = min(t, S - 1), S the length of the source. With p = t, a target more than D longer than its
    source would end in queries that see nothing; here the window stays at the source's end.
    """

    Config = Config

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        super().__init__(depth, value_depth, config, **kwargs)
        self.general = General(depth, value_depth, name="general")

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys(self.general.project_keys(values), values, mask)

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        return tf.tile(tf.range(queries)[None], [tf.shape(keys.values)[0], 1])

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        mask = query_mask(keys.mask)
        centre = tf.minimum(state, lengths(mask) - 1)  # [batch, query]
        distance = tf.abs(tf.range(tf.shape(mask)[-1]) - centre[..., None])
        weights = masked_softmax(self.general.score(query, keys.keys), mask & (distance <= self.config.window))
        return Attended(mix(weights, keys.values), weights, state + 1)
