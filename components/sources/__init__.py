"""Sources of rows, found by file name: the source `parallel_text` is the module `components/sources/parallel_text.py`.

A source is a module with a frozen dataclass `Config` and two functions. It knows nothing of Beam or TensorFlow::

    inputs(Config(path="data/*.tsv"))  -> (Input(paths=("data/a.tsv",)), Input(paths=("data/b.tsv",)))
    read(config, Input(("data/a.tsv",)))  -> Row("tea", ("thé",), "data/a.tsv", 1), Rejected("data/a.tsv", 2, ...), ...

A source that makes its rows up has one input without a path: `Input(generator="reverse")`.

A source of recordings says `RECORDED = True`. Its rows name their files (`Row.recordings`), which are read later; if it
makes its recordings up, it has a third function, `record(config, row) -> bytes`, the content of a file of sound.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import os
import pkgutil
from collections.abc import Iterator
from typing import Any, Protocol, cast

from components.rows import Rejected, Row


class SourceError(ValueError):
    """A source that cannot be read at all: no such file, no such column, files that do not belong together."""


@dataclasses.dataclass(frozen=True)
class Input:
    """What is read by one worker in one piece: a file, files that belong together line by line, or made-up rows.

    The `recordings` that its rows name are not read with it: they count in the fingerprint.
    """

    paths: tuple[str, ...] = ()
    split: str | None = None  # the split of all its rows, where the data comes with splits
    generator: str = ""  # what makes up the rows, with the version of what changes them: "dates of Babel 2.18.0"
    recordings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people know it by."""
        return " + ".join(self.paths) or self.generator


class Source(Protocol):
    """What a module in this folder exposes."""

    Config: Any

    def inputs(self, config: Any) -> tuple[Input, ...]:
        """What there is to read; SourceError names the pattern that no file matches."""

    def read(self, config: Any, item: Input) -> Iterator[Row | Rejected]:
        """The rows of one input."""


def names() -> tuple[str, ...]:
    """The sources there are: ("babi", "cmudict", ...)."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> Source:
    """The module of a source."""
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise SourceError(f"no source is named {name!r}, there are: {', '.join(names())}{hint}")
    return cast(Source, importlib.import_module(f"{__name__}.{name}"))


def is_recorded(source: Source) -> bool:
    """Whether its rows are recordings, and not texts."""
    return getattr(source, "RECORDED", False)


def fingerprint(inputs: tuple[Input, ...]) -> str:
    """A digest of paths, sizes and times of change: part of a cache key, so that an edited file is read again.

    Made-up rows depend on their generator, and on options that are in the key already.
    """
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(repr((item.split, item.generator)).encode())
        for path in item.paths:
            status = os.stat(path)
            digest.update(repr((path, status.st_size, status.st_mtime_ns)).encode())
        for path in item.recordings:
            digest.update(repr((path, *_status(path))).encode())
    return digest.hexdigest()


def _status(path: str) -> tuple[int, ...]:
    """Size and time of change; () of a recording that is missing, which is a row's fault and not the source's."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_size, status.st_mtime_ns
