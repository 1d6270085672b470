"""What tells whether an exported model is still the one that was made."""

from __future__ import annotations

import hashlib
import pathlib

DIGEST = "digest"  # a custom property of Model artifacts


class TamperedModelError(ValueError):
    """A model that is not what it was when it was made."""


def of_folder(folder: pathlib.Path) -> str:
    """SHA-256 of a folder's files, their names and what they hold; FileNotFoundError where there is none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there, where an exported model was expected")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
    return digest.hexdigest()


def require(folder: pathlib.Path, digest: str, origin: object) -> None:
    """Raise TamperedModelError unless the folder, which came from `origin`, has that digest; "": none was kept."""
    found = of_folder(folder)
    if digest and found != digest:
        raise TamperedModelError(
            f"the model at {origin} is not the one that was trained: digest {found[:16]}…, expected {digest[:16]}…"
        )
