"""Errors that come from the machine: ML Metadata's file, held by another process, and a disk that is full."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import subprocess
import sys

import pytest

from pipeline import faults, lineage, metadata
from pipeline.home import Home

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_locked_file_is_named(tmp_path: pathlib.Path) -> None:
    home = Home(tmp_path)
    metadata.connect(home)
    holding = [sys.executable, "-c", HOLD, str(home.metadata_db)]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(
            faults.LockedError, match=f"{re.escape(str(home.metadata_db))} is locked by another process"
        ):
            lineage.models(home)
        holder.communicate()
    assert lineage.models(home) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere"),
        RuntimeError("Error when executing query: database or disk is full query: COMMIT;"),
    ],
    ids=["file", "database"],
)
def test_a_full_disk_is_named(tmp_path: pathlib.Path, error: Exception) -> None:
    expected = rf"a disk is full \({re.escape(str(tmp_path))} has [0-9,.]+ MB free\); make room and run again"
    with pytest.raises(faults.FullDiskError, match=expected), faults.told_plainly(Home(tmp_path)):
        raise error


def test_other_errors_stay_as_they_are(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="of another kind"), faults.told_plainly(Home(tmp_path)):
        raise ValueError("of another kind")
