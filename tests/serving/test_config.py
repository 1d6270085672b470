"""Several models on a running server: its configuration file, labels, the list of models, and reloads."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.flags import Flags
from serving.server import serve
from tests.serving.stubs import Refusal, Served, config_of
from tests.serving.tiny_server import Gate, export_tiny_model, free_port, running, wait_until

BOTH = "model_version_policy { specific { versions: 1 versions: 2 } }"
STABLE, CANARY = 'version_labels { key: "stable" value: 1 }', 'version_labels { key: "canary" value: 2 }'


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "saved_model"
    export_tiny_model(path, version=1)
    return path


@pytest.fixture(scope="module")
def models(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: `one` has the versions 1, 2 and 3, `two` and `three` have 1, `broken` has 1, `late` none."""
    folder = tmp_path_factory.mktemp("models")
    for name, versions in {"one": (1, 2, 3), "two": (1,), "three": (1,)}.items():
        for version in versions:
            shutil.copytree(export, folder / name / str(version))
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "late").mkdir()
    return folder


@pytest.fixture(scope="module")
def shared(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "models.config").write_text(
        "# two models\n" + text_format.MessageToString(config_of(models, one=f"{BOTH} {STABLE} {CANARY}", two=""))
    )
    flags = [f"--model_config_file={folder / 'models.config'}", "--list_models"]
    flags += ["--tensorflow_inter_op_parallelism=7"]  # a request that waits keeps one
    with running(folder, folder / "log", *flags) as started:
        started.wait_ready()
        yield Served(started, models)


@pytest.fixture
def served(shared: Served) -> Served:
    """Serves `one` with the versions 1 (stable) and 2 (canary), and `two` with 1, whatever the last test asked for."""
    assert shared.reload(one=BOTH, two="") is None
    wait_until(lambda: shared.states("one").items() >= {1: "AVAILABLE", 2: "AVAILABLE"}.items(), "both versions")
    assert shared.reload(one=f"{BOTH} {STABLE} {CANARY}", two="") is None
    return shared


def test_what_the_file_lists_is_loaded_before_a_port_opens(shared: Served) -> None:
    ready = shared.server.log().index("ready on")
    for loaded in ("model one version 1 loaded", "model one version 2 loaded", "model two version 1 loaded"):
        assert shared.server.log().index(loaded) < ready
    assert (shared.predict("one", label="stable"), shared.predict("two")) == (1, 1)


def test_versions_and_labels(served: Served) -> None:
    assert [served.predict("one", **choice) for choice in ({}, {"version": 1}, {"label": "stable"})] == [2, 1, 1]
    assert served.predict("one", label="canary") == served.metadata("one", label="canary") == 2
    assert served.predict("one", version=3) == ("NOT_FOUND", "Servable not found for request: Specific(one, 3)")
    assert served.states("one", label="canary") == {2: "AVAILABLE", 1: "AVAILABLE"}
    for name, label in (("one", "Stable"), ("two", "stable"), ("none", "stable")):
        unrecognized = ("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        assert served.predict(name, label=label) == served.metadata(name, label=label) == unrecognized


def test_labels_over_rest(served: Served) -> None:
    body = {"instances": ["one"]}
    for path in ("/v1/models/one/labels/stable", "/V1/Models/one/Labels/st%61ble"):
        assert served.server.predict(body, f"{path}:predict")[0] == 200
        assert served.get(f"{path}/metadata")[1]["model_spec"]["version"] == "1"
        assert len(served.get(path)[1]["model_version_status"]) == 2
    unrecognized = (400, {"error": "Unrecognized servable version label: STABLE"})
    assert served.server.predict(body, "/v1/models/one/labels/STABLE:predict") == unrecognized
    assert served.get("/v1/models/one/labels/STABLE/metadata") == unrecognized


def test_the_list_of_models(served: Served) -> None:
    status, answer = served.get("/v1/models")
    ok = {"error_code": "OK", "error_message": ""}
    assert (status, [model["name"] for model in answer["models"]]) == (200, ["one", "two"])
    one, two = answer["models"]
    assert one["version_labels"] == {"canary": "2", "stable": "1"}
    assert two == {
        "name": "two",
        "version_labels": {},
        "model_version_status": [{"version": "1", "state": "AVAILABLE", "status": ok}],
    }
    assert served.get("/v1/models/two")[1] == {"model_version_status": two["model_version_status"]}
    assert served.get("/v1/models/versions/1")[0] == 400


def test_a_reload_replaces_the_list(served: Served) -> None:
    assert served.reload(three="", two="") is None
    assert (served.predict("three"), served.predict("two")) == (1, 1)
    assert served.predict("one") == ("NOT_FOUND", "Servable not found for request: Latest(one)")
    assert [model["name"] for model in served.get("/v1/models")[1]["models"]] == ["three", "two"]
    wait_until(lambda: served.states("one") == {2: "END", 1: "END"}, "the end of a model that is not listed")
    assert served.reload(one="") is None
    assert served.predict("one") == 3
    assert served.states("one") == {3: "AVAILABLE", 2: "END", 1: "END"}


def test_a_reload_changes_the_versions_of_a_model_that_stays(served: Served) -> None:
    def available() -> set[int]:
        return {number for number, state in served.states("one").items() if state == "AVAILABLE"}

    assert served.reload(one="model_version_policy { latest { num_versions: 2 } }") is None
    wait_until(lambda: available() == {2, 3}, "the two latest")
    assert served.predict("one") == 3
    assert served.reload(one="model_version_policy { specific { versions: 1 } }") is None
    wait_until(lambda: available() == {1}, "the first alone")
    assert served.predict("one") == 1
    assert served.reload(one="model_version_policy { all {} }") is None
    wait_until(lambda: available() == {1, 2, 3}, "all of them")
    assert served.predict("one") == 3


def test_a_reload_with_no_models(served: Served) -> None:
    assert served.reload() is None
    assert served.predict("two") == ("NOT_FOUND", "Servable not found for request: Latest(two)")
    assert served.get("/v1/models") == (200, {"models": []})


def test_a_reload_waits_for_new_models(served: Served, export: Path) -> None:
    answers: list[Refusal | None] = []
    call = threading.Thread(target=lambda: answers.append(served.reload(late="", two="")))
    call.start()
    wait_until(lambda: "No versions of model late found" in served.server.log(), "the reload to begin")
    assert (answers, served.predict("one"), served.predict("two")) == ([], 2, 1)
    shutil.copytree(export, served.models / "staging")
    os.rename(served.models / "staging", served.models / "late" / "5")
    call.join()
    assert (answers, served.predict("late")) == ([None], 5)


def test_requests_in_flight_outlive_their_model(served: Served, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    answers: list[tuple[int, Any]] = []
    body = {"signature_name": "wait", "inputs": gate.path}
    call = threading.Thread(target=lambda: answers.append(served.server.predict(body, "/v1/models/two:predict")))
    call.start()
    gate.wait_held()
    assert served.reload(one="") is None
    wait_until(lambda: served.states("two") == {1: "UNLOADING"}, "the model to be on its way")
    gate.open()
    call.join()
    assert answers == [(200, {"outputs": 1})]
    wait_until(lambda: served.states("two") == {1: "END"}, "the end")


def test_no_request_to_a_model_that_stays_fails_while_others_come_and_go(served: Served) -> None:
    answers: set[Any] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answers.update({served.predict("two"), served.predict("two", version=1)})

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for others in ({"one": ""}, {"three": ""}, {}, {"broken": ""}, {"one": BOTH, "three": ""}):
            served.reload(two="model_version_policy { all {} }" if others else "", **others)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert answers == {1}


def unavailable(label: str, version: int, model: str = "one") -> Refusal:
    message = f"Request to assign label to version {version} of model {model}, which is not currently available for"
    return ("FAILED_PRECONDITION", f"{message} inference")


@pytest.mark.parametrize(
    ("texts", "refusal"),
    [
        ({"one": 'base_path: "models/one"'}, ("INVALID_ARGUMENT", "Expected model one to have an absolute path")),
        (
            {"one": 'model_platform: "torch"'},
            ("INVALID_ARGUMENT", "Illegal to change a model's platform. For model one"),
        ),
        ({"three": 'model_platform: "torch"'}, ("INVALID_ARGUMENT", "Model three requests unsupported platform torch")),
        (
            {"three": 'model_platform: ""'},
            ("INVALID_ARGUMENT", "Illegal setting neither ModelServerConfig::model_type"),
        ),
        ({"one": f'{BOTH} version_labels {{ key: "stable" value: 3 }}'}, unavailable("stable", 3)),
        ({"three": STABLE}, unavailable("stable", 1, "three")),
        (
            {"broken": "", "three": ""},
            (
                "UNKNOWN",
                "1 model(s) did not become available: {{{name: broken version: 1} due to error: NOT_FOUND: Could",
            ),
        ),
    ],
)
def test_a_reload_that_fails_leaves_what_was_served(served: Served, texts: dict[str, str], refusal: Refusal) -> None:
    answer = served.reload(**texts)
    assert answer is not None
    assert (answer[0], answer[1][: len(refusal[1])]) == refusal
    assert [served.predict("one", label="stable"), served.predict("one"), served.predict("two")] == [1, 2, 1]
    assert [model["name"] for model in served.get("/v1/models")[1]["models"]] == ["one", "two"]
    assert "the reload of the configuration failed: " in served.server.log()


def test_a_model_that_is_listed_twice(served: Served) -> None:
    config = config_of(served.models, two="")
    config.model_config_list.config.append(config.model_config_list.config[0])
    assert served.reload(config) == ("INVALID_ARGUMENT", "Illegal to list model two multiple times in config list")


def test_only_lists_can_be_reloaded(served: Served) -> None:
    message = "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"
    for text in ("", "custom_model_config {}"):
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        assert served.reload(config) == ("INVALID_ARGUMENT", f"{message} supported")


def test_a_reload_that_its_caller_gave_up_changes_nothing(served: Served) -> None:
    assert served.reload(nowhere="", timeout_s=0.5)[0] == "DEADLINE_EXCEEDED"
    assert (served.predict("one"), served.predict("two")) == (2, 1)
    assert served.reload(two="") is None


def test_the_file_is_read_again(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "models.config"

    def write(text: str) -> None:
        (tmp_path / "next").write_text(text)
        (tmp_path / "next").replace(path)

    write(text_format.MessageToString(config_of(models, two="")))
    flags = [f"--model_config_file={path}", "--model_config_file_poll_wait_seconds=1"]
    new_labels = "--allow_version_labels_for_unavailable_models"
    with running(tmp_path, tmp_path / "log", *flags, new_labels) as started:
        started.wait_ready()
        served = Served(started, models)
        assert served.get("/v1/models") == (400, {"error": "Missing model name in request."})
        write("model_config_list { config { nme: 'one' } }")
        wait_until(lambda: f"the configuration {path} is not taken over" in started.log(), "a line on what is wrong")
        assert served.predict("two") == 1
        write(text_format.MessageToString(config_of(models, one=f"{BOTH} {CANARY}")))
        wait_until(lambda: served.predict("one", label="canary") == 2, "the model that the file now lists")
        wait_until(lambda: served.predict("two") == ("NOT_FOUND", "Servable not found for request: Latest(two)"), "so")


def test_sigterm_ends_a_reload_that_waits(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("")  # a server may start with nothing, and be told later
    answers: list[Refusal | None] = []
    with running(tmp_path, tmp_path / "log", f"--model_config_file={path}") as started:
        started.wait_ready()
        served = Served(started, models)
        assert served.predict("two") == ("NOT_FOUND", "Servable not found for request: Latest(two)")
        call = threading.Thread(target=lambda: answers.append(served.reload(nowhere="", two="")))
        call.start()
        wait_until(lambda: "Could not find base path" in started.log(), "the reload to begin")
        started.process.send_signal(signal.SIGTERM)
        call.join()
        assert answers[0] is not None and answers[0][0] == "UNAVAILABLE"
        assert started.process.wait(30) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "failed to start: NOT_FOUND: {path}; No such file or directory"),
        ("model_config_list { confg {} }", "failed to start: INVALID_ARGUMENT: Invalid protobuf file: '{path}': 1:21"),
        (
            'model_config_list { config { name: "m" base_path: "m" model_platform: "tensorflow" } }',
            "failed to start: INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        ("custom_model_config {}", "failed to start: INVALID_ARGUMENT: ModelServer does not yet support custom model"),
    ],
)
def test_a_server_with_a_wrong_file_does_not_start(text: str | None, message: str, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "models.config"
    if text is not None:
        path.write_text(text)
    assert serve(Flags(model_config_file=str(path), port=free_port()), [], threading.Event()) == 1
    assert message.format(path=path) in capfd.readouterr().err
