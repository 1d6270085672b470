"""The pushed model, served: the answers of `fovea predict` over gRPC and REST, from a real server process."""

from __future__ import annotations

import json
import pathlib
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

from components import alignment
from pipeline import predict
from pipeline.result import Run
from serving import client
from tests.end_to_end.conftest import Workshop
from tests.serving.tiny_server import MODEL, Server, running

TEXTS = ["abc1", "edcba3", "a", "", "deed bead 5"]
WANTED = predict.Wanted(n_best=3, attention=True)


@pytest.fixture(scope="module")
def server(workshop: Workshop, first: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with running(workshop.home.models("capitals"), log) as started:
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def here(first: Run) -> list[predict.Answer]:
    model = predict.load(pathlib.Path(str(first.result.model_path)))
    return predict.answer(model, predict.read(TEXTS), WANTED)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_server_answers_as_the_process_does(server: Server, here: list[predict.Answer], scheme: str) -> None:
    port = server.rest_port if scheme else server.grpc_port
    model = predict.connect(f"{scheme}localhost:{port}", MODEL)
    there = predict.answer(model, predict.read(TEXTS), WANTED)
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.text == ours.text
        assert theirs.score == pytest.approx(ours.score, rel=1e-5)
        assert [one["text"] for one in theirs.n_best or ()] == [one["text"] for one in ours.n_best or ()]
        assert theirs.alignment is not None and ours.alignment is not None
        assert theirs.alignment.source_pieces == ours.alignment.source_pieces
        assert theirs.alignment.attention == pytest.approx(ours.alignment.attention, abs=1e-5)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_beginnings_and_draws(server: Server, first: Run, scheme: str) -> None:
    port = server.rest_port if scheme else server.grpc_port
    here, there = (
        predict.load(pathlib.Path(str(first.result.model_path))),
        predict.connect(f"{scheme}localhost:{port}", MODEL),
    )
    for wanted in (predict.Wanted(prefix="E D"), predict.Wanted(seed=5)):
        ours, theirs = (predict.answer(model, predict.read(TEXTS), wanted) for model in (here, there))
        assert [answer.text for answer in ours] == [answer.text for answer in theirs]
        assert all(answer.text.startswith(wanted.prefix or "") for answer in ours)


def test_beginnings_draws_and_n_best_are_searches_of_their_own() -> None:
    with pytest.raises(ValueError, match="one search cannot take --seed and --n-best or --attention"):
        predict.Wanted(seed=1, attention=True)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_given_answer_is_scored(server: Server, here: list[predict.Answer], scheme: str) -> None:
    port = server.rest_port if scheme else server.grpc_port
    with client.connect(f"{scheme}localhost:{port}", model=MODEL) as connection:
        given = connection.predict("score", {"text": TEXTS, "target": [answer.text for answer in here]})
    np.testing.assert_allclose(given["score"], [answer.score for answer in here], rtol=1e-4)
    for answer, scored in zip(here, alignment.read(given), strict=True):
        assert answer.alignment is not None and scored.target_pieces == answer.alignment.target_pieces
        np.testing.assert_allclose(scored.attention, answer.alignment.attention, atol=1e-5)


def test_no_rows_are_no_answers(server: Server) -> None:
    for address in (f"localhost:{server.grpc_port}", f"http://localhost:{server.rest_port}"):
        with client.connect(address, model=MODEL) as connection:
            for signature in ("serving_default", "n_best", "align"):
                nothing = np.array([], dtype=object)  # a bare [] has no type that gRPC could send
                assert len(connection.predict(signature, {"text": nothing})["text"]) == 0


def test_curl(server: Server, here: list[predict.Answer]) -> None:
    """What the README types."""
    request = urllib.request.Request(
        f"http://localhost:{server.rest_port}/v1/models/{MODEL}:predict",
        data=json.dumps({"instances": TEXTS}).encode(),
    )
    with urllib.request.urlopen(request) as response:
        predictions = json.load(response)["predictions"]
    assert [row["text"] for row in predictions] == [answer.text for answer in here]


def test_a_row_does_not_depend_on_its_batch(server: Server, here: list[predict.Answer]) -> None:
    with client.connect(f"localhost:{server.grpc_port}", model=MODEL) as connection:
        alone = [connection.predict("serving_default", {"text": [text]}) for text in TEXTS]
    assert [str(outputs["text"][0]) for outputs in alone] == [answer.text for answer in here]
