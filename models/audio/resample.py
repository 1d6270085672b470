"""Waveforms at another sample rate: a windowed sinc (Smith, "Digital Audio Resampling", eq. 6), in the graph.

    y(m) = sum_k x(k) h(m down / up - k)        up = to / gcd, down = from / gcd
    h(d) = c sinc(c d) blackman(d c / ZEROS)    c = CUTOFF min(1, up / down), d in samples of x

Below 0.91 of the lower Nyquist frequency a sine comes back within 2e-4, above that frequency nothing comes back
beyond 2e-4 (-74 dB, the Blackman window's). Beyond both ends there is silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import tensorflow as tf

Read: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (first, count), int64 [] -> float32 [..., count]

ZEROS = 64  # of the sinc, on each side
# Half of the way from where the filter lets all pass to where it lets nothing, 5.5 / (2 ZEROS) of a sample rate for a
# Blackman window, ends at the Nyquist frequency.
CUTOFF = 1 - 5.5 / (2 * ZEROS)
BLOCK = 2**20  # samples that are held at a time
LARGEST_TABLE = 2**24  # floats


class _Filter(NamedTuple):
    """All int64 [], but for the scale."""

    up: tf.Tensor
    down: tf.Tensor
    scale: tf.Tensor  # float32 [], c above
    reach: tf.Tensor  # samples that count, on each side


def resample(samples: tf.Tensor, from_hz: int | tf.Tensor, to_hz: int | tf.Tensor) -> tf.Tensor:
    """float32 [..., n] -> float32 [..., m], m = ceil(n to_hz / from_hz), of any two whole rates of at least 1.

    Only their ratio matters: `resample(samples, 9, 10)` is played at the same rate at a speed of 0.9.
    """
    length = tf.shape(samples, tf.int64)[-1]
    return resample_from(lambda first, count: samples[..., first : first + count], length, from_hz, to_hz)


def resample_from(read: Read, length: tf.Tensor, from_hz: int | tf.Tensor, to_hz: int | tf.Tensor) -> tf.Tensor:
    """`resample` of what `read` gives, `length` samples, int64 [], of which it is asked for some seconds at a time."""
    shape = _filter(from_hz, to_hz)
    total = -(-length * shape.up // shape.down)
    period = _period(shape)
    # Rates without a common divisor repeat their phases after seconds: the table of one period would be too large.
    has_table = 2 * period * shape.down * period * shape.up <= LARGEST_TABLE
    return tf.cond(
        tf.equal(shape.up, shape.down),
        lambda: read(tf.zeros([], tf.int64), length),
        lambda: tf.cond(
            has_table, lambda: _by_table(read, length, total, shape), lambda: _by_formula(read, length, total, shape)
        ),
    )


def _filter(from_hz: int | tf.Tensor, to_hz: int | tf.Tensor) -> _Filter:
    from_hz, to_hz = tf.cast(from_hz, tf.int64), tf.cast(to_hz, tf.int64)
    divisor, _ = tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (from_hz, to_hz))  # Euclid
    up, down = to_hz // divisor, from_hz // divisor
    scale = CUTOFF * tf.minimum(1.0, tf.cast(up, tf.float32) / tf.cast(down, tf.float32))
    return _Filter(up, down, scale, tf.cast(tf.math.ceil(ZEROS / scale), tf.int64))


def _weights(distance: tf.Tensor, shape: _Filter) -> tf.Tensor:
    """h(distance), float32 of any shape."""
    angle = math.pi * shape.scale * distance
    sinc = tf.where(tf.equal(angle, 0), 1.0, tf.math.divide_no_nan(tf.sin(angle), angle))
    cosine = tf.cos(tf.clip_by_value(angle / ZEROS, -math.pi, math.pi))
    # 0.42 + 0.5 cos(a) + 0.08 cos(2 a), where cos(2 a) is 2 cos(a)^2 - 1
    return shape.scale * sinc * (0.34 + cosine * (0.5 + 0.16 * cosine))


def _period(shape: _Filter) -> tf.Tensor:
    """So many times `up` outputs are computed by one table: that their `down` inputs are as many as the taps."""
    return -(-2 * shape.reach // shape.down)


def _by_table(read: Read, length: tf.Tensor, total: tf.Tensor, shape: _Filter) -> tf.Tensor:
    """Polyphase: the weights repeat after every `down` inputs, and so do several of these.

    Rows of `down` inputs, the first of them beginning `reach` before its outputs, are as long as what counts on both
    sides: the outputs of a row are a product of it and the row after it with a table, [2 down, up].
    """
    period = _period(shape)
    up, down = period * shape.up, period * shape.down
    inputs, outputs = tf.range(2 * down)[:, tf.newaxis] - shape.reach, tf.range(up)
    distance = tf.cast(outputs * shape.down - inputs * shape.up, tf.float32) / tf.cast(shape.up, tf.float32)
    table = _weights(distance, shape)
    rows = tf.minimum(tf.maximum(BLOCK // down, 1), -(-total // up))

    def compute(first: tf.Tensor) -> tf.Tensor:
        block = _read_padded(read, length, first // up * down - shape.reach, (rows + 1) * down)
        leading = tf.shape(block, tf.int64)[:-1]
        block = tf.reshape(block, tf.concat([leading, [rows + 1, down]], 0))
        products = _multiply(block[..., :-1, :], table[:down]) + _multiply(block[..., 1:, :], table[down:])
        return tf.reshape(products, tf.concat([leading, [rows * up]], 0))

    return _in_blocks(compute, rows * up, total)


def _by_formula(read: Read, length: tf.Tensor, total: tf.Tensor, shape: _Filter) -> tf.Tensor:
    """The weights of every output are computed for it alone."""
    size = tf.minimum(tf.maximum(BLOCK // (2 * shape.reach + 1), 1), total)
    offsets = tf.range(-shape.reach, shape.reach + 1)

    def compute(first: tf.Tensor) -> tf.Tensor:
        times = (first + tf.range(size)) * shape.down  # in samples of x times `up`
        centers = times // shape.up
        fractions = tf.cast(times % shape.up, tf.float32) / tf.cast(shape.up, tf.float32)
        weights = _weights(fractions[:, tf.newaxis] - tf.cast(offsets, tf.float32), shape)
        begin = centers[0] - shape.reach
        block = _read_padded(read, length, begin, centers[-1] + shape.reach + 1 - begin)
        taps = tf.gather(block, centers[:, tf.newaxis] + offsets - begin, axis=-1)  # [..., size, taps]
        return tf.reduce_sum(taps * weights, -1)

    return _in_blocks(compute, size, total)


def _in_blocks(compute: Callable[[tf.Tensor], tf.Tensor], size: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """compute(first output) -> float32 [..., size], block after block -> [..., total]."""
    blocks = tf.maximum(-(-total // tf.maximum(size, 1)), 1)
    array = tf.TensorArray(tf.float32, tf.cast(blocks, tf.int32))
    _, array = tf.while_loop(
        lambda block, _: block < blocks,
        lambda block, array: (block + 1, array.write(tf.cast(block, tf.int32), compute(block * size))),
        (tf.zeros([], tf.int64), array),
        parallel_iterations=1,
    )
    stacked = array.stack()  # [blocks, ..., size]
    rank = tf.rank(stacked)
    stacked = tf.transpose(stacked, tf.concat([tf.range(1, rank - 1), [0], [rank - 1]], 0))  # [..., blocks, size]
    leading = tf.shape(stacked, tf.int64)[:-2]
    return tf.reshape(stacked, tf.concat([leading, [blocks * size]], 0))[..., :total]


def _read_padded(read: Read, length: tf.Tensor, begin: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """[..., count] from `begin` on, which may be before the first sample; 0 where there is none."""
    start, stop = (tf.clip_by_value(edge, 0, length) for edge in (begin, begin + count))
    block = read(start, stop - start)
    before = tf.maximum(-begin, 0)
    after = count - before - (stop - start)
    others = tf.zeros([tf.rank(block) - 1, 2], tf.int64)
    return tf.pad(block, tf.concat([others, [[before, after]]], 0))


def _multiply(rows: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """[..., depth] by [depth, units] -> [..., units], as one product of matrices."""
    shape = tf.shape(rows)
    return tf.reshape(
        tf.matmul(tf.reshape(rows, [-1, shape[-1]]), table), tf.concat([shape[:-1], tf.shape(table)[1:]], 0)
    )
