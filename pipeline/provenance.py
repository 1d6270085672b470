"""What a run was made with: the code's revision, and the versions of the stack."""

from __future__ import annotations

import getpass
import importlib.metadata
import platform
import shutil
import socket
import subprocess
import sys

from components.tracking_store import without_passwords
from pipeline import digest

STACK = (
    "tfx", "tensorflow", "keras", "apache-beam", "tensorflow-transform", "tensorflow-model-analysis",
    "tensorflow-data-validation", "tensorflow-text", "ml-metadata", "mlflow",
)  # fmt: skip


def tags() -> dict[str, str]:
    """Tags of a run: MLflow's own where it has a name for a thing, so that its pages show them."""
    return {**_started(), **_revision(), **versions()}


def versions() -> dict[str, str]:
    """{"stack.python": "3.10.13", "stack.tfx": "1.16.0", ...}"""
    found = {f"stack.{name}": importlib.metadata.version(name) for name in STACK}
    return {"stack.python": platform.python_version(), **found}


def _started() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in many containers
        user = ""
    command = " ".join(["fovea", *sys.argv[1:]]) if sys.argv[0].endswith(("fovea", "cli.py")) else sys.argv[0]
    return {
        "mlflow.user": user,
        "mlflow.source.name": without_passwords(command),
        "mlflow.source.type": "LOCAL",
        "fovea.host": socket.gethostname(),
    }


def _revision() -> dict[str, str]:
    """Of the checkout; {} where there is none, as in an image."""
    if not (digest.PROJECT / ".git").exists() or not shutil.which("git"):
        return {}
    commit, state = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if not commit:
        return {}
    changed = "; ".join(line.strip() for line in state.splitlines())
    return {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "fovea.git.state": f"changed: {changed}" if changed else "clean",
    }


def _git(*arguments: str) -> str:
    """What git says; nothing where it refuses (a checkout of another user)."""
    run = subprocess.run(["git", "-C", str(digest.PROJECT), *arguments], capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""
