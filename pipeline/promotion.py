"""`fovea promote` and `fovea rollback`: the registered version that is the champion is the one that is served."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
import typing

from components import model_digest, pushing, registry, tracking
from components.tracking_store import Store
from pipeline import metadata
from pipeline.home import Home


@dataclasses.dataclass(frozen=True)
class Promoted:
    """What is served now: a registered version, and the pushed version that holds it."""

    name: str
    version: str
    was: str | None  # the champion before; None: there was none
    pushed_as: str
    path: str


class PromotionError(ValueError):
    """There is no such version to go to."""


def promote(home: Home, name: str, version: str) -> Promoted:
    """Push a registered version as the newest, and make it the champion.

    Raises:
        PromotionError: it is not registered, or it is the champion.
        TamperedModelError: MLflow's copy is not what was trained; nothing has changed.
        RuntimeError: a run of that pipeline is under way.
    """
    return _move(home, name, "Promote", lambda known, past: version)


def rollback(home: Home, name: str) -> Promoted:
    """Make the champion before this one the champion again, and push it as the newest.

    Raises: see `promote`.
    """

    def before(known: list[str], past: list[str]) -> str:
        if len(past) < 2:
            said = f"version {past[0]} is the first champion of {name!r}" if past else f"{name!r} has no champion"
            raise PromotionError(f"{said}: there is none to go back to")
        return past[-2]

    return _move(home, name, "Rollback", before)


def _move(home: Home, name: str, why: str, choose: typing.Callable[[list[str], list[str]], str]) -> Promoted:
    store = home.kept_tracking(name)
    with home.alone(name), tracking.needed(store):
        client = store.client()
        known = {one.version: one for one in registry.versions(client, name)}
        if not known:
            raise PromotionError(f"MLflow at {store.name()} has no registered model {name!r}")
        past = registry.champions(client, name)
        version = choose(list(known), past)
        if version not in known:
            raise PromotionError(f"{name!r} has no version {version!r}, expected one of: {', '.join(known)}")
        champion = next((one.version for one in known.values() if registry.CHAMPION in one.aliases), None)
        if champion == version and why == "Promote":
            raise PromotionError(f"version {version} of {name!r} is the champion already")
        pushed = _push(home, store, name, known[version])
        try:
            registry.crown(client, name, version, past[:-2] if why == "Rollback" else None)
        except BaseException:
            shutil.rmtree(pushed)  # what is served goes by the alias
            raise
        metadata.record_push(home, name, known[version].digest, pushed, why)
        return Promoted(name, version, champion, pushed.name, str(pushed))


def _push(home: Home, store: Store, name: str, version: registry.Version) -> pathlib.Path:
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        saved_model = registry.download(store, name, version.version, pathlib.Path(folder))
        origin = f"version {version.version} of {name!r} in MLflow at {store.name()}"
        model_digest.require(saved_model, version.digest, origin)
        return pushing.push(saved_model, home.models(name), version.digest)
