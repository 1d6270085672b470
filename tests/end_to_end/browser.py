"""A real browser, where there is one."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

COMMAND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DEADLINE_S = 240
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
needed = pytest.mark.skipif(COMMAND is None, reason="no chromium: `apt-get install chromium` makes this test run")


def elements(address: str, profile: pathlib.Path, patience_ms: int = 0) -> str:
    """A page -> its elements, when its scripts have run and waited for their own clock to reach `patience_ms`."""
    waiting = [f"--virtual-time-budget={patience_ms}"] if patience_ms else []
    command = [str(COMMAND), *OPTIONS, f"--user-data-dir={profile}", *waiting, "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
