"""Rows as sequences: what is found, where, and what follows from it."""

from __future__ import annotations

import collections
import json
import pathlib
from collections.abc import Mapping, Sequence

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import row_checks, row_verdict, rows, settings, tokenizer
from components.row_checks import Config, Measured, Typical
from components.row_checks_component import EXAMPLES_ID, Executor, LatestOfOtherExamples, RowChecks
from components.row_verdict import Check, RowCheckError, Verdict
from components.rows import Row
from components.tokenizer import Pieces
from components.tokenizer_component import Tokenizer
from models.audio import Audio
from models.contract import SPLITS

GOOD = [("tea", "TEA"), ("ate", "ATE"), ("eat", "EAT"), ("tat", "TAT"), ("tee", "TEE")]


def measured(source: str, target: str, unknown: int = 0, split: str = "train") -> Measured:
    """A row of characters."""
    pieces = {"source": len(source), "target": len(target)}
    scripts = {"source": row_checks.scripts(source), "target": row_checks.scripts(target)}
    row = Row(source, (target,), "a.tsv", 7)
    return Measured(split, row, pieces, {"source": 0, "target": unknown}, scripts, collections.Counter(source))


def test_scripts_are_unicodes() -> None:
    assert row_checks.scripts("tea чай 7, é") == {"Latn": 4, "Cyrl": 3}
    assert row_checks.scripts("お茶をのむカ") == {"Hira": 4, "Hani": 1, "Kana": 1}
    assert row_checks.scripts("12 - 3!") == {}


def test_a_row_is_held_against_the_train_rows() -> None:
    typical = Typical(ratio=2.0, scripts={"source": ("Latn",), "target": ("Latn",)})
    config = Config(length_ratio=3)
    assert not list(row_checks.offences(measured("ab", "abcdabcd"), config, typical))  # twice the typical
    (long,) = row_checks.offences(measured("ab", "abcd" * 4), config, typical)
    assert (long.kind, long.file, long.line, long.field, long.value) == ("length_ratio", "a.tsv", 7, "target", 8)
    assert long.limit == "at most 3 times the typical 2, or that part of it" and long.text == "abcd" * 4
    (short,) = row_checks.offences(measured("abcdabcd", "ab"), config, typical)
    assert short.value == 0.25
    found = list(row_checks.offences(measured("чай", "teatea", unknown=2), config, typical))
    assert [(each.kind, each.field, each.value) for each in found] == [
        ("unknown", "target", 2), ("script", "source", "Cyrl"),
    ]  # fmt: skip
    assert found[1].limit == "scripts of Latn" and found[1].text == "чай"


def test_what_is_typical_comes_from_the_counts() -> None:
    total: row_checks.Counts = {}
    for source, target in [("ab", "a" * 4), ("ab", "a" * 16), ("abc" * 33, "a")]:
        row_checks.add(total, measured(source, target).counts())
    typical = Typical.of(total, Config())
    assert typical.ratio == pytest.approx((2 * 8 / 99) ** (1 / 3))
    assert typical.scripts == {"source": ("Latn",), "target": ("Latn",)}
    assert total["lengths"] == {"1-4": 2, "65-128": 1} and total["source_pieces"]["c"] == 33
    assert Typical.of({}, Config()) == Typical(1.0, {"source": (), "target": ()})


COUNTS = {
    "rows": {"": 100}, "pieces": {"source": 500, "target": 400}, "unknown": {"source": 10, "target": 20},
    "lengths": {"1-4": 60, "5-8": 40}, "scripts.source": {"Latn": 90, "Cyrl": 10},
}  # fmt: skip


def test_figures_are_shares_and_a_limit_makes_a_warning_a_failure() -> None:
    statistics = {"test": row_verdict.counts_of(COUNTS)}
    found = {("leakage", "test"): 3, ("unknown", "test"): 12}
    checks = {check.kind: check for check in row_verdict.judge(Config(), statistics, found, None).checks}  # type: ignore[arg-type]
    assert {kind: check.state for kind, check in checks.items()} == {
        "length_ratio": "fine", "duplicate": "fine", "leakage": "warning", "unknown": "warning", "script": "fine",
    }  # fmt: skip
    assert checks["leakage"].words() == (
        "test: sources that an earlier split has, too: 3 rows, leakage 3.00%, warned of above 0.00%"
    )
    assert checks["unknown"].figure == 0.05  # of the target's pieces, which are worse
    strict = Config(limits={"leakage": 0.02, "unknown": 0.05})
    (failed,) = row_verdict.judge(strict, statistics, found, None).of_state("failed")  # type: ignore[arg-type]
    assert failed.words().endswith("leakage 3.00%, at most 2.00%")


def test_drift_is_how_far_the_data_moved() -> None:
    now = row_verdict.counts_of(COUNTS)
    before = row_verdict.counts_of({**COUNTS, "scripts.source": {"Latn": 50, "Cyrl": 50}, "unknown": {"target": 4}})
    for counts in (now, before):
        counts["found"] = collections.Counter({"duplicate": 5})
    moves = row_verdict.drift(before, now)
    assert moves["scripts of sources"] == pytest.approx(0.4) and moves["lengths of sources"] == 0
    assert moves["the share of unknown"] == pytest.approx(0.04) and moves["the share of duplicate"] == 0
    verdict = row_verdict.judge(Config(), {"train": now}, {("duplicate", "train"): 5}, {"train": before})
    (check,) = (check for check in verdict.checks if check.kind == "drift")
    assert check.state == "warning"
    assert check.words() == (
        "train: scripts of sources moved from the data before: drift 40.00%, warned of above 10.00%"
    )


def run(
    folder: pathlib.Path,
    examples: dict[str, Sequence[tuple[str, ...]]],
    config: Config,
    previous: str = "",
    recorded: Mapping[str, int] | None = None,
) -> Verdict:
    """The executor of SequenceValidator on these rows, whose train rows made the tokenizer.

    Of `recorded` sources the frames are given.
    """
    for split, texts in examples.items():
        path = folder / "examples" / f"Split-{split}" / "data.gz"
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
            for line, (source, *references) in enumerate(texts, start=1):
                audio = bytes(4 * AUDIO.depth * recorded[source]) if recorded else b""
                row = Row(source, tuple(references), f"{split}.tsv", line, audio=audio)
                writer.write(rows.to_example(row).SerializeToString())
    for side in ("target",) if recorded else ("source", "target"):
        (folder / f"{side}.model").write_bytes(tokenizer.train({"teataat": 9, "TEATAAT": 9}, Pieces("char", 97)))
    context = Executor.Context(beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(folder / "tmp"), unique_id="1")
    inputs, pieces, output, before = standard_artifacts.Examples(), Tokenizer(), RowChecks(), RowChecks()
    inputs.uri, pieces.uri, output.uri = (str(folder / name) for name in ("examples", "", "out"))
    before.uri = previous
    inputs.split_names = json.dumps(list(examples))
    given = {"examples": [inputs], "tokenizer": [pieces], "previous": [before] if previous else []}
    audio = settings.to_json(AUDIO) if recorded else ""
    properties = {"config": settings.to_json(config), "listing_dir": str(folder / "listing"), "audio": audio}
    Executor(context).Do(given, {"checks": [output]}, properties)
    assert output.get_int_custom_property("warnings") == len(Verdict.read(folder / "out").of_state("warning"))
    return Verdict.read(folder / "out")


AUDIO = Audio(kind="features", depth=5)


def test_the_pieces_of_a_recording_are_its_frames(tmp_path: pathlib.Path) -> None:
    good = [(f"{number}.npy", "TEA") for number in range(11)]
    recorded = {source: 30 for source, _ in good} | {"long.npy": 300, "odd.npy": 31, "чай.npy": 29}
    examples = {
        "train": [*good, ("long.npy", "TEA"), ("odd.npy", "TÆA")],
        "validation": [("чай.npy", "TEA")],  # a name is no text
        "test": [("0.npy", "TEA"), ("1.npy", "EAT")],
    }
    verdict = run(tmp_path, examples, Config(length_ratio=7.0), recorded=recorded)
    counted = {(check.kind, check.split): check.rows for check in verdict.checks if check.rows}
    assert counted == {("length_ratio", "train"): 1, ("unknown", "train"): 1, ("leakage", "test"): 2}
    statistics = verdict.statistics["train"]
    assert not statistics["source_pieces"] and statistics["unknown"] == {"source": 0, "target": 1}
    found = [each for each in row_verdict.read_findings(tmp_path / "out") if each.kind == "length_ratio"]
    assert [(each.line, each.value) for each in found] == [(12, 0.01)]


BAD = {
    "train": [*GOOD * 3, ("tea" * 5, "T"), ("a", "é")],
    "validation": [("tae", "TAE"), ("tæ", "TE"), ("чай", "TEA")],
    "test": [("tae", "TAE"), ("tea", "TEA"), ("aet", "AET"), ("aet", "AET", "AE")],
}


def test_offending_rows_are_counted_and_listed_with_file_and_line(tmp_path: pathlib.Path) -> None:
    verdict = run(tmp_path, BAD, Config(listed=3))
    counted = {(check.kind, check.split): check.rows for check in verdict.checks if check.rows}
    assert counted == {
        ("length_ratio", "train"): 1,
        ("duplicate", "train"): 10,  # the same source with other answers is none
        ("leakage", "test"): 2,
        ("unknown", "train"): 1, ("unknown", "validation"): 2,
        ("script", "validation"): 1,
    }  # fmt: skip
    found = list(row_verdict.read_findings(tmp_path / "out"))
    assert [(each.kind, each.split, each.file, each.line, each.value) for each in found] == [
        ("duplicate", "train", "train.tsv", 1, "3 times"),
        ("duplicate", "train", "train.tsv", 2, "3 times"),
        ("duplicate", "train", "train.tsv", 3, "3 times"),  # of five, three are listed
        ("leakage", "test", "test.tsv", 1, "also in validation, validation.tsv:1"),
        ("leakage", "test", "test.tsv", 2, "also in train, train.tsv:1"),
        ("length_ratio", "train", "train.tsv", 16, 0.067),
        ("script", "validation", "validation.tsv", 3, "Cyrl"),
        ("unknown", "train", "train.tsv", 17, 1),
        ("unknown", "validation", "validation.tsv", 2, 1),
        ("unknown", "validation", "validation.tsv", 3, 1),  # three letters, one piece: nothing is known of any
    ]
    assert (tmp_path / "listing" / "findings.jsonl").read_text() == (tmp_path / "out" / "findings.jsonl").read_text()


def test_a_limit_stops_the_run_and_the_data_before_is_drifted_from(tmp_path: pathlib.Path) -> None:
    for name in ("good", "bad", "same"):
        (tmp_path / name).mkdir()
    steps = dict(zip(SPLITS, (1, 2, 3), strict=True))
    clean = {split: [(source[::step] + "a", "T") for source, _ in GOOD[:3]] for split, step in steps.items()}
    good = run(tmp_path / "good", clean, Config())
    assert not good.of_state("warning") and not any(check.kind == "drift" for check in good.checks)
    same = run(tmp_path / "same", clean, Config(limits={"drift": 0}), previous=str(tmp_path / "good" / "out"))
    assert sum(check.kind == "drift" for check in same.checks) == 3
    with pytest.raises(RowCheckError) as error:
        run(tmp_path / "bad", BAD, Config(limits={"leakage": 0, "drift": 0.5}), previous=str(tmp_path / "good" / "out"))
    text = str(error.value)
    assert "test: sources that an earlier split has, too: 2 rows, leakage 50.00%, at most 0.00%" in text
    assert "test.tsv:1: source 'tae': also in validation, validation.tsv:1, expected in one split" in text
    assert "moved from the data before: drift" in text and str(tmp_path / "bad" / "listing") in text


def test_the_data_before_is_that_of_other_examples() -> None:
    examples, checks = standard_artifacts.Examples(), []
    examples.id = 7
    for identity, of in ((11, 5), (13, 6), (17, 7)):
        artifact = RowChecks()
        artifact.id = identity
        artifact.set_int_custom_property(EXAMPLES_ID, of)
        checks.append(artifact)
    resolve = LatestOfOtherExamples().resolve_artifacts
    found = resolve(None, {"previous": checks[::-1], "examples": [examples]})  # type: ignore[arg-type]
    assert [artifact.id for artifact in found["previous"]] == [13] and found["examples"] == [examples]
    assert resolve(None, {"previous": checks[2:], "examples": [examples]})["previous"] == []  # type: ignore[arg-type]


def test_a_limit_for_what_is_not_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="limits"):
        settings.from_json(Config, {"limits": {"typos": 0.5}})
    with pytest.raises(ValueError, match="less than or equal to 1"):
        settings.from_json(Config, {"limits": {"leakage": 3}})


def test_a_check_says_nothing_of_what_is_fine() -> None:
    assert Check("drift", "train", 0, 0.05, 0.05, True).state == "fine"
