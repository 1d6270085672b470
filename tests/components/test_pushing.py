"""A push appears whole, or not at all: a model that was changed, one that is gone, a disk that is full."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

from components import model_digest, pushing
from pipeline import digest as project


@pytest.fixture
def exported(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "exported"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(b"weights" * 10_000)
    return folder


def test_versions_grow_also_within_a_second(exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    digest, base = model_digest.of_folder(exported), tmp_path / "models"
    (base / ".9.new").mkdir(parents=True)  # of a push that was killed
    first, second = pushing.push(exported, base, digest), pushing.push(exported, base, digest)
    assert int(second.name) > int(first.name) and sorted(base.iterdir()) == [first, second]
    assert model_digest.of_folder(second) == digest


def test_a_changed_or_missing_model_is_not_pushed(exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    digest, base = model_digest.of_folder(exported), tmp_path / "models"
    weights = exported / "variables" / "variables.data"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(
        model_digest.TamperedModelError, match=f"the model at {re.escape(str(exported))} is not the one"
    ):
        pushing.push(exported, base, digest)
    with pytest.raises(FileNotFoundError, match="gone is not there, where an exported model was expected"):
        pushing.push(tmp_path / "gone", base, digest)
    assert list(base.iterdir()) == []


def test_a_full_disk_leaves_what_is_served(exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The limit on the size of files stands for the disk: writing fails half way, with an error of the system."""
    served = pushing.push(exported, tmp_path / "models", "")
    code = (
        "import pathlib, resource, signal, sys\n"
        "from components import pushing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "pushing.push(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), '')\n"
    )
    arguments = [sys.executable, "-c", code, str(exported), str(tmp_path / "models")]
    run = subprocess.run(arguments, capture_output=True, text=True, cwd=project.PROJECT)
    assert run.returncode == 1
    assert re.search(r"OSError: \S+variables.data: \[Errno 27\] File too large", run.stderr), run.stderr
    assert list((tmp_path / "models").iterdir()) == [served]
