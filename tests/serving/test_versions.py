"""The rules of versions, and their life with a loader that the test holds in its hand."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import ServingError, Status
from serving.life import ModelVersions, Retries
from serving.versions import Action, Candidate, State, VersionState, find_versions, latest, next_action
from tests.serving.tiny_server import wait_until


class Loaded:
    """A servable that remembers whether it was closed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def load(path: str) -> Loaded:
    if "broken" in path:
        raise ServingError(Status.DATA_LOSS, f"{path} is broken")
    return Loaded(path)


def states(model: ModelVersions[Loaded]) -> dict[int, str]:
    return {version.number: version.state.name for version in model.states()}


def wait_states(model: ModelVersions[Loaded], expected: dict[int, str]) -> None:
    wait_until(lambda: states(model) == expected, f"states {expected}", deadline_s=10)


def test_any_child_that_is_an_integer_is_a_version(tmp_path: Path) -> None:
    for name in ("1", "00000123", "-5", "tmp", "7.0", "12a", "99999999999999999999"):
        (tmp_path / name).mkdir()
    versions = find_versions(str(tmp_path))
    assert versions == {1: f"{tmp_path}/1", 123: f"{tmp_path}/00000123", -5: f"{tmp_path}/-5"}
    assert latest(1)(versions) == {123: f"{tmp_path}/00000123"}
    assert sorted(latest(2)(versions)) == [1, 123]
    assert latest(1)({}) == {}


def test_a_base_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=f"NOT_FOUND: Could not find base path {tmp_path}/no: No such file"):
        find_versions(f"{tmp_path}/no")


candidates = st.dictionaries(
    st.integers(1, 7), st.tuples(st.sampled_from([State.START, State.AVAILABLE, State.END]), st.booleans())
)


@given(candidates, st.sets(st.integers(1, 7)))
def test_steps_keep_the_model_available_and_end(start: dict[int, tuple[State, bool]], broken: set[int]) -> None:
    """By hand: each step is done at once, versions of `broken` do not load."""
    versions = {number: Candidate(number, state, wanted) for number, (state, wanted) in start.items()}
    wanted = {v.number for v in versions.values() if v.wanted}
    was_available = any(v.state is State.AVAILABLE for v in versions.values())
    steps = 0
    while (step := next_action(versions.values())) is not None:
        action, number = step
        loaded = State.END if number in broken else State.AVAILABLE
        versions[number] = Candidate(number, loaded if action is Action.LOAD else State.END, number in wanted)
        available = any(v.state is State.AVAILABLE for v in versions.values())
        assert available or not was_available or not wanted
        was_available = available
        steps += 1
        assert steps <= 2 * len(versions)
    serving = {v.number for v in versions.values() if v.state is State.AVAILABLE}
    assert not {v.number for v in versions.values() if v.wanted and v.state is State.START}
    assert serving <= wanted or (not serving & wanted and len(serving) == 1)


def test_the_new_version_loads_before_the_old_one_goes_and_waits_for_its_last_request() -> None:
    model = ModelVersions("m", load, Retries(0))
    model.want({1: "one"})
    wait_states(model, {1: "AVAILABLE"})
    with model.handle() as held:
        model.want({2: "two"})
        wait_states(model, {2: "AVAILABLE", 1: "UNLOADING"})
        with model.handle() as new:
            assert (held.version, new.version, held.servable.closed.is_set()) == (1, 2, False)
    wait_states(model, {2: "AVAILABLE", 1: "END"})
    assert held.servable.closed.is_set()
    model.want({1: "one again"})
    wait_states(model, {2: "END", 1: "AVAILABLE"})
    model.close()
    assert states(model) == {2: "END", 1: "END"}


def test_a_broken_version_ends_with_its_error_and_the_old_one_serves_on() -> None:
    model = ModelVersions("m", load, Retries(2, interval_s=0))
    model.want({1: "one"})
    wait_states(model, {1: "AVAILABLE"})
    model.want({2: "broken"})
    wait_states(model, {2: "END", 1: "AVAILABLE"})
    newest = model.states()[0]
    assert isinstance(newest, VersionState) and str(newest.error) == "DATA_LOSS: broken is broken"
    model.want({3: "three"})
    wait_states(model, {3: "AVAILABLE", 2: "END", 1: "END"})
    model.close()


def test_retries_go_on_until_it_loads_or_is_not_wanted() -> None:
    paths: list[str] = []

    def flaky(path: str) -> Loaded:
        paths.append(path)
        if paths.count(path) < 3:
            raise ServingError(Status.UNAVAILABLE, "not yet")
        return Loaded(path)

    model = ModelVersions("m", flaky, Retries(5, interval_s=0))
    model.want({1: "one"})
    wait_states(model, {1: "AVAILABLE"})
    assert paths == ["one"] * 3
    model.close()

    patient = ModelVersions("m", load, Retries(5, interval_s=3600))
    patient.want({1: "broken"})
    wait_states(patient, {1: "LOADING"})
    patient.want({2: "two"})
    wait_states(patient, {2: "AVAILABLE", 1: "END"})
    patient.close()


def test_a_broken_version_keeps_no_other_waiting() -> None:
    model = ModelVersions("m", load, Retries(5, interval_s=3600))
    model.want({1: "one", 2: "broken"})
    assert model.wait_available(stop=lambda: False)
    assert states(model) == {2: "LOADING", 1: "AVAILABLE"}
    model.want({1: "one", 2: "broken", 3: "three"})
    wait_states(model, {3: "AVAILABLE", 2: "LOADING", 1: "AVAILABLE"})
    model.close()
    assert states(model) == {3: "END", 2: "END", 1: "END"}


def test_a_version_that_is_wanted_back_while_it_is_unloaded() -> None:
    """Until its last request has ended all stays as it is: the newer one serves on."""
    model = ModelVersions("m", load, Retries(0))
    model.want({1: "one"})
    wait_states(model, {1: "AVAILABLE"})
    with model.handle():
        model.want({2: "two"})
        wait_states(model, {2: "AVAILABLE", 1: "UNLOADING"})
        model.want({1: "one again"})
        assert states(model) == {2: "AVAILABLE", 1: "UNLOADING"}
        with model.handle() as served:
            assert served.version == 2
    wait_states(model, {2: "END", 1: "AVAILABLE"})
    with model.handle() as served:
        assert served.servable.path == "one again"
    model.close()


def test_waiting_for_the_first_version() -> None:
    model = ModelVersions("m", load, Retries(0))
    assert not model.wait_available(stop=lambda: True)
    model.want({1: "broken"})
    with pytest.raises(ServingError, match="DATA_LOSS: broken is broken"):
        model.wait_available(stop=lambda: False)
    model.want({2: "two"})
    wait_states(model, {2: "AVAILABLE", 1: "END"})
    assert model.wait_available(stop=lambda: False)
    model.close()


def test_a_version_that_is_not_available() -> None:
    model = ModelVersions("m", load, Retries(0))
    with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(m\)"), model.handle():
        pass
    model.want({1: "one"})
    wait_states(model, {1: "AVAILABLE"})
    with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 7\)"), model.handle(7):
        pass
    model.close()


def test_whatever_a_load_raises_the_next_version_loads() -> None:
    def careless(path: str) -> Loaded:
        if path == "careless":
            raise RuntimeError("can't start new thread")
        return Loaded(path)

    model = ModelVersions("m", careless, Retries(0))
    model.want({1: "careless"})
    wait_states(model, {1: "END"})
    assert str(model.states()[0].error) == "UNKNOWN: RuntimeError: can't start new thread"
    model.want({2: "two"})
    wait_states(model, {2: "AVAILABLE", 1: "END"})
    model.close()
    model.want({3: "three"})  # a poll that comes late
    wait_states(model, {2: "END", 1: "END"})
