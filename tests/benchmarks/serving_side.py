"""The SavedModel called in process, a batch a step: the other side of Predict over gRPC, a process of its own."""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline import startup

startup.prepare()
startup.load_tensorflow()

import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401  its ops are in the graph

from serving import signatures  # noqa: E402
from tests.benchmarks import worker  # noqa: E402


def main() -> None:
    """{"model": path, "batches": [["a", "b"], ...]}: a step answers the next batch."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    loaded = tf.saved_model.load(asked["model"])
    function = loaded.signatures[signatures.SERVING_DEFAULT]
    batches, done = asked["batches"], 0

    def steps(count: int) -> float:
        nonlocal done
        for number in range(done, done + count):
            outputs = function(text=tf.constant(batches[number % len(batches)]))
            for value in outputs.values():
                value.numpy()
        done += count
        return 0.0

    worker.serve(steps, {"framework": f"TensorFlow {tf.__version__}"}, warm_up=len(batches))


if __name__ == "__main__":
    main()
