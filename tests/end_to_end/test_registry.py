"""The registry: what was pushed is registered, the champion is what is served, and MLflow's own model answers alike."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Iterator

import mlflow
import pandas as pd
import pytest

from components import registry
from components.model_digest import TamperedModelError
from pipeline import lineage, promotion
from pipeline.result import Run
from serving.card import Card, exported_versions
from tests.end_to_end.conftest import Workshop

NAME = "capitals"
TEXTS = ["abc1", "edcba3", "", "never 9"]


@pytest.fixture(scope="module", autouse=True)
def uses_the_store(workshop: Workshop) -> Iterator[None]:
    """What `MLFLOW_TRACKING_URI` would say to a user's own MLflow."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(workshop.home.tracking(NAME).uri)
    yield
    mlflow.set_tracking_uri(before)


def served(workshop: Workshop) -> pathlib.Path:
    return exported_versions(workshop.home.models(NAME))[-1]


def registered(workshop: Workshop) -> dict[str, registry.Version]:
    found = registry.versions(workshop.home.kept_tracking(NAME).client(), NAME)
    return {one.version: one for one in found}


def predicted(workshop: Workshop) -> list[str]:
    done = workshop.fovea("predict", "--model", NAME, "--json", *TEXTS)
    assert done.returncode == 0, done.stderr
    return [answer["text"] for answer in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def second(workshop: Workshop, first: Run) -> Run:
    """Another model that is pushed."""
    run = workshop.run("training.epochs=15", "evaluation.compare={}")
    assert run.result.blessed and run.result.version != first.result.version
    return run


def test_a_pushed_model_is_registered_with_signature_and_example(workshop: Workshop, first: Run) -> None:
    version = registered(workshop)["1"]
    assert version.run_id == first.result.mlflow_run_id and version.pushed_as == first.result.version
    (model, *_) = lineage.models(workshop.home)
    assert model.registered == "1" and model.digest == version.digest
    info = mlflow.models.get_model_info(f"models:/{NAME}/1")
    assert info.signature.inputs.input_names() == ["text"] and info.signature.outputs.input_names() == ["text", "score"]
    assert info.saved_input_example_info


def test_mlflow_answers_as_predict_does(workshop: Workshop, first: Run) -> None:
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert list(loaded.predict(pd.DataFrame({"text": TEXTS}))["text"]) == predicted(workshop)


def test_the_champion_is_what_is_served(workshop: Workshop, first: Run, second: Run) -> None:
    """A push moves the alias, a rollback moves it back and promote forth, and what is served goes with it."""
    exports = {"1": Card.read(pathlib.Path(str(first.result.model_path))), "2": Card.read(served(workshop))}
    assert registered(workshop)["2"].aliases == ("champion",)
    moves = (
        (lambda: promotion.rollback(workshop.home, NAME), "1", "2"),
        (lambda: promotion.promote(workshop.home, NAME, "2"), "2", "1"),
        (lambda: promotion.rollback(workshop.home, NAME), "1", "2"),
    )
    for move, version, before in moves:
        done = move()
        assert (done.version, done.was, done.path) == (version, before, str(served(workshop)))
        assert registered(workshop)[version].aliases == ("champion",) and not registered(workshop)[before].aliases
        assert Card.read(served(workshop)) == exports[version]
    told = {model.registered: model for model in lineage.models(workshop.home) if model.registered}
    assert told["1"].aliases == ("champion",) and told["1"].version == served(workshop).name
    with pytest.raises(promotion.PromotionError, match="version 1 is the first champion of 'capitals'"):
        promotion.rollback(workshop.home, NAME)
    shown = workshop.fovea("models")
    assert "champion" in shown.stdout, shown.stderr


def test_the_next_candidate_is_compared_with_the_champion(workshop: Workshop, first: Run, second: Run) -> None:
    if registered(workshop)["2"].aliases:
        promotion.rollback(workshop.home, NAME)
    run = workshop.run("training.epochs=1", "evaluation.thresholds={}")
    client = workshop.home.tracking(NAME).client()
    tags = client.get_run(run.result.mlflow_run_id).data.tags
    (model, *_) = lineage.models(workshop.home)
    assert tags["mlmd.Champion.model"] == str(model.id)


def test_wrong_promotions_say_what_there_is(workshop: Workshop, first: Run, second: Run) -> None:
    with pytest.raises(promotion.PromotionError, match=r"'capitals' has no version '7', expected one of: 1, 2"):
        promotion.promote(workshop.home, NAME, "7")
    with pytest.raises(promotion.PromotionError, match=r"has no registered model 'unknown'"):
        promotion.promote(workshop.home, "unknown", "1")
    with workshop.home.alone(NAME), pytest.raises(RuntimeError, match="another run of 'capitals' is under way in "):
        promotion.rollback(workshop.home, NAME)
    done = workshop.fovea("promote", NAME, "7")
    assert done.returncode == 1 and "error: 'capitals' has no version '7'" in done.stderr


def test_a_tampered_or_missing_artefact_changes_nothing(workshop: Workshop, first: Run, second: Run) -> None:
    before, champion = served(workshop), {one.version: one.aliases for one in registered(workshop).values()}
    other = next(version for version, aliases in champion.items() if not aliases)
    copy = pathlib.Path(workshop.home.tracking(NAME).client().get_model_version_download_uri(NAME, other))
    (weights,) = copy.glob("artifacts/*/variables/variables.data*")
    sound = weights.read_bytes()
    try:
        weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        with pytest.raises(TamperedModelError, match=f"version {other} of 'capitals' in MLflow at .* is not the one"):
            promotion.promote(workshop.home, NAME, other)
        shutil.move(weights.parent.parent, workshop.folder / "away")
        with pytest.raises(
            FileNotFoundError, match=f"version {other} of 'capitals' in MLflow at .* holds no SavedModel"
        ):
            promotion.promote(workshop.home, NAME, other)
        shutil.move(workshop.folder / "away", weights.parent.parent)
    finally:
        weights.write_bytes(sound)
    assert served(workshop) == before
    assert {one.version: one.aliases for one in registered(workshop).values()} == champion
