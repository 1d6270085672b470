"""The signatures of an export hold together: what one says of an answer, another says of the same answer."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from serving import signatures, warmup
from serving.errors import ServingError
from serving.local import LocalModel
from serving.saved_model import SavedModel, Threads
from serving.search import Buckets, Decoding
from tests.serving.exports import TARGETS, TEXTS, exported

MOST = 61  # pieces of a text
ALL = {"serving_default", "n_best", "align", "score", "complete", "sample", "examples"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    settings = Decoding(
        beam_size=3, length_penalty=0.7, coverage_penalty=0.3, min_length_ratio=0.5, max_source_length=MOST
    )
    return exported(tmp_path_factory.mktemp("export") / "1", settings)


@pytest.fixture(scope="module")
def model(path: pathlib.Path) -> LocalModel:
    return LocalModel(path)


def score(model: LocalModel, texts: list[str], targets: list[str]) -> dict[str, np.ndarray]:
    return model.predict("score", {"text": texts, "target": targets})


def test_a_given_answer_has_the_score_that_the_search_gives_it(model: LocalModel) -> None:
    found = model.predict("n_best", {"text": TEXTS})
    for answers, scores in zip(found["text"].T, found["score"].T, strict=True):
        np.testing.assert_allclose(score(model, TEXTS, answers.tolist())["score"], scores, rtol=1e-4)


def test_the_attention_of_a_given_answer_is_that_of_the_same_answer_found(model: LocalModel) -> None:
    found = model.predict("align", {"text": TEXTS})
    given = score(model, TEXTS, found["text"].tolist())
    assert set(given) == {"score", "source_pieces", "target_pieces", "piece_scores", "attention"}
    length = given["target_pieces"].shape[1]  # a search leaves room for the longest answer that it may find
    assert given["target_pieces"].tolist() == found["target_pieces"][:, :length].tolist()
    assert given["source_pieces"].tolist() == found["source_pieces"].tolist()
    np.testing.assert_allclose(given["attention"], found["attention"][:, :length], atol=1e-6)
    np.testing.assert_allclose(given["piece_scores"], found["piece_scores"][:, :length], atol=1e-5)


def test_the_score_is_made_of_the_scores_of_the_pieces_and_of_the_coverage(model: LocalModel) -> None:
    found = score(model, TEXTS, TARGETS)
    said = found["piece_scores"]
    assert ((said < 0) == (found["target_pieces"] != "")).all()
    lengths = (said < 0).sum(axis=1)
    looked = np.where(found["source_pieces"] != "", found["attention"].sum(axis=1), 1.0)
    coverage = 0.3 * np.log(np.clip(looked, 1e-6, 1.0)).sum(axis=1)
    np.testing.assert_allclose(found["score"], said.sum(axis=1) / ((5 + lengths) / 6) ** 0.7 + coverage, rtol=1e-4)


def test_answers_are_at_least_as_long_as_the_settings_say(model: LocalModel) -> None:
    texts = ["fovea" * 8, "e"]
    answers = model.predict("n_best", {"text": texts})["text"]
    assert all(
        len(answer.split()) >= len(text + ".") // 2 for text, row in zip(texts, answers, strict=True) for answer in row
    )


def test_coverage_needs_a_beam() -> None:
    with pytest.raises(ValueError, match="expected a beam_size of 2 or more, got 1"):
        Decoding(beam_size=1, coverage_penalty=0.2)


def test_pieces_of_a_given_answer_end_and_attention_is_over_the_source(model: LocalModel) -> None:
    given = score(model, TEXTS, TARGETS)
    assert given["target_pieces"][0].tolist() == ["▁A", "▁B", "</s>", "", "", ""]
    assert given["source_pieces"][0].tolist() == ["a", "b", "</s>", "", "", ""]
    sums = given["attention"].sum(axis=2)
    np.testing.assert_allclose(sums, given["target_pieces"] != "", atol=1e-5)
    assert not given["attention"][0][:, 3:].any()


def test_a_score_does_not_depend_on_the_batch(model: LocalModel) -> None:
    together = score(model, TEXTS, TARGETS)["score"]
    alone = [score(model, [text], [target])["score"][0] for text, target in zip(TEXTS, TARGETS, strict=True)]
    np.testing.assert_allclose(alone, together, rtol=1e-4)


def test_no_rows_and_empty_texts(model: LocalModel) -> None:
    nothing = score(model, [], [])
    assert nothing["score"].shape == (0,) and len(nothing["attention"]) == 0
    assert len(model.predict("sample", {"text": [], "seed": []})["text"]) == 0
    empty = score(model, [""], [""])
    assert empty["target_pieces"].tolist() == [["</s>"]] and np.isfinite(empty["score"]).all()


def test_a_text_that_is_too_long_is_refused(model: LocalModel) -> None:
    longest = "a" * (MOST - 1)  # and END
    assert len(model.predict("serving_default", {"text": ["", longest, "e"]})["text"]) == 3
    refused = f"at most {MOST} pieces a row \\(decoding.max_source_length\\), and a row has"
    words = " ".join(["A"] * MOST)
    for signature, inputs, error in (
        ("serving_default", {"text": ["e", longest + "a"]}, f"text is too long: {refused}\\D*{MOST + 1}]"),
        ("align", {"text": ["a" * 1000]}, f"text is too long: {refused}\\D*1000\\] \\[bytes]"),
        ("score", {"text": ["a"], "target": [words + " A"]}, f"target is too long: {refused}\\D*{MOST + 1}]"),
        ("complete", {"text": ["a"], "prefix": [words + " A"]}, f"prefix is too long: {refused}\\D*{MOST + 1}]"),
    ):
        with pytest.raises(ServingError, match=error):
            model.predict(signature, inputs)


def test_as_many_answers_as_texts(model: LocalModel) -> None:
    with pytest.raises(ServingError, match="text and target must have the same number of rows"):
        score(model, TEXTS, TARGETS[:2])


def test_a_server_warms_up_with_every_signature_that_takes_strings(path: pathlib.Path) -> None:
    records = list(tf.data.TFRecordDataset(str(path / warmup.REQUESTS)).as_numpy_iterator())
    from tensorflow_serving.apis import prediction_log_pb2

    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.signature_name: set(request.inputs) for request in requests} == {
        signatures.SERVING_DEFAULT: {"text"},
        signatures.N_BEST: {"text"},
        signatures.ALIGN: {"text"},
        signatures.SCORE_TARGET: {"text", "target"},
        signatures.COMPLETE: {"text", "prefix"},
        signatures.SAMPLE: {"text", "seed"},
    }
    warmup.warm_up(SavedModel(str(path), ["serve"], Threads()), str(path))


def test_a_model_says_what_it_can_be_asked(model: LocalModel) -> None:
    assert model.signatures == ALL


def test_an_answer_begins_as_it_is_told_to(model: LocalModel) -> None:
    free = model.predict("serving_default", {"text": TEXTS})
    told = model.predict("complete", {"text": TEXTS, "prefix": ["", "AH OW AH OW", "IY"]})
    assert told["text"][0].startswith(free["text"][0])  # nothing told
    assert told["text"][1].startswith("AH OW AH OW") and told["text"][2].startswith("IY")
    np.testing.assert_allclose(score(model, TEXTS, told["text"].tolist())["score"], told["score"], rtol=1e-4)
    with pytest.raises(ServingError, match="text and prefix must have the same number of rows"):
        model.predict("complete", {"text": TEXTS, "prefix": ["AH"]})


def test_an_answer_is_drawn_by_its_seed(model: LocalModel) -> None:
    texts, seeds = ["fovea"] * 40, list(range(40))
    drawn = model.predict("sample", {"text": texts, "seed": seeds})
    assert len(set(drawn["text"].tolist())) > 20
    backwards = model.predict("sample", {"text": texts, "seed": seeds[::-1]})
    assert backwards["text"].tolist() == drawn["text"].tolist()[::-1]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    buckets = Buckets(rows=(1, 3), lengths=(4, 9))
    return exported(tmp_path_factory.mktemp("compiled") / "1", Decoding(beam_size=3, compiled=buckets))


def test_a_compiled_search_answers_as_the_other(compiled: pathlib.Path) -> None:
    model = LocalModel(compiled)
    assert model.signatures == ALL | {"without_xla"}
    for texts in (["ab"], TEXTS, ["fovea" * 3], ["ab"] * 2, ["ab"] * 5, [""], []):  # in buckets or in none
        found, other = (model.predict(name, {"text": texts}) for name in ("serving_default", "without_xla"))
        assert found["text"].tolist() == other["text"].tolist()
        np.testing.assert_allclose(found["score"], other["score"], rtol=1e-4)
        best = model.predict("n_best", {"text": texts})
        assert best["text"].shape == (len(texts), 3) and best["text"][:, 0].tolist() == found["text"].tolist()


def test_a_server_compiles_every_bucket_before_the_first_request(compiled: pathlib.Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(compiled / warmup.REQUESTS)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    texts = [
        [text.decode() for text in tf.make_ndarray(request.inputs["text"])]
        for request in requests
        if request.model_spec.signature_name == "n_best"
    ]
    # A letter is a piece, and END is one more.
    filled = [(len(rows), min(size for size in (4, 9) if size > len(rows[0]))) for rows in texts]
    assert filled == [(1, 4), (3, 4), (1, 9), (3, 9)] and all(len(set(rows)) == 1 for rows in texts)


def test_buckets_go_from_small_to_large() -> None:
    with pytest.raises(ValueError, match=r"lengths: expected sizes from small to large, each once, got \[9, 4\]"):
        Buckets(rows=(1,), lengths=(9, 4))


def test_a_bucket_is_for_texts_that_a_model_takes() -> None:
    with pytest.raises(ValueError, match=r"compiled\.lengths: 128 is more than max_source_length, 100"):
        Decoding(max_source_length=100, compiled=Buckets(rows=(1,), lengths=(16, 128)))
