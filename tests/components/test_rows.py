"""Rows: the checks that all of them pass, their splits, their subset, their form on disk."""

import collections
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import rows
from components.rows import Rejected, Row
from models import contract

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def row(source="tea", references=("thé",), line=7, split=None):
    return Row(source, references, "a.tsv", line, split)


def test_a_good_row_is_stripped_and_answers_given_twice_are_dropped():
    assert rows.check(row(" tea ", ("thé ", "le thé", "thé"))) == row("tea", ("thé", "le thé"))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(source=" "), "empty source"),
        (row(references=("",)), "empty target"),
        (row(references=("thé", "\t")), "empty reference"),
        (row(references=()), "no target"),
        (row(source="camomile tea"), "source of 12 characters, at most 11"),
        (row(references=("thé à la camomille",)), "target of 18 characters, at most 11"),
        (row(references=("thé", "thé à la camomille")), "reference of 18 characters, at most 11"),
        (row(references=("th\ud800",)), "target holds half of a surrogate pair, which is no text"),
    ],
)
def test_a_bad_row_is_rejected_with_its_place_and_the_reason(bad, reason):
    assert rows.check(bad, raw="as it was", max_length=11) == Rejected("a.tsv", 7, reason, "as it was")


def test_a_rejected_row_without_its_raw_text_shows_its_texts():
    assert rows.check(row(references=("thé", " "))) == Rejected("a.tsv", 7, "empty reference", "tea\tthé\t ")


def test_a_dead_letter_is_one_line_of_json_whatever_is_in_it():
    letter = Rejected("a.tsv", 7, "empty target", "thé\u2028\n\ud800")
    line = letter.to_json()
    assert "thé" in line
    assert "\n" not in line
    assert Rejected(**json.loads(line.encode())) == letter


@settings(deadline=None)
@given(TEXT, st.lists(TEXT, min_size=1))
def test_a_row_survives_its_form_on_disk(source, references):
    example = rows.to_example(row(source, tuple(references)))
    assert rows.from_example(example.SerializeToString()) == Row(source, tuple(references), file="a.tsv", line=7)
    target = example.features.feature[contract.TARGET].bytes_list.value
    assert [text.decode() for text in target] == references[:1]


def test_the_features_are_those_of_the_contract():
    features = rows.to_example(row("fovea", ("F OW", "F UH"))).features.feature
    assert {name: list(feature.bytes_list.value) for name, feature in features.items()} == {
        contract.SOURCE: [b"fovea"],
        contract.TARGET: [b"F OW"],
        contract.REFERENCES: [b"F OW", b"F UH"],
        contract.SOURCE_LENGTH: [b"5-8"],
        contract.GROUP: [b""],
        contract.ORIGIN: [b"a.tsv:7"],
    }


def test_a_group_and_a_known_alignment_travel_with_the_row():
    known = rows.check(Row(" tea", ("aet",), "a.tsv", 7, "test", group="en", alignment="2-0 1-1 0-2"))
    example = rows.to_example(known)
    assert list(example.features.feature[contract.GROUP].bytes_list.value) == [b"en"]
    assert list(example.features.feature[contract.ALIGNMENT].bytes_list.value) == [b"2-0 1-1 0-2"]
    expected = Row("tea", ("aet",), "a.tsv", 7, group="en", alignment="2-0 1-1 0-2")
    assert rows.from_example(example.SerializeToString()) == expected


def test_a_recording_is_known_by_its_duration_and_its_speaker():
    recorded = Row("a.wav", ("yes",), "a.tsv", 7, speaker="ann", audio=b"RIFF\xff", seconds=1.7)
    example = rows.to_example(recorded)
    features = {name: list(feature.bytes_list.value) for name, feature in example.features.feature.items()}
    assert features[contract.AUDIO] == [b"RIFF\xff"]
    assert features[contract.SOURCE_LENGTH] == [b"1-2 s"]
    assert features[contract.GROUP] == [b"ann"]
    grouped = rows.to_example(dataclasses.replace(recorded, group="fr"))
    assert list(grouped.features.feature[contract.GROUP].bytes_list.value) == [b"fr"]
    read = Row("a.wav", ("yes",), "a.tsv", 7, group="ann")
    assert rows.from_example(example.SerializeToString()) == read
    assert rows.from_example(example.SerializeToString(), with_audio=True) == dataclasses.replace(
        read, audio=b"RIFF\xff"
    )


def test_buckets_of_durations():
    found = [rows.duration_bucket(seconds) for seconds in (0.0, 0.7, 1.0, 1.01, 2.0, 3.0, 5.0, 8.5, 30.0)]
    assert found == ["0-1 s"] * 3 + ["1-2 s"] * 2 + ["2-4 s", "4-8 s", "8-16 s", "16-32 s"]


@settings(deadline=None)
@given(st.integers(1, 100_003))
def test_a_length_is_within_its_bucket_and_the_next_bucket_starts_where_it_ends(length):
    low, high = map(int, rows.length_bucket(length).split("-"))
    assert low <= length <= high
    assert rows.length_bucket(high) == f"{low}-{high}"
    assert rows.length_bucket(high + 1) == f"{high + 1}-{2 * high}"


def test_the_first_buckets():
    assert [rows.length_bucket(length) for length in (1, 4, 5, 17, 100)] == ["1-4", "1-4", "5-8", "17-32", "65-128"]


def test_splits_are_the_same_for_ever():
    """Rows that change their split with a new version would leak from the old training data into the new test data."""
    splits = {word: rows.split_of(word, FRACTIONS) for word in ("fovea", "thé", "word7", "word9")}
    assert splits == {"fovea": "train", "thé": "train", "word7": "test", "word9": "validation"}


def test_splits_have_their_shares():
    count = 10_007
    shares = collections.Counter(rows.split_of(f"word{index}", FRACTIONS) for index in range(count))
    assert {split: round(shares[split] / count, 1) for split in FRACTIONS} == FRACTIONS


def test_the_last_split_takes_what_rounding_leaves():
    assert rows.split_of("tea", {"train": 0.0, "test": 0.0}) == "test"


def test_the_subset_is_independent_of_the_splits():
    """The first tenth by rank must not be the first split: that would be all train, or none."""
    everything = sorted((row(f"word{index}") for index in range(10_007)), key=rows.rank)
    shares = collections.Counter(rows.split_of(item.source, FRACTIONS) for item in everything[:1009])
    assert shares["train"] / 1009 == pytest.approx(0.8, abs=0.05)


def test_rows_that_are_alike_rank_by_their_place():
    assert rows.rank(row(line=9)) < rows.rank(row(line=10))
    assert rows.rank(row())[:32] != rows.rank(row(references=("le thé",)))[:32]


@given(st.lists(st.text(max_size=40)), st.integers(1, 7), st.integers(1, 90))
def test_batches_hold_every_text_once_and_no_more_cells_than_they_may(texts, number, characters):
    found = list(rows.batches(texts, number, characters))
    assert sorted(number for batch in found for number in batch) == list(range(len(texts)))
    for batch in found:
        assert len(batch) == 1 or len(batch) <= number
        assert len(batch) == 1 or len(batch) * max(len(texts[each]) for each in batch) <= characters
    lengths = [len(texts[each]) for batch in found for each in batch]
    assert lengths == sorted(lengths)
