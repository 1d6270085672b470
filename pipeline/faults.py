"""What no code of ours can mend, in plain words where a library says it in its own: a full disk, a locked database."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from pipeline.home import Home

AGAIN = "and run again: what is finished is not done again"
FULL = ("database or disk is full", "No space left on device")  # SQLite's words, and those of the system
LOCKED = "Concurrent writes aborted"  # what ML Metadata says after half a minute


class LockedError(RuntimeError):
    """ML Metadata's file is locked by another process."""


class FullDiskError(RuntimeError):
    """There is no room for what a run makes."""


@contextlib.contextmanager
def told_plainly(home: Home) -> Iterator[None]:
    """The body's errors, those two in words that say what to do."""
    try:
        yield
    except Exception as error:
        text = str(error)
        if any(words in text for words in FULL):
            free_mb = shutil.disk_usage(home.root).free / 1e6
            what = f"a disk is full ({home.root} has {free_mb:,.1f} MB free)"
            raise FullDiskError(f"{what}; make room {AGAIN}. It was: {text}") from error
        if LOCKED in text:
            what = f"ML Metadata's file {home.metadata_db} is locked by another process"
            raise LockedError(f"{what}; end that {AGAIN}") from error
        raise
