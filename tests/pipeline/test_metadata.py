"""ML Metadata's file, held by another process."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

from pipeline import lineage, metadata
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
            metadata.LockedError, match=f"{re.escape(str(home.metadata_db))} is locked by another process"
        ):
            lineage.models(home)
        holder.communicate()
    assert lineage.models(home) == []
