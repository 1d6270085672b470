"""`fovea sync`: MLflow gets what it could not take, and runs whose process was killed are closed."""

from __future__ import annotations

import dataclasses

import rich.console

from components import tracking, tracking_calls
from components.tracking_journal import PENDING
from pipeline import metadata, tracked
from pipeline.home import Home


@dataclasses.dataclass(frozen=True)
class Synced:
    """What came of it.

    Attributes:
        killed: runs that were closed as KILLED.
        completed: id that a run had -> its id in MLflow; the same, where MLflow knew it.
        waiting: id of a run -> why it could not be completed.
    """

    killed: list[str] = dataclasses.field(default_factory=list)
    completed: dict[str, str] = dataclasses.field(default_factory=dict)
    waiting: dict[str, str] = dataclasses.field(default_factory=dict)


def sync(home: Home) -> Synced:
    """Close and complete the runs of every pipeline of the home folder."""
    synced = Synced(killed=close_all_killed(home))
    for name in _names(home):
        over = [run.key for run in tracking.left_over(home.tracking(name)) if run.journal.facts.get("over")]
        try:
            with home.alone(name):
                part = complete(home, name)
        except RuntimeError as error:  # that is under way, and completes them at its end
            synced.waiting.update(dict.fromkeys(over, str(error)))
        else:
            synced.completed.update(part.completed)
            synced.waiting.update(part.waiting)
    return synced


def close_all_killed(home: Home) -> list[str]:
    """Close the runs of every pipeline whose process was killed -> their ids."""
    return [run_id for name in _names(home) for run_id in close_killed(home, name)]


def _names(home: Home) -> list[str]:
    return sorted(path.name for path in (home.root / "tracking").glob("*"))


def close_killed(home: Home, name: str) -> list[str]:
    """Close the runs of a pipeline whose process was killed, unless one is under way -> their ids."""
    if not tracking.unfinished(home.tracking(name)):
        return []
    try:
        with home.alone(name):
            return [run.id for run in tracked.close_killed(home, name)]
    except RuntimeError:
        return []


def complete(home: Home, name: str) -> Synced:
    """Write what MLflow does not have of runs that are over; MLflow's ids go into ML Metadata."""
    synced = Synced()
    for run in tracking.left_over(home.tracking(name)):
        if run.journal.facts.get("over"):
            try:
                with tracking.forgotten_if_gone(run):
                    synced.completed[run.key] = run.catch_up()
            except Exception as error:  # one that is refused keeps no other waiting
                if not (isinstance(error, tracking.Unavailable) or tracking_calls.refused(error)):
                    raise
                synced.waiting[run.key] = str(error)
            if run.key not in synced.completed:
                continue
            if run.key.startswith(PENDING) and home.metadata_db.exists():
                metadata.relink(metadata.connect(home), run.key, synced.completed[run.key])
    return synced


def show(synced: Synced, out: rich.console.Console) -> None:
    """A line a run."""
    for run_id in synced.killed:
        out.print(f"{run_id}: its process was killed, and now MLflow knows", soft_wrap=True)
    for key, run_id in synced.completed.items():
        out.print(f"{key}: complete in MLflow{'' if key == run_id else f' as {run_id}'}", soft_wrap=True)
    for key, reason in synced.waiting.items():
        out.print(f"{key}: still waiting. {reason}", soft_wrap=True, markup=False)
    if not (synced.killed or synced.completed or synced.waiting):
        out.print("MLflow has everything")
