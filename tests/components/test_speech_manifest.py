"""Lists of recordings: JSONL, TSV, CSV, and those of Sphinx."""

import gzip
import json

import pytest

from components.rows import Rejected, Row
from components.settings import from_json
from components.sources import SourceError, fingerprint, speech_manifest


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def inputs(path, **options):
    return speech_manifest.inputs(from_json(speech_manifest.Config, {"path": path, **options}))


def read(path, **options):
    """All rows and rejected rows."""
    config = from_json(speech_manifest.Config, {"path": path, **options})
    return [row for item in speech_manifest.inputs(config) for row in speech_manifest.read(config, item)]


def expected(path, line, **options):
    folder = path.rpartition("/")[0]
    fields = {"split": None, "speaker": "ann", "recordings": (f"{folder}/ann/a.wav",), **options}
    return Row("ann/a.wav", ("Grand café, oui",), path, line, **fields)


TSV = "audio\ttranscript\tspeaker\nann/a.wav\tGrand café, oui\tann\n"
CSV = 'speaker,audio,transcript\nann,ann/a.wav,"Grand café, oui"\n'
JSONL = json.dumps({"audio": "ann/a.wav", "transcript": "Grand café, oui", "speaker": "ann", "other": 7}) + "\n"


@pytest.mark.parametrize(("name", "content", "line"), [("a.tsv", TSV, 2), ("a.csv", CSV, 2), ("a.jsonl", JSONL, 1)])
def test_every_form_is_the_same_row(tmp_path, name, content, line):
    path = write(tmp_path / "lists", name, content)
    assert read(path) == [expected(path, line)]
    zipped = f"{path}.gz"
    with gzip.open(zipped, "wt") as file:
        file.write(content)
    assert read(zipped) == [expected(zipped, line)]


def test_columns_have_other_names_and_paths_another_root(tmp_path):
    path = write(tmp_path, "a.tsv", "wav\ttext\twho\tkind\tpart\nann/a\tGrand café, oui\tann\tfr\ttest\n")
    columns = {"audio": "wav", "transcript": "text", "speaker": "who", "group": "kind", "split": "part"}
    (row,) = read(path, columns=columns, root="/sound", suffix=".wav")
    assert row == expected(path, 2, group="fr", split="test", recordings=("/sound/ann/a.wav",))


@pytest.mark.parametrize(
    ("case", "text"), [("as_is", "Grand café, oui"), ("lower", "grand café, oui"), ("upper", "GRAND CAFÉ, OUI")]
)
def test_the_case_of_transcripts(tmp_path, case, text):
    (row,) = read(write(tmp_path, "a.tsv", TSV), case=case)
    assert row.references == (text,)


def test_lists_by_split_and_by_pattern(tmp_path):
    for name in ("a.tsv", "b.tsv", "c.tsv"):
        write(tmp_path, name, TSV)
    paths = {"train": [str(tmp_path / "[ab].tsv")], "test": str(tmp_path / "c.tsv")}
    assert [(row.split, row.file[-5:]) for row in read(paths)] == [
        ("train", "a.tsv"), ("train", "b.tsv"), ("test", "c.tsv"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("a.tsv", "audio\ttranscript\na.wav\t \n", 2, "empty transcript"),
        ("a.tsv", "audio\ttranscript\n\tyes\n", 2, "empty recording"),
        ("a.tsv", "audio\ttranscript\na.wav\n", 2, "1 column, expected 2"),
        ("a.csv", 'audio,transcript\na.wav,"yes\n', 2, "bad CSV: unexpected end of data"),
        ("a.jsonl", '{"audio": "a.wav"}\n', 1, "missing field 'transcript', there are: audio"),
        ("a.jsonl", '{"audio": "a.wav", "transcript": 7}\n', 1, "field 'transcript': expected a string, got 7"),
        ("a.jsonl", "[7]\n", 1, "expected a JSON object, got [7]"),
        ("a.jsonl", "{\n", 1, "bad JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (
            "a.tsv",
            "audio\ttranscript\tsplit\na.wav\tyes\tdev\n",
            2,
            "split 'dev', expected one of train, validation, test",
        ),
    ],
)
def test_a_line_that_is_no_row_is_rejected_with_its_number(tmp_path, name, content, line, reason):
    path = write(tmp_path, name, content)
    (rejected,) = read(path)
    assert rejected == Rejected(path, line, reason, content.splitlines()[line - 1])


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.tsv", "audio\ttext\n", {}, "no column 'transcript', the header has: audio, text"),
        (
            "a.tsv",
            "audio\ttranscript\tspeakers\n",
            {"columns": {"speaker": "speaker"}},
            "no column 'speaker', the header has: audio, transcript, speakers; did you mean 'speakers'?",
        ),
        ("a.list", "", {}, "'.list' is none of .tsv, .txt, .csv, .jsonl; set `format` to tsv, csv or jsonl"),
        ("a.csv", '"audio\n', {}, "line 1, the header: bad CSV: unexpected end of data"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, name, content, options, message):
    path = write(tmp_path, name, content)
    with pytest.raises(SourceError) as error:
        read(path, **options)
    assert str(error.value) == f"{path}: {message}"


def test_an_edited_recording_changes_the_fingerprint_and_a_missing_one_is_no_obstacle(tmp_path):
    path = write(tmp_path, "a.tsv", TSV)
    missing = fingerprint(inputs(path))
    write(tmp_path, "ann/a.wav", "sound")
    there = fingerprint(inputs(path))
    assert there == fingerprint(inputs(path)) != missing
    write(tmp_path, "ann/a.wav", "other sound")
    assert fingerprint(inputs(path)) != there


@pytest.fixture
def lists(tmp_path):
    """Two recordings of one speaker and one of another, and the transcripts of four."""
    transcription = "YES (an1-ann)\n<s> NO <sil> GO </s> (an2-ann)\nE R (an3-bob)\nSTOP (an4-bob)\n"
    return {
        "transcription": write(tmp_path, "all.transcription", transcription),
        "fileids": write(tmp_path, "dev.fileids", "clstk/ann/an1-ann\nclstk/ann/an2-ann\nclstk/bob/an3-bob\n"),
    }


def test_lists_of_sphinx(lists):
    rows = read(lists, root="feat", suffix=".mfc", case="lower")
    assert [(row.references, row.speaker, row.line) for row in rows] == [
        (("yes",), "ann", 1), (("no go",), "ann", 2), (("e r",), "bob", 3),
    ]  # fmt: skip
    assert (rows[0].source, rows[0].recordings) == ("clstk/ann/an1-ann.mfc", ("feat/clstk/ann/an1-ann.mfc",))
    assert {row.file for row in rows} == {lists["fileids"]}
    assert {row.split for row in read({"train": lists, "test": lists})} == {"train", "test"}


def test_lists_of_sphinx_that_do_not_belong_together(lists, tmp_path):
    lists["fileids"] = write(tmp_path, "dev.fileids", "clstk/ann/an7-ann\n")
    lists["transcription"] = write(tmp_path, "all.transcription", "YES\nNO (an1)\nGO (an1)\n")
    assert [(row.file, row.line, row.reason) for row in read(lists)] == [
        (lists["transcription"], 1, "expected a transcript and (the name of its recording)"),
        (lists["transcription"], 3, "'an1' has a transcript already"),
        (lists["fileids"], 1, f"{lists['transcription']} has no transcript of 'an7-ann'"),
    ]
