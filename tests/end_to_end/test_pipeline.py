"""From raw rows to a served answer, with real TFX, Beam, ML Metadata, MLflow and TFMA."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import mlflow
import pytest
import rich.console
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components import row_verdict
from components.evaluator import PREDICTIONS_FILE, Verdict
from pipeline import config as configuration
from pipeline import digest, lineage
from pipeline import evaluate as evaluating
from pipeline.console import summarize
from pipeline.result import Run
from pipeline.run import execute
from serving.card import exported_versions
from tests.end_to_end.conftest import BROKEN, ROWS, Workshop, make_workshop

DEADLINE_S = 240


def pushed(workshop: Workshop) -> list[str]:
    return [path.name for path in exported_versions(workshop.home.models("capitals"))]


def predictions(workshop: Workshop) -> pathlib.Path:
    return next(workshop.home.artifacts("capitals").glob(f"Evaluator/evaluation/*/{PREDICTIONS_FILE}"))


def test_a_first_run_blesses_and_pushes(workshop: Workshop, first: Run) -> None:
    result = first.result
    assert result.blessed, result.reasons
    assert result.metrics["sequence_error_rate"] <= 0.3
    assert result.rows["rejected"] == BROKEN
    assert sum(result.rows.values()) == ROWS + BROKEN
    assert result.cached == ()
    assert result.version in pushed(workshop) and result.model_path
    assert pathlib.Path(result.model_path, "assets.extra", "tf_serving_warmup_requests").exists()
    assert len(first.pictures) == len(first.samples) == 8


def test_dead_letters_are_exactly_the_broken_rows(workshop: Workshop, first: Run) -> None:
    letters = [json.loads(line) for line in first.dead_letters.read_text().splitlines()]
    assert {letter["line"]: letter["reason"] for letter in letters} == workshop.broken
    assert len(letters) == BROKEN
    assert {letter["file"] for letter in letters} == {str(workshop.folder / "pairs.tsv")}
    copy = workshop.home.rejected("capitals") / "rejected.jsonl"
    assert copy.read_text() == first.dead_letters.read_text()


def test_rows_are_checked_as_sequences(workshop: Workshop, first: Run) -> None:
    """The workshop's words are drawn from few, so that some are there twice."""
    (folder,) = workshop.home.artifacts("capitals").glob("SequenceValidator/checks/*")
    verdict = row_verdict.Verdict.read(folder)
    (twice,) = (each for each in verdict.checks if (each.kind, each.split) == ("duplicate", "train"))
    lines = (workshop.folder / "pairs.tsv").read_bytes().splitlines()
    listed = [each for each in row_verdict.read_findings(folder) if (each.kind, each.split) == ("duplicate", "train")]
    assert twice.rows > 0 and twice.words() in first.result.warnings
    for each in listed:
        assert each.file == str(workshop.folder / "pairs.tsv")
        assert lines[each.line - 1].split(b"\t")[0].decode() == each.text
    copies = sum(int(each.value.split()[0]) - 1 for each in listed if isinstance(each.value, str))
    assert copies == twice.rows and len(listed) < 100
    assert not any(each.rows for each in verdict.checks if each.kind in ("leakage", "unknown", "script"))


def test_a_limit_of_the_checks_stops_the_run_before_training(workshop: Workshop, first: Run) -> None:
    listing = workshop.home.rejected("capitals") / row_verdict.FINDINGS_FILE
    listing.unlink(missing_ok=True)
    with pytest.raises(row_verdict.RowCheckError, match=r"train: the same row more than once: \d+ rows, .* at most"):
        workshop.run("checks.limits={duplicate: 0.01}")
    assert listing.exists()  # whatever became of the run


def test_attention_finds_the_letter_that_it_says(first: Run) -> None:
    """The task's alignment is known: the n-th capital is the n-th letter."""
    right = [
        row.weights()[n].argmax() == n for row in first.samples for n in range(len(row.source_pieces) - 1) if row.right
    ]
    assert sum(right) >= 0.7 * len(right)
    metrics = first.result.metrics
    assert 0.7 <= metrics["alignment_accuracy"] <= 1
    # A link a target token, of the model and of the truth: what is not right is missing on both sides.
    assert metrics["alignment_error_rate"] == pytest.approx(1 - metrics["alignment_accuracy"], abs=0.1)
    assert 0 <= metrics["attention_entropy"] < 1.5 and 0.5 < metrics["attention_coverage"] <= 1
    assert not any("gold alignments left out" in warning for warning in first.result.warnings)
    for row in first.samples:
        assert "".join(row.source_pieces).replace("</s>", "") == row.source


def test_rows_keep_their_group_and_alignment_and_groups_have_a_mean(workshop: Workshop, first: Run) -> None:
    row = json.loads(predictions(workshop).read_text().splitlines()[0])
    assert row["group"] == "pair" and row["alignment"].split()[0] == "0-0"
    metrics = first.result.metrics
    assert metrics["group_mean_sequence_error_rate"] == pytest.approx(metrics["sequence_error_rate"])


def test_a_second_run_reuses_everything_and_pushes_nothing(workshop: Workshop, first: Run) -> None:
    before = pushed(workshop)
    again = workshop.run().result
    assert set(again.cached) == {
        "ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Tokenizer", "SequenceValidator", "Transform",
        "Trainer", "Evaluator", "ServingValidator", "Pusher", "Registrar",
    }  # fmt: skip
    assert pushed(workshop) == before
    assert again.version == first.result.version and again.metrics == first.result.metrics


def test_a_worse_model_is_not_blessed_and_not_pushed(workshop: Workshop, first: Run) -> None:
    before = pushed(workshop)
    worse = workshop.run("training.epochs=1", "evaluation.thresholds={}").result
    assert not worse.blessed and worse.version is None and worse.model_path is None
    assert "sequence_error_rate 0 -> " in worse.reasons[0] and "worse by" in worse.reasons[0]
    assert "Transform" in worse.cached and "Trainer" not in worse.cached
    assert pushed(workshop) == before


def test_other_ways_to_train_come_to_the_same_end(workshop: Workshop, first: Run) -> None:
    """No attention, half the bits, the mean of two epochs, and the best of them by what it decodes."""
    run = workshop.run(
        "model.attention=none",
        "training.precision=mixed_bfloat16",
        "training.average=2",
        "training.stop_on=token_error_rate",
        "training.scheduled_sampling={name: linear, slope: 0.01}",
        "training.accumulate=2",
        "training.epochs=3",
        "evaluation.thresholds={}",
    )
    metrics = run.result.metrics
    assert 0 < metrics["token_error_rate"] < 1.5
    assert "attention_entropy" not in metrics and "alignment_accuracy" not in metrics
    curve = mlflow.MlflowClient(workshop.home.tracking("capitals").uri).get_metric_history(
        run.result.mlflow_run_id, "validation/token_error_rate"
    )
    assert len(curve) == 3


def test_a_model_over_its_serving_budget_is_not_pushed_and_no_champion(workshop: Workshop, first: Run) -> None:
    """The Evaluator blesses it; the server that it was asked on is too slow for a budget that nothing meets."""
    before = pushed(workshop)
    changes = ("training.epochs=13", "evaluation.compare={}", "serving={rows: 3, max_latency_ms: 0.001}")
    slow = workshop.run(*changes).result
    assert not slow.blessed and slow.version is None and slow.model_path is None
    assert slow.reasons[0].startswith("serving.max_latency_ms: ") and "wanted at most 0.001" in slow.reasons[0]
    assert any(reason.endswith(": met") for reason in slow.reasons[1:])
    assert pushed(workshop) == before
    log = mlflow.MlflowClient(workshop.home.tracking("capitals").uri)
    path = log.download_artifacts(slow.mlflow_run_id, "evaluation/serving.json", str(workshop.folder))
    served = json.loads(pathlib.Path(path).read_text())
    assert served["rows"] == 3 and served["reasons"] == [slow.reasons[0]]
    again = workshop.run("evaluation.thresholds.sequence_error_rate=0.32").result  # the first model, held against...
    assert any("no other blessed model" in reason for reason in again.reasons), again.reasons  # that did serve


def test_an_export_that_is_served_already_is_not_pushed_again(workshop: Workshop, first: Run) -> None:
    """A new blessing of the same model: other thresholds, so the Evaluator and the Pusher run anew."""
    before = pushed(workshop)
    again = workshop.run("evaluation.thresholds.sequence_error_rate=0.31").result
    assert again.blessed and "Pusher" not in again.cached and "Trainer" in again.cached
    assert pushed(workshop) == before and again.version == first.result.version


def test_the_terminal_tells_of_each_component(workshop: Workshop, first: Run) -> None:
    told = io.StringIO()
    console = rich.console.Console(file=told, width=200)
    loaded = configuration.load(workshop.config, ["training.epochs=1", "evaluation.thresholds={}"])
    summarize(console, execute(loaded, workshop.home, console), seconds=1.0)
    lines = told.getvalue()
    assert "Champion" in lines and "is the one to beat" in lines
    assert f"{BROKEN} rejected" in lines and "nothing pushed" in lines and "not blessed" in lines
    assert "test alignment accuracy" in lines and "attention entropy" not in lines


def test_text_that_looks_like_markup_is_text(first: Run) -> None:
    told = io.StringIO()
    odd = dataclasses.replace(first.samples[0], source="[/b] [red]", prediction="[/]", references=["[x]"])
    summarize(rich.console.Console(file=told, width=200), first._replace(samples=(odd,)), seconds=1.0)
    assert "[/b] [red] → [/]" in told.getvalue() and "[x]" in told.getvalue()


def test_a_failed_run_says_where_and_why(workshop: Workshop, first: Run) -> None:
    changes = ["tokenizer={source: {kind: bpe, vocabulary_size: 7}, target: {kind: word}}", "name=fails"]
    with pytest.raises(Exception, match="vocabulary_size is 7"):
        workshop.run(*changes)
    client = mlflow.MlflowClient(workshop.home.tracking("fails").uri)
    (run,) = client.search_runs([client.get_experiment_by_name("fails").experiment_id])
    assert run.info.status == "FAILED" and "vocabulary_size is 7" in run.data.tags["fovea.error"]


def test_evaluate_agrees_with_the_evaluator(workshop: Workshop, first: Run) -> None:
    data = ("--data", str(predictions(workshop)), "--columns", "alignment=alignment")
    done = workshop.fovea("evaluate", "--model", "capitals", *data, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for name, value in first.result.metrics.items():
        if not name.startswith("group_mean_"):  # the file's name says no group
            assert report["metrics"][name] == pytest.approx(value, abs=1e-9)
    assert report["rows"] == first.result.rows["test"]


def test_evaluate_does_not_depend_on_the_order_and_the_number_of_rows(workshop: Workshop, first: Run) -> None:
    lines = [line for line in predictions(workshop).read_text().splitlines() if "alignment" in line]
    rest = [json.dumps({"source": f"{'ab' * (n % 9 + 1)}{n}", "target": "A B"}) for n in range(1200)]
    reports = []
    for name, content in (("rows", [*lines, *rest]), ("turned", [*rest, *lines][::-1])):
        path = workshop.folder / f"{name}.jsonl"
        path.write_text("\n".join(content).replace('"alignment"', '"links"'))  # without gold only a part is looked at
        reports.append(evaluate(workshop, path))
    assert reports[0].rows == reports[1].rows == len(lines) + len(rest)
    assert reports[0].metrics == pytest.approx(reports[1].metrics, abs=1e-9)
    long = [json.dumps({"source": "abcde" * times, "target": "A B " * 2000}) for times in (400, 4000)]
    path.write_text("\n".join([lines[0], "", *long]) + "\n")
    report = evaluate(workshop, path)
    assert report.rows == 2 and [row.line for row in report.rejected] == [2, 4]
    assert [row.reason[:16] for row in report.rejected] == ["bad JSON: Expect", "text is too long"]


def evaluate(workshop: Workshop, path: pathlib.Path) -> evaluating.Report:
    model, quiet = workshop.home.find_model("capitals"), rich.console.Console(quiet=True)
    return evaluating.evaluate(model, path, evaluating.parse_columns(""), None, quiet)


def test_the_export_answers_alike_in_a_process_of_its_own(workshop: Workshop, first: Run) -> None:
    """With TensorFlow and TensorFlow Text alone."""
    texts = ["abc1", "edcba3", "", "never 9"]
    code = (
        "import sys, json, tensorflow as tf, tensorflow_text\n"
        "f = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "print(json.dumps([t.decode() for t in f(text=tf.constant(json.loads(sys.argv[2])))['text'].numpy()]))\n"
        "assert not {'tfx', 'tensorflow_transform', 'models', 'serving'} & set(sys.modules)\n"
    )
    model_path = str(first.result.model_path)
    alone = subprocess.run(
        [sys.executable, "-c", code, model_path, json.dumps(texts)], capture_output=True, text=True, cwd="/", check=True
    )
    ours = workshop.fovea("predict", "--model", "capitals", "--n-best", "3", "--json", *texts)
    assert ours.returncode == 0, ours.stderr
    answers = json.loads(ours.stdout)
    assert [answer["text"] for answer in answers] == json.loads(alone.stdout)
    assert all(len(answer["n_best"]) == 3 and answer["n_best"][0]["text"] == answer["text"] for answer in answers)


def test_an_export_made_anew_searches_as_it_is_told(workshop: Workshop, first: Run, tmp_path: pathlib.Path) -> None:
    anew, texts = tmp_path / "anew", ["abc1", "edcba3", "never 9"]
    done = workshop.fovea("export", "--model", "capitals", "--set", "decoding.sampling.top_k=3", str(anew))
    assert done.returncode == 0, done.stderr
    answers = [workshop.fovea("predict", "--model", model, "--json", *texts) for model in ("capitals", str(anew))]
    assert json.loads(answers[0].stdout) == json.loads(answers[1].stdout)
    wrong = (
        ("--set", "decoding.beam=7", str(tmp_path / "2")),
        ("--set", "decoding.beam_size=7", str(anew)),
        ("--format", "ctranslate2", str(tmp_path / "2")),
        ("--format", "ctranslate2", "--set", "decoding.beam_size=7", str(tmp_path / "2")),
    )
    errors = [workshop.fovea("export", "--model", "capitals", *arguments) for arguments in wrong]
    assert [error.returncode for error in errors] == [2, 2, 2, 2]
    said = ("did you mean 'beam_size'", "is there already", "CTranslate2 knows Transformers", "--set is for")
    for error, text in zip(errors, said, strict=True):
        assert text in error.stderr
    assert not (tmp_path / "2").exists()


def test_a_question_that_is_refused_is_named(workshop: Workshop, first: Run) -> None:
    done = workshop.fovea("predict", "--model", "capitals", "abc1", "abcde" * 4000, "never 9")
    assert done.returncode == 1 and f"'{'abcde' * 12}...': text is too long" in done.stderr


def test_mlflow_holds_the_run(workshop: Workshop, first: Run) -> None:
    client = mlflow.MlflowClient(workshop.home.tracking("capitals").uri)
    run = client.get_run(first.result.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "14" and run.data.params["model.units"] == "64"
    assert run.data.metrics["test/sequence_error_rate"] == first.result.metrics["sequence_error_rate"]
    losses = client.get_metric_history(run.info.run_id, "training/loss")
    assert [point.step for point in losses[:3]] == [5, 10, 15] and losses[-1].value < losses[0].value
    assert int(run.data.tags["mlmd.Trainer.model"]) in {model.id for model in lineage.models(workshop.home)}
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {
        "config.yaml",
        "result.json",
        "rejected.jsonl",
        "training.json",
        "alignments",
        "evaluation",
        "data",
    } <= artifacts


def test_attention_is_watched_through_the_epochs(workshop: Workshop, first: Run) -> None:
    client = mlflow.MlflowClient(workshop.home.tracking("capitals").uri)
    entropy = client.get_metric_history(first.result.mlflow_run_id, "validation/attention_entropy")
    losses = client.get_metric_history(first.result.mlflow_run_id, "validation/loss")
    assert len(entropy) == 14 and [point.step for point in entropy] == [point.step for point in losses]
    assert entropy[-1].value < entropy[0].value
    pictures = {item.path for item in client.list_artifacts(first.result.mlflow_run_id, "alignments/epochs")}
    assert {f"alignments/epochs/validation-{number}.png" for number in (1, 2, 3, 4)} < pictures


def test_the_verdict_is_in_words_in_ml_metadata_and_in_mlflow(workshop: Workshop, first: Run) -> None:
    later = workshop.run("training.epochs=1", "evaluation.thresholds={}")  # held against the first
    client = mlflow.MlflowClient(workshop.home.tracking("capitals").uri)
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(workshop.home.metadata_db)
    store = metadata_store.MetadataStore(connection)
    for run in (first, later):
        logged = client.get_run(run.result.mlflow_run_id).data
        (blessing,) = store.get_artifacts_by_id([int(logged.tags["mlmd.Evaluator.blessing"])])
        properties = blessing.custom_properties
        words = properties["verdict"].string_value
        assert logged.tags["fovea.verdict"] == words and words.endswith(
            ": blessed" if run is first else ": not blessed"
        )
        assert any(words.startswith(reason) for reason in run.result.reasons)
    compared = properties["compare.sequence_error_rate"].string_value
    assert compared.startswith("0 -> ") and "worse by" in compared and compared in words
    assert properties["compare.sequence_error_rate.high"].double_value < 0
    assert logged.metrics["compare/sequence_error_rate/high"] < 0


def test_slices_by_rarity_have_all_rows(workshop: Workshop, first: Run) -> None:
    slices = Verdict.read(predictions(workshop).parent).slices
    rare = {name: values for name, values in slices.items() if name.startswith("rarest_piece:")}
    assert sum(values["rows"] for values in rare.values()) == first.result.rows["test"]
    assert set(rare) <= {"rarest_piece:10-99", "rarest_piece:100-999"}  # a digit is in every seventh of 560 words


def test_models_are_listed_with_what_became_of_them(workshop: Workshop, first: Run) -> None:
    known = lineage.models(workshop.home)
    assert known[0].blessed and known[0].version == first.result.version
    assert known[0].mlflow_run_id == first.result.mlflow_run_id


def test_broken_data_stops_the_run_and_keeps_the_dead_letters(workshop: Workshop) -> None:
    done = workshop.fovea(
        "run", str(workshop.config), "--set", "data.max_rejected_fraction=0.01", "--set", "name=strict"
    )
    assert done.returncode == 1
    assert f"{BROKEN} of {ROWS + BROKEN} rows rejected" in done.stderr
    first_line = min(workshop.broken)
    assert f"pairs.tsv:{first_line}: {workshop.broken[first_line]}" in done.stderr
    assert len((workshop.home.rejected("strict") / "rejected.jsonl").read_text().splitlines()) == BROKEN


def test_a_killed_training_resumes_and_pushes_once(tmp_path: pathlib.Path) -> None:
    workshop = make_workshop(tmp_path)
    changes = ["--set", "training.checkpoint_steps=20", "--set", "training.epochs=15"]
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run", str(workshop.config), *changes],
        cwd=digest.PROJECT,
        env={**os.environ, "FOVEA_HOME": str(workshop.home.root)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + DEADLINE_S
    while not list(workshop.home.checkpoints("capitals").glob("*/checkpoint")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=0.1)
        assert running.poll() is None and time.monotonic() < deadline, "no checkpoint was written"
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not pushed(workshop)
    done = workshop.fovea("run", str(workshop.config), *changes, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "resumed from the checkpoint of step" in done.stderr
    assert result["blessed"] and pushed(workshop) == [result["version"]]
    assert "Transform" in result["cached"] and "Trainer" not in result["cached"]
    assert not workshop.home.checkpoints("capitals").exists()


def test_a_push_that_was_lost_is_made_again(workshop: Workshop, first: Run) -> None:
    again = workshop.run().result
    assert again.model_path and "Trainer" in again.cached
    models = workshop.home.models("capitals")
    lost = models.rename(workshop.folder / "lost")
    for _ in range(2):  # and then it is found in the cache
        anew = workshop.run().result
        assert anew.model_path and pathlib.Path(anew.model_path, "saved_model.pb").exists()
        assert "Trainer" in anew.cached
    assert "Pusher" in anew.cached
    shutil.copytree(lost, models, dirs_exist_ok=True)  # for the tests after this one
