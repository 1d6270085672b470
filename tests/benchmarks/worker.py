"""A side of a comparison in a process of its own, so that the idle threads of one side do not disturb the other.

The process says in a line what it is, ``{"framework": "PyTorch 2.13.0", "parameters": 8642576}``, and then waits for
orders: ``5`` in, five steps, ``{"seconds": 0.61, "cpu_seconds": 1.2, "loss": 4.2}`` out. Nothing here needs more than
the standard library: the side of PyTorch runs under an interpreter that has nothing of ours.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

WARM_UP_STEPS = 3


@dataclasses.dataclass(frozen=True)
class Size:
    """What both sides build; the defaults are the RNN that the project holds itself against.

    Dropout and label smoothing are off, as in the plainest loop over batches.
    """

    model: str = "rnn"
    units: int = 256
    embedding: int = 256  # of the RNN
    layers: int = 4  # of the Transformer, in either half
    heads: int = 4
    feed_forward: int = 256
    vocabulary: int = 10_000
    batch: int = 128
    length: int = 16  # pieces of a source and of a target, all of them real
    dropout: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    learning_rate: float = 0.001
    threads: int = 2

    @property
    def target_tokens(self) -> int:
        """Of a step."""
        return self.batch * self.length


TRANSFORMER_TINY = Size(model="transformer", units=128)

SIZES = {"rnn": Size(), "transformer": TRANSFORMER_TINY}


def arguments() -> tuple[Size, dict[str, Any]]:
    """What a training step's `Worker` asks of this process: a Size, and what is of one side alone."""
    asked = json.loads(sys.argv[1])
    return Size(**asked["size"]), asked["options"]


def serve(steps: Callable[[int], float], facts: Mapping[str, Any], warm_up: int = WARM_UP_STEPS) -> None:
    """Tell the facts, then do as many steps as each line of standard input asks for. `steps` gives the last loss."""
    began_s = time.perf_counter()
    steps(1)
    first_step_seconds = time.perf_counter() - began_s
    steps(warm_up)
    print(json.dumps({**facts, "first_step_seconds": first_step_seconds}), flush=True)
    for order in sys.stdin:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        loss = steps(int(order))
        seconds, cpu_seconds = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "loss": loss}), flush=True)


class Worker:
    """The other end of `serve`."""

    def __init__(self, interpreter: str, module: str, threads: int, asked: Mapping[str, Any]) -> None:
        """`asked` comes to the module as JSON, its only argument."""
        self._module = module
        self._process = subprocess.Popen(
            [interpreter, "-m", module, json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self.facts = self._answer()

    def run(self, steps: int) -> dict[str, float]:
        """Do so many steps -> {"seconds": of all of them, "cpu_seconds": likewise, "loss": of the last}."""
        assert self._process.stdin
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):  # what else there is comes from libraries
                return dict(json.loads(line))
        raise RuntimeError(f"{self._module} ended with code {self._process.wait()}; standard error says why")
