"""Loops over time: of any step, and of a cell's, in training with a gradient of its own.

What TensorFlow makes of a cell's loop keeps all that a step computes, and adds to the gradient of the recurrent kernel
at every step: as many numbers as the kernel has. Here the states alone are kept, the gradient computes a step again
from them, and that of the kernel is one product over all steps. A training step of three bidirectional LSTM layers (320
units, 16 recordings of 6 s, two cores) took 449 ms as TensorFlow has it, and takes 314.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from models.contract import Nest
from models.layers import multiply
from models.states import keep_shapes

Tensors: TypeAlias = tuple[tf.Tensor, ...]
State: TypeAlias = Tensors  # leaves [rows, units] or [batch, beam, units]; the first is the output
# (gates from the inputs, gates from the output, state, small weights) -> the next state.
Rule = Callable[[tf.Tensor, tf.Tensor, State, Tensors], State]
Backward = Callable[..., Nest]


def loop(
    step: Callable[[tf.Tensor, Nest], tuple[Tensors, Nest]],
    steps: tf.Tensor,
    state: Nest,
    outputs: tuple[tf.TensorSpec, ...],
    reverse: bool = False,
) -> tuple[Tensors, Nest]:
    """Run `step(time, state) -> (outputs, state)` at every time -> (outputs [time, ...], stacked; the last state)."""
    written = tuple(tf.TensorArray(spec.dtype, steps, element_shape=spec.shape) for spec in outputs)

    def body(done: tf.Tensor, state: Nest, written: tuple[tf.TensorArray, ...]) -> tuple[tf.Tensor, Nest, Nest]:
        time = steps - 1 - done if reverse else done
        here, after = step(time, state)
        arrays = tuple(array.write(time, part) for array, part in zip(written, here, strict=True))
        return done + 1, keep_shapes(after, state), arrays

    _, state, written = tf.while_loop(
        lambda done, *_: done < steps, body, (0, state, written), maximum_iterations=steps
    )
    return tuple(array.stack() for array in written), state


def scan(
    step: Callable[[Tensors, Nest], tuple[Tensors, Nest]],
    inputs: Tensors,
    state: Nest,
    outputs: tuple[tf.TensorSpec, ...],
) -> tuple[Tensors, Nest]:
    """Run `step(inputs of a time, state) -> (outputs, state)` over the first axis -> (outputs, stacked; last state).

    Inputs [time, ...] -> outputs [time, ...], each time's as its spec says. The time may be unknown until the graph
    runs.
    """
    steps = tf.shape(inputs[0])[0]
    arrays = [tf.TensorArray(x.dtype, steps, element_shape=x.shape[1:]).unstack(x) for x in inputs]
    return loop(lambda time, state: step(tuple(array.read(time) for array in arrays), state), steps, state, outputs)


@dataclasses.dataclass(frozen=True)
class Recurrence:
    """What `recur` does at a step.

    Attributes:
        rule: the next state. All it reads is given to it, for a gradient of it is wanted.
        kernel: [units, gates * units].
        small: other weights that the rule reads, of a size that is nothing beside the kernel's.
        adds: the rule reads nothing but the sum of the gates from the inputs and of those from the output.
    """

    rule: Rule
    kernel: tf.Tensor
    small: Tensors
    adds: bool


def recur(
    each: Recurrence,
    projected: tf.Tensor,
    state: State,
    mask: tf.Tensor | None = None,
    reverse: bool = False,
    training: bool = False,
) -> tuple[tf.Tensor, State]:
    """A recurrence over a sequence -> (outputs [time, batch, units], the last state).

    Args:
        each: step.
        projected: the gates from the inputs, [time, batch, gates * units].
        state: before the first step, leaves [batch, units].
        mask: bool [time, batch]; where it is False the state stays what it was.
        reverse: from the last time to the first.
        training: have the gradient above. TensorFlow keeps a graph for good in which it was asked for one, so what is
            not trained does without, and has TensorFlow's own.
    """
    specs = tuple(tf.TensorSpec(part.shape, part.dtype) for part in state)
    # As many as the state has: TensorFlow's choice is three times as fast if it need not broadcast.
    real = None if mask is None else tf.tile(mask[:, :, None], [1, 1, each.kernel.shape[0]])

    def run(projected: tf.Tensor, kernel: tf.Tensor, state: State, small: Tensors, kept: int) -> tuple[Tensors, State]:
        def step(time: tf.Tensor, state: State) -> tuple[State, State]:
            after = each.rule(projected[time], tf.matmul(state[0], kernel), state, small)
            after = _choose(real, time, after, state)
            return after[:kept], after

        return loop(step, tf.shape(projected)[0], state, specs[:kept], reverse)

    @tf.custom_gradient
    def states(projected: tf.Tensor, kernel: tf.Tensor, state: State, small: Tensors) -> tuple[Nest, Backward]:
        after, last = run(projected, kernel, state, small, len(state))

        def gradient(of_outputs: tf.Tensor, *of_last: tf.Tensor) -> Nest:
            now = dataclasses.replace(each, kernel=kernel, small=small)
            before = tuple(_shift(first, parts, reverse) for first, parts in zip(state, after, strict=True))
            return _gradient(now, projected, before, real, of_outputs, of_last, reverse)

        return (after[0], *last), gradient

    given = (projected, each.kernel, state, each.small)
    if not training:
        (outputs,), last = run(*given, 1)
        return outputs, last
    outputs, *last = states(*given)
    return outputs, tuple(last)


def _choose(real: tf.Tensor | None, time: tf.Tensor, here: Tensors, padding: Tensors) -> Tensors:
    """The one at the real rows of a time, the other at its padded ones."""
    if real is None:
        return here
    now = real[time]
    return tuple(tf.where(now, one, other) for one, other in zip(here, padding, strict=True))


def _shift(first: tf.Tensor, after: tf.Tensor, reverse: bool) -> tf.Tensor:
    """The state before every step: the first one, [batch, units], and those after the other steps, [time, ...]."""
    return tf.concat([after[1:], first[None]] if reverse else [first[None], after[:-1]], axis=0)


def _gradient(
    each: Recurrence,
    projected: tf.Tensor,
    before: State,
    real: tf.Tensor | None,
    of_outputs: tf.Tensor,
    of_last: State,
    reverse: bool,
) -> Nest:
    """Of projected, kernel, first state and small weights, from the gradients of the outputs and of the last state."""
    recurrent = multiply(before[0], each.kernel)
    transposed = tf.transpose(each.kernel)
    nothing = tuple(tf.zeros_like(part) for part in of_last)

    def step(time: tf.Tensor, carried: tuple[State, Tensors]) -> tuple[Tensors, tuple[State, Tensors]]:
        (of_output, *of_rest), of_small = carried
        of_after = (of_output + of_outputs[time], *of_rest)
        gates = (projected[time], recurrent[time])
        state = tuple(part[time] for part in before)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((gates, state, each.small))
            after = each.rule(*gates, state, each.small)
        of_gates, of_before, of_small_here = tape.gradient(
            after,
            (gates[1:] if each.adds else gates, state, each.small),
            _choose(real, time, of_after, nothing),
            unconnected_gradients="zero",
        )
        of_before = (of_before[0] + tf.matmul(of_gates[-1], transposed), *of_before[1:])
        totals = tuple(total + tf.cast(part, tf.float32) for total, part in zip(of_small, of_small_here, strict=True))
        return of_gates, (_choose(real, time, of_before, of_after), totals)

    spec = tf.TensorSpec(projected.shape[1:], projected.dtype)
    zeros = tuple(tf.zeros(part.shape, tf.float32) for part in each.small)
    of_gates, (of_first, of_small) = loop(
        step, tf.shape(projected)[0], (of_last, zeros), (spec,) * (1 if each.adds else 2), not reverse
    )
    units, depth = each.kernel.shape
    of_kernel = tf.matmul(tf.reshape(before[0], [-1, units]), tf.reshape(of_gates[-1], [-1, depth]), transpose_a=True)
    of_small = tuple(tf.cast(total, part.dtype) for total, part in zip(of_small, each.small, strict=True))
    return of_gates[0], of_kernel, of_first, of_small
