"""What a model is asked with for a row: its text or, of a recording, what was recorded.

Decoded rows on disk name their recordings and do not hold them: {"source": "a.wav", "origin": "all.tsv:7", ...}
-> the same with {"audio": b"RIFF..."}, from the examples.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components import rows
from models.contract import AUDIO, ORIGIN, SOURCE
from serving import signatures
from serving.signatures import Asked

LISTENED = 64  # recordings that are taken along, for what is said of attention


def read(folders: Sequence[str]) -> Iterator[rows.Row]:
    """The rows of a split, in the order of the files."""
    files = sorted(str(path) for folder in folders for path in pathlib.Path(folder).iterdir() if path.is_file())
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        yield rows.from_example(record, with_audio=True)


def of_row(row: rows.Row) -> Asked:
    """A text, or a recording."""
    return row.audio or row.source


def attach(decoded: Sequence[Mapping[str, Any]], folders: Sequence[str]) -> list[dict[str, Any]]:
    """So many of the decoded rows, evenly spread, with their recordings."""
    chosen = np.unique(np.linspace(0, len(decoded) - 1, LISTENED).astype(int)) if decoded else []
    wanted = {decoded[number][ORIGIN]: dict(decoded[number]) for number in chosen}
    for row in read(folders):
        origin = f"{row.file}:{row.line}"
        if origin in wanted:
            wanted[origin][AUDIO] = row.audio
    return list(wanted.values())


def inputs(decoded: Sequence[Mapping[str, Any]]) -> dict[str, list[Asked]]:
    """The input of a signature for decoded rows: {"text": ["keep"]}, or {"audio": [b"RIFF..."]}."""
    if decoded and AUDIO in decoded[0]:
        return {signatures.AUDIO: [row[AUDIO] for row in decoded]}
    return {signatures.TEXT: [row[SOURCE] for row in decoded]}
