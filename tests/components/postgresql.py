"""Debian's PostgreSQL, for a test: a new cluster on a free port."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pathlib
import pwd
import subprocess
from collections.abc import Iterator

from tests.components.mlflow_server import free_port

USER = "postgres"  # root must not run it, and Debian's package makes this user


def installed() -> bool:
    """Whether there are its programs, and the driver in this environment."""
    return _programs() is not None and importlib.util.find_spec("psycopg2") is not None


def _programs() -> pathlib.Path | None:
    return max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def running(folder: pathlib.Path) -> Iterator[str]:
    """The URI of a database of a server that runs while the body does."""
    programs, port, cluster = _programs(), free_port(), folder / "cluster"
    assert programs is not None
    cluster.mkdir()
    user = None
    if os.getuid() == 0:
        user = USER
        folder.chmod(0o755)
        os.chown(cluster, pwd.getpwnam(USER).pw_uid, -1)
    run = functools.partial(subprocess.run, check=True, cwd="/", user=user, stdout=subprocess.DEVNULL)
    run([programs / "initdb", "-D", cluster, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"])
    options = f"-p {port} -k {cluster} -c listen_addresses=127.0.0.1 -c fsync=off"
    run([programs / "pg_ctl", "-D", cluster, "-w", "-t", "120", "-l", cluster / "log", "-o", options, "start"])
    try:
        yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
    finally:
        run([programs / "pg_ctl", "-D", cluster, "-w", "-m", "immediate", "stop"])
