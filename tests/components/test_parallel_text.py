"""Parallel texts: lists in JSONL, groups and tags by the path, known alignments."""

import json

import pytest

from components.rows import Rejected
from components.settings import from_json
from components.sources import SourceError, parallel_text


def read(path, **options):
    """All rows and rejected rows."""
    config = from_json(parallel_text.Config, {"path": path, **options})
    return [row for item in parallel_text.inputs(config) for row in parallel_text.read(config, item)]


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return str(path)


def test_sentences_are_joined_and_every_summary_is_right(tmp_path):
    fields = {"source": ["One sentence.", "Two sentences."], "target": ["Sentences.", "Two of them."], "title": "x"}
    (row,) = read(write(tmp_path, "a.jsonl", json.dumps(fields)))
    assert (row.source, row.references) == ("One sentence. Two sentences.", ("Sentences.", "Two of them."))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"source": ["a", 7], "target": "b"}, "field 'source': expected a string, got a number"),
        ({"source": ["a", ["b"]], "target": "b"}, "field 'source': expected a string, got a list"),
        ({"source": [], "target": "b"}, "empty source"),
        ({"source": "a", "target": []}, "missing field 'target', there are: source, target"),
        ({"source": "a", "target": ["b", None]}, "field 'target': expected a string, got null"),
        ({"source": "a", "target": ["b", " "]}, "empty reference"),
    ],
)
def test_lists_that_are_no_texts_are_rejected(tmp_path, fields, reason):
    (row,) = read(write(tmp_path, "a.jsonl", json.dumps(fields)))
    assert isinstance(row, Rejected)
    assert row.reason == reason


GROUP = r"/([a-z]{3})_[a-z]+\.tsv$"


@pytest.fixture
def languages(tmp_path):
    """Two files of two languages, and the pattern that matches them."""
    write(tmp_path, "train/kor_train.tsv", "차\ttɕʰ a\n")
    write(tmp_path, "train/hun_train.tsv", "tea\tt ɛ ɒ\n\n")
    return str(tmp_path / "train" / "*.tsv")


def test_the_path_names_the_group_and_a_tag_tells_the_model(languages):
    hungarian, broken, korean = read(languages, group=GROUP)
    assert isinstance(broken, Rejected)
    assert [(row.group, row.source) for row in (hungarian, korean)] == [("hun", "tea"), ("kor", "차")]
    tagged = read(languages, group=GROUP, tag=True)
    assert [(row.group, row.source) for row in tagged[::2]] == [("hun", "<hun> tea"), ("kor", "<kor> 차")]
    assert tagged[1] == broken


def test_a_path_without_a_group_is_named(languages, tmp_path):
    path = write(tmp_path, "train/english.tsv", "tea\tthé\n")
    with pytest.raises(SourceError) as error:
        read(languages, group=GROUP)
    assert str(error.value) == f"{path}: no group, the path does not match {GROUP!r}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tag": True}, "tag: true puts the group in front of the source, but `group` is not set"),
        ({"group": "[a-z]+_train"}, r"group: '\[a-z\]\+_train' has 0 groups \(\.\.\.\), expected one"),
        ({"group": "(a)(b)"}, "has 2 groups"),
        ({"group": "(a"}, r"group: '\(a' is no regular expression: missing \), unterminated subpattern at position 0"),
        ({"alignment_counts": {"source": "letters"}}, "'words' or 'characters'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        from_json(parallel_text.Config, {"path": "a.tsv", **options})


def forms(folder, source, target, alignment):
    """One row with a known alignment, in every form that files have."""
    named = {"source": source, "target": target, "links": alignment}
    tsv = write(folder, "a.tsv", f"{alignment}\t{source}\t{target}\n")
    header = write(folder, "b.tsv", f"source\ttarget\tlinks\n{source}\t{target}\t{alignment}\n")
    jsonl = write(folder, "a.jsonl", json.dumps(named))
    files = [write(folder, f"c.{n}", f"{text}\n") for n, text in enumerate((source, target, alignment))]
    by_name = {"source": "source", "target": "target", "alignment": "links"}
    return [
        (tsv, {"columns": {"source": 2, "target": 3, "alignment": 1}}),
        (header, {"columns": by_name}),
        (jsonl, {"columns": by_name}),
        (files, {}),
    ]


@pytest.mark.parametrize(
    ("alignment", "kept"), [("1-0 0-1", "1-0 0-1"), (" 1-0  0?1 ", "1-0 0?1"), ("", ""), ("1-1 1-0", "1-1 1-0")]
)
def test_a_known_alignment_is_read_from_every_form(tmp_path, alignment, kept):
    for path, options in forms(tmp_path, "green tea", "thé vert", alignment):
        (row,) = read(path, **options)
        assert (row.source, row.references, row.alignment) == ("green tea", ("thé vert",), kept)


@pytest.mark.parametrize(
    ("alignment", "reason"),
    [
        ("2-0", "alignment: 2-0, but the source has 2 words, counted from 0"),
        ("0-0 1-7", "alignment: 1-7, but the target has 3 words, counted from 0"),
        (
            "0-0 1:1",
            "alignment: '1:1', expected SOURCE-TARGET, numbers of tokens from 0 (SOURCE?TARGET where possible)",
        ),
    ],
)
def test_a_wrong_alignment_is_rejected_with_its_link(tmp_path, alignment, reason):
    for path, options in forms(tmp_path, "green tea", "du thé vert", alignment):
        (bad,) = read(path, **options)
        assert isinstance(bad, Rejected)
        assert bad.reason == reason
        assert bad.line == (2 if str(path).endswith("b.tsv") else 1)


def test_what_an_alignment_counts_is_configured(tmp_path):
    path = write(tmp_path, "a.tsv", "tea\tT IY\t2-1\n")
    columns = {"alignment": 3}
    (bad,) = read(path, columns=columns)
    assert bad.reason == "alignment: 2-1, but the source has 1 word, counted from 0"
    (row,) = read(path, columns=columns, alignment_counts={"source": "characters"})
    assert row.alignment == "2-1"


def test_tags_and_known_alignments_exclude_each_other(tmp_path):
    path = write(tmp_path, "train/kor_train.tsv", "a\tb\t0-0\n")
    with pytest.raises(SourceError) as error:
        read(path, group=GROUP, tag=True, columns={"alignment": 3})
    assert str(error.value) == f"{path}: a tag would shift its known alignments: tag must be false"


def test_three_files_must_have_the_same_number_of_lines(tmp_path):
    paths = [write(tmp_path, f"a.{n}", "tea\n" * count) for n, count in enumerate((5, 5, 3))]
    with pytest.raises(SourceError) as error:
        read(paths)
    counts = ", ".join(f"{path} has {count}" for path, count in zip(paths, (5, 5, 3), strict=True))
    assert str(error.value) == f"aligned files must have the same number of lines: {counts}"
