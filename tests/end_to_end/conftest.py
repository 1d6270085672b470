"""A pipeline that runs in seconds: spelling in small letters -> the same in capitals, parted by spaces."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from pipeline import config as configuration
from pipeline import digest
from pipeline.home import Home
from pipeline.result import Run
from pipeline.run import execute

ROWS, BROKEN = 700, 40
BREAKS = (b"one column", b"abc\tA B C\t0-3", b"caf\xe9\tC A F\t", b"abc\t\t0-0")


@dataclasses.dataclass(frozen=True)
class Workshop:
    """A home folder, the data and the configuration of this test's pipeline."""

    folder: pathlib.Path
    home: Home
    config: pathlib.Path
    broken: dict[int, str]  # line -> part of the reason

    def run(self, *changes: str) -> Run:
        """`fovea run`, in this process."""
        loaded = configuration.load(self.config, changes)
        return execute(loaded, self.home, rich.console.Console(stderr=True))

    def fovea(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command itself."""
        return subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=digest.PROJECT,
            env={**os.environ, "FOVEA_HOME": str(self.home.root)},
        )


def make_workshop(folder: pathlib.Path) -> Workshop:
    random = np.random.default_rng(7)
    lines: list[bytes] = []
    for number in range(ROWS):
        word = "".join(random.choice(list("abcde"), random.integers(2, 6))) + f"{number % 7}"
        links = " ".join(f"{n}-{n}" for n in range(len(word)))
        lines.append(f"{word}\t{' '.join(word.upper())}\t{links}".encode())
    broken = {}
    reasons = (
        "1 column, expected at least 3",
        "alignment: 0-3, but the target has 3 words, counted from 0",
        "invalid UTF-8 at byte 4",
        "empty target",
    )
    for number, line in enumerate(sorted(random.choice(ROWS, BROKEN, replace=False).tolist())):
        lines.insert(line, BREAKS[number % 4])
        broken[line + 1] = reasons[number % 4]
    (folder / "pairs.tsv").write_bytes(b"\n".join(lines) + b"\n")
    config = folder / "capitals.yaml"
    config.write_text(
        f"""
name: capitals
data:
  source:
    name: parallel_text
    path: {folder / "pairs.tsv"}
    columns: {{source: 1, target: 2, alignment: 3}}
    alignment_counts: {{source: characters, target: words}}
    group: "([a-z]+)s.tsv$"
  max_rejected_fraction: 0.1
tokenizer: {{source: {{kind: char}}, target: {{kind: word}}}}
model: {{name: rnn, units: 64, embedding: 32, dropout: 0.1}}
training: {{epochs: 14, batches: {{tokens: 256}}, schedule: {{learning_rate: 0.01, warmup_steps: 10}}, report_steps: 5}}
evaluation: {{thresholds: {{sequence_error_rate: 0.3}}, slices: [source_length, group, rarest_piece]}}
"""
    )
    # Inserting shifts the lines that were broken before: they are inserted in rising order, so each stays where it is.
    return Workshop(folder, Home(folder / "home"), config, broken)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def first(workshop: Workshop) -> Run:
    """The first run of the session: everything is made."""
    return workshop.run()
