"""What the sides of the speech benchmarks build. Standard library only: PyTorch's side has nothing of ours."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any


@dataclasses.dataclass(frozen=True)
class Size:
    """A listener in a pyramid, and a batch of recordings, all as long as each other and all of them real."""

    bands: int = 80
    units: int = 320  # of a layer, shared by its two directions
    layers: int = 3
    reduce_after: tuple[int, ...] = (1, 2)  # the layers, from 1, whose outputs are joined in pairs
    speller_units: int = 256
    embedding: int = 128
    vocabulary: int = 31  # letters, a space, an apostrophe, and the special ids
    batch: int = 16
    seconds: float = 6.0  # of a recording
    pieces: int = 60  # of an answer
    sample_rate_hz: int = 16_000
    hop_ms: float = 10.0
    clip_norm: float = 1.0
    learning_rate: float = 0.001
    threads: int = 2

    @property
    def frames(self) -> int:
        """Of a recording."""
        return int(self.seconds * 1000 / self.hop_ms)

    @property
    def audio_s(self) -> float:
        """In a batch."""
        return self.batch * self.seconds


def arguments() -> tuple[Size, dict[str, Any]]:
    """What is asked of this process: a Size, and what is of one side alone."""
    asked = json.loads(sys.argv[1])
    return Size(**asked["size"]), asked["options"]
