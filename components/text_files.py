"""Text files as sources read them: found by patterns, plain or gzipped, a line at a time.

b"tea\\r\\nth\\xe9\\n" -> (1, "tea"), (2, Rejected("a.txt", 2, "invalid UTF-8 at byte 3", "th\\\\xe9"))
"""

from __future__ import annotations

import codecs
import glob
import gzip
import os
import zlib
from collections.abc import Iterator

from components.rows import Rejected
from components.sources import SourceError

Line = tuple[int, str | Rejected]


def find(pattern: str) -> list[str]:
    """The files that a pattern such as "data/*.tsv.gz" matches, in the order of their names; a file is its own."""
    if os.path.isfile(pattern):
        return [pattern]
    found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not found:
        raise SourceError(f"no file matches {pattern!r} (in {os.getcwd()})")
    return found


def lines(path: str) -> Iterator[Line]:
    """Numbered lines without their ends, decoded one by one: a bad byte spoils its own line only."""
    opener = gzip.open if path.endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                text = raw.rstrip(b"\r\n")
                text = text.removeprefix(codecs.BOM_UTF8) if number == 1 else text
                try:
                    yield number, text.decode()
                except UnicodeDecodeError as error:
                    reason = f"invalid UTF-8 at byte {error.start + 1}"
                    yield number, Rejected(path, number, reason, text.decode(errors="backslashreplace"))
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read after line {number}: {error}") from error
