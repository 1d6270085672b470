"""The model families: `model: rnn` in a config is `models/zoo/rnn.py`. To add a family is to add a file.

A family has `Config`, a frozen dataclass, and `build(config, source, target_vocabulary)`, which gives a `Seq2Seq` with
all its weights made. `source` is how many pieces a text is made of, or the `Audio` of recordings: a `Config` says which
of the two the family `reads`, {"text"}, {"audio"} or both. It says whether it needs `shared_pieces`, and its `check()`
raises ValueError on what no field can say. Where they are wanted, like in `classifier.py`: `one_piece`, of answers that
are one piece, and `check_source(kind)`, which raises ValueError on what does not go with "text" or "audio".
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType


def families() -> list[str]:
    """The names that `load` takes: ["rnn", ...]."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of a family: "rnn" -> models.zoo.rnn."""
    known = families()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ValueError(f"unknown model {name!r}: expected one of {', '.join(known)}; the nearest is {nearest[0]!r}")
    return importlib.import_module(f"{__name__}.{name}")
