"""An import without what it prints: TensorFlow 2.21 greets on stderr before any of its settings is read."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_stderr() -> Iterator[None]:
    """What the block writes to the process's stderr is dropped; what it raises is not."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
