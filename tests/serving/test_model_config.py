"""The rules of a configuration, and of a change from one to the next, with a loader that reads no SavedModel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from serving.configured import ConfiguredModels, LabelRule
from serving.errors import ServingError, Status
from serving.life import ModelVersions, Retries
from serving.model_config import Config, check, check_platforms, models_of, parse, policy_of, read_text, single_model
from serving.pollers import ConfigFilePoller
from serving.versions import State
from tests.serving.test_versions import load
from tests.serving.tiny_server import wait_until

VERSIONS = {1: "/m/1", 2: "/m/2", 5: "/m/5"}


def config_of(*models: str) -> Any:
    """`name: "m" base_path: "/m" ...` of each model; the platform is added where there is none."""
    config = Config()
    config.model_config_list.SetInParent()
    for model in models:
        platform = "" if "model_platform:" in model or "model_type:" in model else ' model_platform: "tensorflow"'
        text_format.Parse(model + platform, config.model_config_list.config.add())
    return config


def folder(path: Path, *versions: int | str) -> str:
    """A model's text in a configuration, with its versions as folders."""
    path.mkdir(exist_ok=True)
    for version in versions:
        (path / str(version)).mkdir(exist_ok=True)
    return f'name: "{path.name}" base_path: "{path}"'


def refusal(function: Any, *arguments: Any) -> tuple[Status, str]:
    with pytest.raises(ServingError) as caught:
        function(*arguments)
    return caught.value.status, caught.value.message


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("", [5]),
        ("model_version_policy { latest {} }", [5]),
        ("model_version_policy { latest { num_versions: 2 } }", [2, 5]),
        ("model_version_policy { all {} }", [1, 2, 5]),
        ("model_version_policy { specific { versions: 1 versions: 5 versions: 7 } }", [1, 5]),
        ("model_version_policy { specific {} }", []),
    ],
)
def test_policies(policy: str, wanted: list[int]) -> None:
    [model] = models_of(config_of(f'name: "m" {policy}'))
    assert policy_of(model)(VERSIONS) == {number: VERSIONS[number] for number in wanted}


def test_one_model_by_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert single_model("m", "models/m") == config_of(f'name: "m" base_path: "{tmp_path}/models/m"')


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (['name: "m"', 'name: "m"'], "Illegal to list model m multiple times in config list"),
        (
            ['name: "m" base_path: "models/m"'],
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            ['name: "old" base_path: "/m" model_platform: "other"'],
            "Illegal to change a model's platform. For model old platform was tensorflow and new platform requested"
            " is other",
        ),
        (
            ['name: "old" base_path: "/m" model_platform: ""'],
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
        ),
    ],
)
def test_what_may_not_be_changed_to(new: list[str], message: str) -> None:
    old = config_of('name: "old" base_path: "/m"')
    new = [text if "base_path" in text else f'{text} base_path: "/m"' for text in new]
    assert refusal(check, config_of(*new), old) == (Status.INVALID_ARGUMENT, message)
    check(old, old)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('model_platform: "torch"', "Model m requests unsupported platform torch"),
        (
            'model_type: TENSORFLOW model_platform: "tensorflow"',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.",
        ),
        ("model_type: OTHER", "ModelServerConfig::model_type choice 2 not supported."),
    ],
)
def test_platforms(model: str, message: str) -> None:
    assert refusal(check_platforms, config_of(f'name: "m" {model}')) == (Status.INVALID_ARGUMENT, message)
    check_platforms(config_of('name: "m" model_type: TENSORFLOW'))


def test_other_kinds_of_configuration() -> None:
    custom = parse("custom_model_config {}", "f")
    message = "ModelServer does not yet support custom model config."
    assert refusal(check, custom, Config()) == (Status.INVALID_ARGUMENT, message)
    check(Config(), Config())
    message = (
        "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
    )
    for other in (custom, Config()):
        assert refusal(check, other, config_of()) == (Status.FAILED_PRECONDITION, message)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    assert refusal(read_text, str(path)) == (Status.NOT_FOUND, f"{path}; No such file or directory")
    path.write_bytes(b"\xff")
    assert refusal(read_text, str(path))[1].startswith(f"Invalid protobuf file: '{path}': ")
    status, message = refusal(parse, "model_config_list {\n  model {} }", str(path))
    assert status is Status.INVALID_ARGUMENT
    assert message.startswith(f"Invalid protobuf file: '{path}': 2:3 : ") and '"model"' in message


@contextlib.contextmanager
def configured(rule: LabelRule | None = None) -> Iterator[ConfiguredModels]:
    models = ConfiguredModels(
        lambda name: ModelVersions(name, load, Retries(0)), 0.02, rule or LabelRule(), stopping=lambda: False
    )
    try:
        yield models
    finally:
        models.close()


def available(models: ConfiguredModels, name: str) -> list[int]:
    return [state.number for state in models.states(name) if state.state is State.AVAILABLE]


def test_a_new_list_replaces_the_old_one(tmp_path: Path) -> None:
    a, b, c = folder(tmp_path / "a", 1, 2), folder(tmp_path / "b", 1), folder(tmp_path / "c", 3)
    with configured() as models:
        assert models.start(config_of(a, b))
        assert (list(models.by_name), available(models, "a")) == (["a", "b"], [2])
        with models.by_name["b"].handle() as held:
            every = f"{a} model_version_policy {{ all {{}} }}"
            models.reload(config_of(every, c), lambda: False)
            assert (list(models.by_name), available(models, "c")) == (["a", "c"], [3])
            wait_until(lambda: available(models, "a") == [2, 1], "all versions of a")
            assert not held.servable.closed.is_set()
        wait_until(lambda: models.states("b")[0].state is State.END, "the end of b")
        models.reload(config_of(b), lambda: False)
        assert (list(models.by_name), available(models, "b")) == (["b"], [1])


def test_a_model_that_moves(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(), (tmp_path / "new").mkdir()
    old, new = folder(tmp_path / "old" / "m", 1), folder(tmp_path / "new" / "m", 2)
    with configured() as models:
        models.start(config_of(old))
        models.reload(config_of(new), lambda: False)
        wait_until(lambda: available(models, "m") == [2], "the version at the new place")


def test_a_model_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    a, broken = folder(tmp_path / "a", 1), folder(tmp_path / "broken", 7)
    with configured() as models:
        models.start(config_of(f'{a} version_labels {{ key: "stable" value: 1 }}'))
        status, message = refusal(models.reload, config_of(broken), lambda: False)
        assert (status, message) == (
            Status.UNKNOWN,
            "1 model(s) did not become available: {{{name: broken version: 7} due to error: DATA_LOSS:"
            f" {tmp_path}/broken/7 is broken}}, }}",
        )
        assert (list(models.by_name), models.version_of("a", "stable"), available(models, "a")) == (["a"], 1, [1])
        assert models.states("broken")[0].error is not None


def test_a_reload_that_is_given_up_changes_nothing_and_holds_nobody_up(tmp_path: Path) -> None:
    a, empty = folder(tmp_path / "a", 1), folder(tmp_path / "empty")
    given_up = threading.Event()
    refusals: list[tuple[Status, str]] = []
    with configured() as models:
        models.start(config_of(a))
        call = threading.Thread(
            target=lambda: refusals.append(refusal(models.reload, config_of(empty), given_up.is_set))
        )
        call.start()
        wait_until(lambda: "empty" in models.by_name, "the reload to begin")
        assert refusal(models.reload, config_of(), lambda: True)[0] is Status.DEADLINE_EXCEEDED
        given_up.set()
        call.join()
        assert refusals[0][0] is Status.DEADLINE_EXCEEDED
        assert list(models.by_name) == ["a"]
        models.reload(config_of(a), lambda: False)


def test_labels(tmp_path: Path) -> None:
    m = f"{folder(tmp_path / 'm', 1, 2)} model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}"

    def labelled(label: str, number: int) -> Any:
        return config_of(f'{m} version_labels {{ key: "{label}" value: {number} }}')

    unrecognized = (Status.INVALID_ARGUMENT, "Unrecognized servable version label: stable")
    refused = (
        Status.FAILED_PRECONDITION,
        "Request to assign label to version 7 of model m, which is not currently available for inference",
    )
    for rule in (LabelRule(), LabelRule(new=True), LabelRule(any=True)):
        with configured(rule) as models:
            models.start(labelled("stable", 1))
            assert models.version_of("m", "stable") == 1
            models.reload(labelled("stable", 2), lambda: False)
            assert models.version_of("m", "stable") == 2
            if rule.any:
                models.reload(labelled("stable", 7), lambda: False)
                assert models.version_of("m", "stable") == 7
            else:
                assert refusal(models.reload, labelled("stable", 7), lambda: False) == refused
                assert models.version_of("m", "stable") == 2
            if rule.new or rule.any:
                models.reload(labelled("canary", 7), lambda: False)
                assert models.version_of("m", "canary") == 7
                assert refusal(models.version_of, "m", "stable") == unrecognized
            else:
                assert refusal(models.reload, labelled("canary", 7), lambda: False) == refused
            models.reload(config_of(m), lambda: False)
            assert refusal(models.version_of, "m", "stable") == unrecognized
            assert refusal(models.version_of, "other", "stable") == unrecognized


def test_a_label_at_start_waits_for_its_version_and_must_find_it(tmp_path: Path) -> None:
    m = folder(tmp_path / "m", 1)
    with (
        configured() as models,
        pytest.raises(ServingError, match="assign label to version 7 of model m, which is not"),
    ):
        models.start(config_of(f'{m} version_labels {{ key: "stable" value: 7 }}'))
    with configured(LabelRule(new=True)) as models:
        assert models.start(config_of(f'{m} version_labels {{ key: "stable" value: 7 }}'))


def test_a_label_of_a_new_model_comes_with_the_next_reload(tmp_path: Path) -> None:
    m = folder(tmp_path / "m", 1)
    labelled = config_of(f'{m} version_labels {{ key: "stable" value: 1 }}')
    with configured() as models:
        models.start(Config())
        assert refusal(models.reload, labelled, lambda: False)[0] is Status.FAILED_PRECONDITION
        assert models.by_name == {}
        models.reload(config_of(m), lambda: False)
        models.reload(labelled, lambda: False)
        assert models.version_of("m", "stable") == 1
    with configured(LabelRule(new=True)) as models:
        models.start(Config())
        models.reload(labelled, lambda: False)
        assert models.version_of("m", "stable") == 1


def test_the_file_is_taken_over_when_it_is_right(tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "models.config"
    a, b = folder(tmp_path / "a", 1), folder(tmp_path / "b", 1)

    def write(*models: str) -> None:
        (tmp_path / "next").write_text(text_format.MessageToString(config_of(*models)))
        (tmp_path / "next").replace(path)

    with configured() as models:
        models.start(config_of(a))
        poller = ConfigFilePoller(str(path), 0.02, models.reload)
        poller.poll()
        poller.poll()
        missing = f"the configuration {path} is not taken over: NOT_FOUND: {path}; No such file or directory"
        assert capfd.readouterr().err.count(missing) == 1
        write(folder(tmp_path / "late"))
        with poller:
            wait_until(lambda: "late" in models.by_name, "the first file")
            write(b)  # the wait for a model that has no versions ends
            wait_until(lambda: list(models.by_name) == ["b"], "the second file")
    assert available(models, "b") == []
