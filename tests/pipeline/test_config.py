"""The configuration: what a user writes, and all that can be wrong with it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import textwrap

import pytest

from pipeline import config, digest
from serving.card import Card
from serving.search import Buckets, Decoding

GOOD = """
name: reverse
data:
  source: {name: parallel_text, path: pairs.tsv}
model: rnn
"""


def write(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / "config.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def problems(folder: pathlib.Path, text: str, *changes: str) -> dict[str, str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(write(folder, text), changes)
    return {problem.path: problem.text for problem in caught.value.problems}


def test_short_form_and_defaults(tmp_path: pathlib.Path) -> None:
    loaded = config.load(write(tmp_path, GOOD))
    assert loaded.model == {"name": "rnn"}
    assert loaded.training.epochs == config.training.Config().epochs


def test_set_wins_over_the_file_and_reaches_into_the_short_form(tmp_path: pathlib.Path) -> None:
    loaded = config.load(write(tmp_path, GOOD), ["training.epochs=17", "model.units=34", "data.splits.train=0.8"])
    assert loaded.training.epochs == 17
    assert loaded.model == {"name": "rnn", "units": 34}


def test_all_problems_are_reported_at_once(tmp_path: pathlib.Path) -> None:
    found = problems(
        tmp_path,
        """
        name: Bad Name
        dat: {}
        data:
          source: {name: cmudct}
          splits: {train: 0.9, validation: 0.05, test: 0.15}
          max_rows: many
        model: {name: rnn, atention: dot, attend: befor, dropout: 1.5}
        training: {epochs: 0, batches: {boundaries: [3, 2]}}
        evaluation: {metrics: [bleu], thresholds: {chrf: 50}}
        """,
        "training.epohs=3",
        "nonsense",
    )
    assert "did you mean 'data'?" in found["dat"]
    assert found["data.source.name"].startswith("\"cmudct\" is not known; did you mean 'cmudict'?")
    assert found["data.splits"] == "train + validation + test is 1.1, expected 1"
    assert found["data.max_rows"] == '"many": should be a valid integer'
    assert "did you mean 'attention'?" in found["model.atention"]
    assert "did you mean 'before'? allowed: before, after" in found["model.attend"]
    assert found["model.dropout"] == "1.5: should be less than 1"
    assert found["training.epochs"] == "0: should be greater than 0"
    assert found["training.batches"] == "boundaries must rise, got [3, 2]"
    assert "did you mean 'epochs'?" in found["training.epohs"]
    assert "chrf" in found["evaluation"]
    assert found["--set"] == "'nonsense', expected a.b=value"
    assert "name" in found
    assert len(found) == 13


def test_options_of_a_source_are_checked_by_the_source(tmp_path: pathlib.Path) -> None:
    found = problems(
        tmp_path, "{name: a, data: {source: {name: parallel_text, pat: a.tsv, columns: {source: 0}}}, model: rnn}"
    )
    assert found["data.source.path"] == "is missing"
    assert "did you mean 'path'?" in found["data.source.pat"]
    assert found["data.source.columns.source"].startswith("0: should be greater than or equal to 1, or ")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [", "file", "is not YAML"),
        ("just words", "file", "holds no mapping"),
        ("name: a", "data", "is missing"),
        ("{name: a, data: {source: {path: x}}}", "data.source.name", "allowed: babi, cmudict, dates, "),
        ("{name: a, data: {source: cmudict, max_rows: 2020-01-01}}", "file", "JSON has not"),
    ],
)
def test_broken_documents(tmp_path: pathlib.Path, text: str, where: str, what: str) -> None:
    assert what in problems(tmp_path, text)[where]


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(config.ConfigError, match=r"nowhere\.yaml: 1 problem\n  file: cannot be read: No such file"):
        config.load(tmp_path / "nowhere.yaml")


def test_flat_settings_hold_everything(tmp_path: pathlib.Path) -> None:
    flat = config.to_flat(config.load(write(tmp_path, GOOD)))
    assert flat["name"] == "reverse"
    assert flat["data.source.path"] == "pairs.tsv"
    assert flat["training.schedule.learning_rate"] == "0.001"
    assert all(isinstance(value, str) for value in flat.values())


@pytest.mark.parametrize("example", sorted((digest.PROJECT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_good_configuration(example: pathlib.Path) -> None:
    assert config.load(example).name


def test_attention_is_found_by_name_with_its_options(tmp_path: pathlib.Path) -> None:
    loaded = config.load(write(tmp_path, GOOD), ["model.attention={name: local_m, window: 5}"])
    assert config.model_shape(loaded).attention == {"name": "local_m", "window": 5}
    short = config.load(write(tmp_path, GOOD), ["model.attention=coverage"])
    assert short.model["attention"] == {"name": "coverage"}


def test_problems_of_an_attention(tmp_path: pathlib.Path) -> None:
    unknown = problems(tmp_path, GOOD, "model.attention=locaton")
    assert "did you mean 'location'?" in unknown["model.attention.name"]
    found = problems(tmp_path, GOOD, "model.attention={name: local_m, windw: 5}")
    assert "did you mean 'window'?" in found["model.attention.windw"]
    found = problems(tmp_path, GOOD, "model.attention={name: local_p, window: 0}")
    assert found["model.attention.window"] == "0: should be greater than 0"
    found = problems(tmp_path, GOOD, "model.attention={name: location, width: 4}")
    assert "expected an odd width, got 4" in found["model.attention"]


def test_lengths_must_be_padded_to_something(tmp_path: pathlib.Path) -> None:
    found = problems(tmp_path, GOOD, "training.batches.boundaries=[]")
    assert "at least 1 item" in found["training.batches.boundaries"]


def test_a_mechanism_that_the_units_do_not_suit(tmp_path: pathlib.Path) -> None:
    found = problems(tmp_path, GOOD, "model.units=128", "model.attention={name: multi_head, heads: 3}")
    assert found["model"].endswith("got depth 128 and 3 heads")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("{name: linear, slop: 1}", "training.scheduled_sampling.slop"),
        ("{name: sigmoid}", "training.scheduled_sampling.name"),
    ],
)
def test_problems_of_scheduled_sampling(tmp_path: pathlib.Path, change: str, path: str) -> None:
    assert path in problems(tmp_path, GOOD, f"training.scheduled_sampling={change}")


@pytest.mark.parametrize("change", ["model.copy=true", "model.tie_embeddings=all"])
def test_a_model_of_shared_pieces_needs_a_tokenizer_of_them(tmp_path: pathlib.Path, change: str) -> None:
    found = problems(tmp_path, GOOD, change)
    assert found == {"model": "copy and tie_embeddings: all need tokenizer.shared: pieces that both sides share"}
    config.load(write(tmp_path, GOOD), [change, "tokenizer.shared={kind: bpe, vocabulary_size: 300}"])


BPE, UNIGRAM = "{bpe_dropout: 0.1}", "{unigram_alpha: 0.2}"


@pytest.mark.parametrize(
    ("sampling", "changes", "text"),
    [
        (
            BPE,
            ["tokenizer.source={kind: char}", "tokenizer.target={kind: word}"],
            "kind bpe, expected .*: char and word",
        ),
        (UNIGRAM, ["tokenizer.shared={kind: bpe}"], "kind unigram, expected those of the tokenizer: bpe"),
        (UNIGRAM, ["tokenizer.shared={kind: unigram, symbols: [<x>]}"], "cuts symbols"),
        (BPE, ["tokenizer.shared={kind: bpe}", "model.copy=true"], "nothing could be copied"),
    ],
)
def test_what_cannot_be_cut_in_other_ways(tmp_path: pathlib.Path, sampling: str, changes: list[str], text: str) -> None:
    found = problems(tmp_path, GOOD, f"training.subword_sampling={sampling}", *changes)
    assert list(found) == ["training.subword_sampling"]
    assert re.search(text, found["training.subword_sampling"])


@pytest.mark.parametrize("sampling", [BPE, UNIGRAM])
def test_a_side_that_can_be_cut_in_other_ways_is_enough(tmp_path: pathlib.Path, sampling: str) -> None:
    kind = "bpe" if sampling == BPE else "unigram"
    sides = ["tokenizer.source={kind: char, symbols: [<x>]}", f"tokenizer.target={{kind: {kind}}}"]
    assert config.load(write(tmp_path, GOOD), [f"training.subword_sampling={sampling}", *sides])


TUNE = "tune={parameters: {model.units: [16, 32], training.schedule.learning_rate: {min: 0.001, max: 0.01, log: true}}}"


def test_what_a_search_may_try(tmp_path: pathlib.Path) -> None:
    loaded = config.load(write(tmp_path, GOOD), [TUNE])
    assert loaded.tune is not None
    assert loaded.tune.samples() == {"model.units": (16, 32), "training.schedule.learning_rate": (0.001, 0.01)}
    assert loaded == config.parse(config.to_document(loaded), "again")


def test_the_numbers_between_both_ends_are_checked_too(tmp_path: pathlib.Path) -> None:
    heads = "model={name: transformer, units: 64, heads: 4}"
    found = problems(tmp_path, GOOD, heads, "tune={parameters: {model.units: {min: 64, max: 256}}}")
    assert "65: model: units must be a multiple of heads" in found["tune.parameters.model.units"]
    steps = "tune={parameters: {model.units: {min: 64, max: 256, step: 64}}}"
    stepped = config.load(write(tmp_path, GOOD), [heads, steps])
    assert stepped.tune is not None and stepped.tune.samples() == {"model.units": (64, 128, 256)}


def test_numbers_are_numbers_and_keys_are_there_once(tmp_path: pathlib.Path) -> None:
    rates = ["training.schedule.learning_rate=1e-3", "training.clip_norm=5E0"]
    loaded = config.load(write(tmp_path, GOOD), rates)
    assert (loaded.training.schedule.learning_rate, loaded.training.clip_norm) == (0.001, 5.0)
    twice = problems(tmp_path, f"{GOOD}\ntraining: {{epochs: 3}}\ntraining: {{patience: 2}}\n")
    assert "the key 'training' is there twice" in twice["file"] and "line 8" in twice["file"]


def test_where_mlflow_is_has_a_scheme(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("http://localhost:5000", "sqlite:////tmp/mlflow.db", "postgresql+psycopg2://u:p@h/db"):
        assert config.load(write(tmp_path, GOOD), [f"tracking_uri={uri}"]).tracking_uri == uri
    assert "tracking_uri" in problems(tmp_path, GOOD, "tracking_uri=localhost:5000")
    monkeypatch.setenv("FOVEA_TRACKING_URI", "mlflow:5000")
    assert "tracking_uri" in problems(tmp_path, GOOD)


def test_better_than_nothing_is_no_comparison(tmp_path: pathlib.Path) -> None:
    found = problems(tmp_path, GOOD, "evaluation={bless: better, compare: {}}")
    assert "needs a metric to be better by" in found["evaluation"]


def test_how_an_export_shall_search() -> None:
    card = Card("mine", "1", "word", decoding=dataclasses.asdict(Decoding(beam_size=3, length_penalty=0.9)))
    changed = config.load_decoding(card, ["decoding.beam_size=8", "decoding.compiled={rows: [1], lengths: [16]}"])
    assert changed == Decoding(beam_size=8, length_penalty=0.9, compiled=Buckets((1,), (16,)))
    with pytest.raises(config.ConfigError) as caught:
        config.load_decoding(card, ["decoding.beam=8", "model.units=7", "nonsense"])
    assert {problem.path for problem in caught.value.problems} == {"decoding.beam", "model", "--set"}
    with pytest.raises(config.ConfigError, match="a version that did not say how it searches"):
        config.load_decoding(dataclasses.replace(card, decoding={}), [])


@pytest.mark.parametrize(
    ("parameters", "path", "text"),
    [
        ("{model.unit: [16]}", "tune.parameters.model.unit", "16: model.unit: unknown key; did you mean 'units'?"),
        ("{model.dropout: [0.1, 2.0]}", "tune.parameters.model.dropout", "2.0: model.dropout: 2.0: should be less"),
        ("{data.max_rows: [9]}", "tune", "parameters: data.max_rows: expected paths within model or training"),
        ("{model.units: {min: 9, max: 8}}", "tune.parameters.model.units", "expected min below max, got 9 and 8"),
        ("{model.units: {min: 8, max: 64, step: 0.5}}", "tune.parameters.model.units", "expected a whole step between"),
        ("{model.units: {min: 8, max: 9, step: 2}}", "tune.parameters.model.units", "leads no further than max, got 2"),
        ("{training.ema: {min: 0.1, max: 0.9, step: 0.1, log: true}}", "tune.parameters", "expected step or log"),
        ("{}", "tune.parameters", "should have at least 1 item"),
    ],
)
def test_what_a_search_may_not_try(tmp_path: pathlib.Path, parameters: str, path: str, text: str) -> None:
    found = problems(tmp_path, GOOD, f"tune={{parameters: {parameters}}}")
    assert any(text in said for said in found.values()) and any(place.startswith(path) for place in found), found
