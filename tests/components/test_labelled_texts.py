"""Texts with a label each: CSV and JSON, and what is wrong with them."""

import gzip
import json

import pytest

from components.rows import Rejected
from components.settings import from_json
from components.sources import Input, SourceError, labelled_texts


def read(path, **options):
    """All rows and rejected rows."""
    config = from_json(labelled_texts.Config, {"path": path, **options})
    return [row for item in labelled_texts.inputs(config) for row in labelled_texts.read(config, item)]


def write(folder, name, content):
    path = folder / name
    path.write_text(content)
    return str(path)


def shown(rows):
    return [(row.line, row.reason, row.row) for row in rows if isinstance(row, Rejected)]


def test_rows_of_csv_with_the_line_where_each_ends(tmp_path):
    path = write(tmp_path, "a.csv", 'text,label\n"Where, now,\nis it?",card arrival\n  tea   time ,food\n')
    first, second = read(path)
    assert (first.source, first.references, first.line) == ("Where, now, is it?", ("card_arrival",), 3)
    assert (second.source, second.references, second.file, second.line) == ("tea time", ("food",), path, 4)


def test_columns_have_any_name_and_files_may_be_packed(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("\ufeffid,intent,query\n7,weather,is it cold\n".encode()))
    (row,) = read(str(path), text="query", label="intent")
    assert (row.source, row.references, row.line) == ("is it cold", ("weather",), 2)


def test_rows_of_csv_that_cannot_be_used(tmp_path):
    path = write(tmp_path, "a.csv", "text,label\ntea,food\nmilk\nbread,food,more\n,food\nwine, \n")
    rows = read(path)
    assert [row.source for row in rows if not isinstance(row, Rejected)] == ["tea"]
    assert [(line, reason) for line, reason, _ in shown(rows)] == [
        (3, "expected 2 columns, as the header has"),
        (4, "expected 2 columns, as the header has"),
        (5, "empty source"),
        (6, "empty target"),
    ]
    assert shown(rows)[1][2].startswith("bread,food")


def test_a_column_that_is_missing(tmp_path):
    path = write(tmp_path, "a.csv", "query,label\ntea,food\n")
    with pytest.raises(SourceError) as error:
        read(path)
    assert str(error.value) == f"{path}: no column 'text', there are: query, label"
    with pytest.raises(SourceError, match=r"is empty, expected a header with a column 'text'"):
        read(write(tmp_path, "empty.csv", ""))
    with pytest.raises(SourceError, match=r"two columns 'text', there are: text, text, label"):
        read(write(tmp_path, "twice.csv", "text,text,label\n"))


def test_bytes_that_are_no_text_spoil_their_row_alone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\ntea,food\ncaf\xe9 au lait,food\nth\xc3\xa9,food\n")
    rows = read(str(path))
    assert [row.source for row in rows if not isinstance(row, Rejected)] == ["tea", "th\u00e9"]
    assert shown(rows) == [(3, "invalid UTF-8", "caf\\xe9 au lait,food")]


def test_a_quote_that_does_not_end_swallows_nothing_in_silence(tmp_path):
    rest = "".join(f"text {number},food\n" for number in range(40))
    for name, content in (("end.csv", rest), ("later.csv", f'{rest}"yes",food\n')):
        path = write(tmp_path, name, f'text,label\ntea,food\n"where is it,lab\n{content}')
        with pytest.raises(SourceError, match=r"the record that begins in line 3 does not end"):
            read(path)
    path = write(tmp_path, "line.csv", 'text,label\n"tea" time,food\nmilk,food\n')
    rows = read(path)
    assert [(line, row) for line, _, row in shown(rows)] == [(2, '"tea" time,food')]
    assert shown(rows)[0][1].startswith("no CSV: ") and rows[1].source == "milk"
    large, good = read(write(tmp_path, "large.csv", f"text,label\n{'x' * 200_000},a\ntea,food\n"))
    assert (large.line, large.reason[:29], good.source) == (2, "no CSV: field larger than fie", "tea")


LISTS = {"train": [["is it cold", "weather"], ["tea", "food"]], "val": [["hot", "weather"]], "oos_val": []}


def test_lists_of_json_are_splits(tmp_path):
    path = write(tmp_path, "a.json", json.dumps(LISTS))
    config = from_json(labelled_texts.Config, {"path": path, "lists": {"train": "train", "validation": "val"}})
    assert labelled_texts.inputs(config) == (Input((path,), "train"), Input((path,), "validation"))
    rows = read(path, lists={"train": "train", "validation": "val"})
    assert [(row.source, row.references, row.line, row.split) for row in rows] == [
        ("is it cold", ("weather",), 1, "train"),
        ("tea", ("food",), 2, "train"),
        ("hot", ("weather",), 1, "validation"),
    ]


def test_pairs_of_json_that_are_none(tmp_path):
    bad = [["tea"], "tea", ["tea", 7], ["é", "b", "c"], ["tea", " "]]
    rows = read(write(tmp_path, "a.json", json.dumps({"train": [["tea", "food"], *bad]})), lists={"train": "train"})
    assert shown(rows) == [
        (2, "expected [text, label]", '["tea"]'),
        (3, "expected [text, label]", '"tea"'),
        (4, "expected [text, label]", '["tea", 7]'),
        (5, "expected [text, label]", '["é", "b", "c"]'),
        (6, "empty target", "tea\t "),
    ]


def test_a_list_that_is_missing(tmp_path):
    path = write(tmp_path, "a.json", json.dumps(LISTS))
    with pytest.raises(SourceError) as error:
        read(path, lists={"train": "trian"})
    assert str(error.value) == f"{path}: no list 'trian', there are: train, val, oos_val"
    with pytest.raises(SourceError, match="set `lists`, expected which list is which split"):
        read(path)
    with pytest.raises(SourceError, match="no list 'train', there are: no lists by name"):
        read(write(tmp_path, "b.json", "[]"), lists={"train": "train"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "a.json: cannot be read as JSON: Expecting property name"),
        ("a.tsv", "tea\tfood\n", r"a.tsv: '.tsv' is none of .csv, .json"),
        ("a.csv.gz", "text,label\n", "a.csv.gz: cannot be read after line 0: Not a gzipped file"),
        ("a.json.gz", "{}", "a.json.gz: cannot be read as JSON: Not a gzipped file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, name, content, message):
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path, name, content), lists={"train": "train"})


def test_a_list_that_is_no_list(tmp_path):
    with pytest.raises(SourceError, match=r"a.json: 'train' is no list of pairs, but 7"):
        read(write(tmp_path, "a.json", '{"train": 7}'), lists={"train": "train"})


def test_splits_are_said_once(tmp_path):
    path = write(tmp_path, "a.json", json.dumps(LISTS))
    with pytest.raises(SourceError, match=r"lists: says which list is which split, but `path` does, too"):
        read({"train": path}, lists={"train": "train"})


def test_splits_by_path(tmp_path):
    paths = {split: write(tmp_path, f"{split}.csv", f"text,label\n{split} text,a\n") for split in ("train", "test")}
    assert [(row.source, row.split) for row in read(paths)] == [("train text", "train"), ("test text", "test")]
    with pytest.raises(SourceError, match="no file matches"):
        read({"train": str(tmp_path / "none*.csv")})
