"""Our side of the speech training step: `las` from waveforms, or its listener with CTC alone, from features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline import startup

startup.prepare()
startup.load_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from components import batches, training  # noqa: E402
from models import ctc, listener, schedules  # noqa: E402
from models.audio import Audio  # noqa: E402
from models.contract import DECODER_IDS, END, FRAMES, PAD, TARGET_IDS  # noqa: E402
from models.zoo import las  # noqa: E402
from tests.benchmarks import speech_size, worker  # noqa: E402
from tests.benchmarks.fovea_side import bare_steps  # noqa: E402
from tests.benchmarks.speech_size import Size  # noqa: E402

Steps = Callable[[int], float]


def section(size: Size) -> Audio:
    """What a recording is to the model."""
    return Audio(sample_rate_hz=size.sample_rate_hz, hop_ms=size.hop_ms, bands=size.bands)


def shape(size: Size) -> las.Config:
    """Of the model."""
    pyramid = listener.Config(units=size.units, layers=size.layers, reduce_after=tuple(size.reduce_after))
    return las.Config(pyramid, units=size.speller_units, embedding=size.embedding, dropout=0.0)


def whole(size: Size, options: dict[str, Any]) -> tuple[Steps, Sequence[keras.Variable]]:
    """Log-mel, listener, speller, both losses, clipping and Adam: an update as a training makes it."""
    audio = section(size)
    model = las.build(shape(size), audio, size.vocabulary)
    schedule = schedules.Config("constant", size.learning_rate, 0)
    config = training.Config(schedule=schedule, clip_norm=size.clip_norm, label_smoothing=0.0, **options)
    random = np.random.default_rng(1)
    frames = np.ones((size.batch, size.frames, audio.frame_depth + 1), np.float32)
    frames[..., :-1] = random.normal(0.0, 0.1, (size.batch, size.frames, audio.frame_depth))
    target_ids = np.pad(_pieces(size, random), [(0, 0), (0, 1)], constant_values=END)
    batch = {FRAMES: frames, DECODER_IDS: batches.decoder_ids(target_ids), TARGET_IDS: target_ids}
    return bare_steps(model, batch, config), model.trainable_variables


def listener_alone(size: Size, options: dict[str, Any]) -> tuple[Steps, Sequence[keras.Variable]]:
    """Listener, projection, CTC and Adam, from features: what PyTorch's side does."""
    config = shape(size)
    pyramid = listener.Listener(config.listener, size.bands, config.dropout)
    head = ctc.Head(pyramid.depth, size.vocabulary)
    weights = [*pyramid.trainable_variables, *head.trainable_variables]
    optimizer = keras.optimizers.Adam(size.learning_rate, beta_2=0.98, epsilon=1e-9)
    optimizer.build(weights)
    random = np.random.default_rng(1)
    features = tf.constant(random.normal(size=(size.batch, size.frames, size.bands)), tf.float32)
    mask = tf.ones([size.batch, size.frames], tf.bool)
    target_ids = tf.constant(_pieces(size, random))
    specs = [tf.TensorSpec([None, None, *given.shape[2:]], given.dtype) for given in (features, mask, target_ids)]

    @tf.function(input_signature=specs, jit_compile=options.get("jit_compile", False), autograph=False)
    def step(features: tf.Tensor, mask: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            values, positions, _ = pyramid(features, mask, training=True)
            losses = ctc.loss(head(values), positions, target_ids)
            loss = tf.reduce_sum(losses) / tf.cast(tf.math.count_nonzero(target_ids != PAD), tf.float32)
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    def steps(number: int) -> float:
        for _ in range(number):
            loss = step(features, mask, target_ids)
        return float(loss)

    return steps, weights


def _pieces(size: Size, random: np.random.Generator) -> np.ndarray:
    """Ids of answers, int32 [batch, pieces]."""
    return random.integers(END + 1, size.vocabulary, (size.batch, size.pieces), dtype=np.int32)


def main() -> None:
    """Serve training steps on one batch."""
    size, options = speech_size.arguments()
    tf.config.threading.set_intra_op_parallelism_threads(size.threads)
    tf.config.threading.set_inter_op_parallelism_threads(size.threads)
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(options.get("precision", "float32"))
    make = {"whole": whole, "listener": listener_alone}[options.pop("part")]
    steps, weights = make(size, options)
    facts = {
        "framework": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
        "parameters": sum(int(np.prod(weight.shape)) for weight in weights),
    }
    worker.serve(steps, facts)


if __name__ == "__main__":
    main()
