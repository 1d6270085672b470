"""Attention mechanisms, found by file name: a query looks at the keys and takes away a weighted mean of the values.

One row, a query that agrees with the second of three keys, the third of which is padding::

    query [[4., 0.]], values [[0., 1.], [1., 0.], [7., 7.]], mask [True, True, False]
    -> weights [[0.02, 0.98, 0.]], context [[0.98, 0.02]]

`attention: location` in a config is the class in `models/attention/location.py`. To add a mechanism is to add a file
with one class, a subclass of `Attention`. Where it has options, its `Config` is a frozen dataclass of them::

    attention: {name: local_m, window: 5}
"""

from __future__ import annotations

import abc
import dataclasses
import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import keras
import tensorflow as tf

from models.contract import Nest

# The score of a position that must not be attended: finite, so that a row without any key gives zeros and not NaN.
_NEVER = -1e30


class Keys(NamedTuple):
    """What is attended to, prepared once for every query that will come."""

    keys: Nest  # leaves [batch, ...], what a query is scored against
    values: tf.Tensor  # [batch, source, value_depth], what the context is made of
    mask: tf.Tensor  # bool [batch, source] or, a row a query, [batch or 1, query, source]; True = attend


class Attended(NamedTuple):
    """What a query takes away."""

    context: tf.Tensor  # [batch, query, value_depth]
    weights: tf.Tensor  # float32 [batch, query, source], rows sum to 1, to less where it looks at nothing
    state: Nest = ()  # leaves [batch, query, ...], for the query that comes next
    log_choice: tf.Tensor | None = None  # float32 [batch, query], log-probability of a position, where one was drawn


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """A mechanism with nothing to choose."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


def masked_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the last axis where the mask (bool, broadcast to the scores) is True, zero elsewhere; in float32."""
    weights = tf.nn.softmax(tf.where(mask, tf.cast(scores, tf.float32), _NEVER))
    return tf.where(mask, weights, 0.0)


def query_mask(mask: tf.Tensor) -> tf.Tensor:
    """A mask of Keys as it broadcasts to scores: bool [batch, 1 or query, source]."""
    return mask if mask.shape.rank == 3 else mask[:, None, :]


def lengths(mask: tf.Tensor) -> tf.Tensor:
    """How far the positions to attend to reach: bool [..., source] -> int32 [...]; [[True, True, False]] -> [2]."""
    return tf.reduce_max(tf.where(mask, tf.range(1, tf.shape(mask)[-1] + 1), 0), axis=-1)


def mix(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The weighted mean: float32 [batch, query, source], [batch, source, depth] -> [batch, query, depth]."""
    return tf.matmul(tf.cast(weights, values.dtype), values)


def every_pair(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Their sums: [batch, query, depth], [batch, source, depth] -> [batch, query, source, depth].

    tf.expand_dims because queries[:, :, None] is a slice, whose gradient fills a tensor with zeros first.
    """
    return tf.expand_dims(queries, 2) + tf.expand_dims(keys, 1)


def no_weights(mask: tf.Tensor) -> tf.Tensor:
    """The weights before the first query, where nothing was looked at yet: zeros, float32 [batch, 1, source]."""
    return tf.zeros_like(query_mask(mask)[:, :1], tf.float32)


def require_equal_depths(name: str, depth: int, value_depth: int, otherwise: str) -> None:
    """Raise ValueError for a mechanism without weights of its own between a query and a value of other depths."""
    if depth != value_depth:
        raise ValueError(
            f"{name} attention compares queries and values as they are: their depths must be equal, "
            f"got {depth} and {value_depth}; {otherwise} attention takes any"
        )


class Attention(keras.layers.Layer, abc.ABC):
    """One mechanism: query, keys, values, mask and state in; context, weights and state out.

    The query axis is time in training and the beam in decoding. `depth` is that of the queries and of the space in
    which they are scored, `value_depth` that of the values.
    """

    Config: ClassVar[type] = NoOptions
    recurrent: ClassVar[bool] = False  # its weights depend on those of the query before: asked one query at a time
    mixes_values: ClassVar[bool] = True  # its context is `mix(weights, keys.values)`: all that it does with them

    def __init__(self, depth: int, value_depth: int, config: Any = None, **kwargs: Any) -> None:
        # Keras would cast a state, which is float32, to the compute dtype on its way in.
        super().__init__(autocast=False, **kwargs)
        self.depth = depth
        self.value_depth = value_depth
        self.config = config or self.Config()
        self.built = True  # every weight is made in a constructor

    @abc.abstractmethod
    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        """Do once what depends on no query: values [batch, source, value_depth], mask as in Keys -> Keys."""

    def begin(self, keys: Keys, queries: int | tf.Tensor = 1) -> Nest:
        """The state before each of so many queries in a row, leaves [batch, queries, ...].

        A recurrent mechanism knows only that of the first: `queries` is 1.
        """
        return ()

    @abc.abstractmethod
    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        """[batch, query, depth] -> Attended; `state` as `begin` or the query before gave it."""

    def loss(
        self, weights: tf.Tensor, log_choice: tf.Tensor | None, log_likelihood: tf.Tensor, real: tf.Tensor
    ) -> tf.Tensor:
        """What training adds to the cross-entropy for the mechanism's sake, summed over the pieces: float32 [].

        Args:
            weights: of all steps, float32 [batch, target, source].
            log_choice: as in Attended, float32 [batch, target].
            log_likelihood: of the right pieces, float32 [batch, target].
            real: bool [batch, target], False where the target is padding.
        """
        return tf.zeros([])


class Scored(Attention):
    """A mechanism that is a score: softmax over the scores, weighted mean. A subclass says how a query is scored."""

    def prepare(self, values: tf.Tensor, mask: tf.Tensor) -> Keys:
        return Keys(self.project_keys(values), values, mask)

    @abc.abstractmethod
    def project_keys(self, values: tf.Tensor) -> tf.Tensor:
        """[batch, source, value_depth] -> what `score` takes as its keys, [batch, source, depth]."""

    @abc.abstractmethod
    def score(self, query: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """[batch, query, depth] and [batch, source, depth] -> [batch, query, source], any real number."""

    def call(self, query: tf.Tensor, keys: Keys, state: Nest = (), training: bool = False) -> Attended:
        weights = masked_softmax(self.score(query, keys.keys), query_mask(keys.mask))
        return Attended(mix(weights, keys.values), weights)


def names() -> list[str]:
    """The mechanisms there are: ["additive", "concat", ...]."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> type[Attention]:
    """The class of a mechanism: "local_m" -> models.attention.local_m.LocalM."""
    known = names()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ValueError(f"unknown attention {name!r}: expected one of {', '.join(known)}; nearest: {nearest[0]!r}")
    module = importlib.import_module(f"{__name__}.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Attention) and value.__module__ == module.__name__
    )
    return found


def named(section: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a config says of a mechanism, apart: {"name": "local_m", "window": 5} -> ("local_m", {"window": 5})."""
    options = {"name": section} if isinstance(section, str) else dict(section)
    if not isinstance(options.get("name"), str):
        raise ValueError(f"attention needs a name: expected one of {', '.join(names())}, got {section!r}")
    return options.pop("name"), options


def build(section: str | Mapping[str, Any], depth: int, value_depth: int, **kwargs: Any) -> Attention:
    """The mechanism of a config: "dot", or {"name": "local_m", "window": 5}."""
    name, options = named(section)
    mechanism = find(name)
    return mechanism(depth, value_depth, mechanism.Config(**options), **kwargs)
