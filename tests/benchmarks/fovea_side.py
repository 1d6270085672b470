"""Our side of the training step: a model of models/zoo under the very updates that a training runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline import startup

startup.prepare()
startup.load_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from components import batches, training  # noqa: E402
from components.moving_average import MovingAverage  # noqa: E402
from components.training_steps import Updates  # noqa: E402
from models import schedules  # noqa: E402
from models.contract import DECODER_IDS, SOURCE_IDS, TARGET_IDS, Seq2Seq  # noqa: E402
from models.zoo import rnn, transformer  # noqa: E402
from tests.benchmarks import worker  # noqa: E402

MANY_STEPS = 1_000_000  # so that a schedule does not end


def bare_steps(model: Seq2Seq, batch: batches.Batch, config: training.Config) -> Callable[[int], float]:
    """A function that updates the weights so many times by one batch, and returns the loss of those updates."""
    optimizer = keras.optimizers.Adam(
        schedules.build(config.schedule, MANY_STEPS), beta_2=0.98, epsilon=1e-9, global_clipnorm=config.clip_norm
    )
    optimizer.build(model.trainable_variables)
    updates = Updates(model, optimizer, config, MovingAverage([], 0.0))

    def steps(number: int) -> float:
        for _ in range(number):
            updates.run([batch], int(optimizer.iterations))
        return updates.report()["loss"]

    return steps


def full_batch(shape: Sequence[int], source_length: int, source_vocabulary: int, vocabulary: int) -> batches.Batch:
    """A batch of ids at random, without padding; the shape is that of the target."""
    random = np.random.default_rng(1)
    source_ids = random.integers(4, source_vocabulary, (shape[0], source_length), dtype=np.int32)
    target_ids = random.integers(4, vocabulary, shape, dtype=np.int32)
    return {SOURCE_IDS: source_ids, DECODER_IDS: batches.decoder_ids(target_ids), TARGET_IDS: target_ids}


def _build(size: worker.Size) -> Seq2Seq:
    if size.model == "rnn":
        shape = rnn.Config(units=size.units, embedding=size.embedding, dropout=size.dropout)
        return rnn.build(shape, size.vocabulary, size.vocabulary)
    layers = {"encoder_layers": size.layers, "decoder_layers": size.layers}
    tiny = transformer.Config(size.units, size.heads, size.feed_forward, dropout=size.dropout, **layers)
    return transformer.build(tiny, size.vocabulary, size.vocabulary)


def main() -> None:
    """Serve training steps on one batch."""
    size, options = worker.arguments()
    tf.config.threading.set_intra_op_parallelism_threads(size.threads)
    tf.config.threading.set_inter_op_parallelism_threads(size.threads)
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(options.get("precision", "float32"))
    model = _build(size)
    config = training.Config(
        schedule=schedules.Config("constant", size.learning_rate, 0),
        clip_norm=size.clip_norm,
        label_smoothing=size.label_smoothing,
        **options,
    )
    batch = full_batch((size.batch, size.length), size.length, size.vocabulary, size.vocabulary)
    facts = {
        "framework": f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
        "parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_variables),
    }
    worker.serve(bare_steps(model, batch, config), facts)


if __name__ == "__main__":
    main()
