"""What an exported model says of itself, and where exported models lie. Loads no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing

from serving.versions import find_versions

EXTRA = "assets.extra"  # the folder of a SavedModel for what is not its graph's
CARD_FILE = "fovea.json"
SOURCE_PIECES, TARGET_PIECES = "source.model", "target.model"  # SentencePiece models


@dataclasses.dataclass(frozen=True)
class Card:
    """The file `assets.extra/fovea.json` of an exported model.

    Attributes:
        name: the pipeline's name.
        export_id: tells this export from every other.
        token_unit: what `token_error_rate` counts for it, "word" or "character".
        model: the `model` section that it was built from, {"name": a family of the zoo, and its options}.
        audio: the `audio` section, where it listens; {} where it reads.
        decoding: the `decoding` section; {} of an older version.
    """

    name: str
    export_id: str
    token_unit: str
    model: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    audio: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    decoding: dict[str, typing.Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, saved_model: pathlib.Path) -> Card:
        """Read the card of an exported model; FileNotFoundError where there is none."""
        return cls(**json.loads((saved_model / EXTRA / CARD_FILE).read_text()))

    @classmethod
    def of(cls, saved_model: pathlib.Path) -> Card | None:
        """The same, or None for a SavedModel that is not of our making."""
        return cls.read(saved_model) if (saved_model / EXTRA / CARD_FILE).exists() else None

    def write(self, saved_model: pathlib.Path) -> None:
        """Write it into an exported model."""
        (saved_model / EXTRA).mkdir(exist_ok=True)
        (saved_model / EXTRA / CARD_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def exported_versions(base_path: pathlib.Path) -> list[pathlib.Path]:
    """The complete versions that a model server would find there, oldest first; none where there is no such folder."""
    if not base_path.is_dir():
        return []
    paths = [pathlib.Path(path) for _, path in sorted(find_versions(str(base_path)).items())]
    return [path for path in paths if (path / "saved_model.pb").exists()]
