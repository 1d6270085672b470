"""A digest of the code that a step runs, for TFX's cache: by import path, the cache does not see code change."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import pathlib
from collections.abc import Iterator

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("models", "serving", "components", "pipeline")
LIBRARIES = (
    "tfx", "tensorflow", "keras", "apache-beam", "sentencepiece", "sacrebleu", "rouge-score", "rapidfuzz", "soundfile",
    "soxr", "fonttools",
)  # fmt: skip


def of_code(*modules: str) -> str:
    """Digest of these modules, of every module of the project that they import, and of the stack's versions.

    Args:
        modules: dotted names, such as "components.trainer". What is imported by name at run time (a model of the
            zoo, a source) is to be named, too.
    """
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library}=={importlib.metadata.version(library)}\n".encode())
    for path in sorted(closure(*modules)):
        digest.update(f"{path.relative_to(PROJECT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def closure(*modules: str) -> set[pathlib.Path]:
    """The files of these modules and of all that they import, directly or not, within the project."""
    found: set[pathlib.Path] = set()
    waiting = list(modules)
    while waiting:
        path = _file(waiting.pop())
        if path and path not in found:
            found.add(path)
            waiting.extend(_imports(path))
    return found


def _file(module: str) -> pathlib.Path | None:
    if module.split(".")[0] not in PACKAGES:
        return None
    path = PROJECT.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _imports(path: pathlib.Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
