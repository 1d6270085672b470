"""Sources of spoken words: recordings that are joined, and digits that are made up."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from components import espeak, recordings, rows, settings
from components.rows import Rejected
from components.sources import SourceError, joined_recordings, spoken_digits
from models.audio import Audio
from tests.components.speech import tone, write

WORDS = {"0": "zero", "1": "one", "2": "two"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits of two speakers: 3 x 2 x 13 to train, 3 x 2 x 2 to test."""
    path = tmp_path_factory.mktemp("digits")
    for split, numbers in (("train", range(2, 15)), ("test", range(2))):
        for label, speaker, index in itertools.product(WORDS, ("ann", "bob"), numbers):
            write(path / split / f"{label}_{speaker}_{index}.wav", tone(0.11, hz=200 + 100 * int(label)))
    return path


def joined(folder, **options):
    """{split: rows}, and the files of each split."""
    paths = {split: str(folder / split / "*.wav") for split in ("train", "test")}
    config = settings.from_json(joined_recordings.Config, {"path": paths, "words": WORDS, **options})
    items = joined_recordings.inputs(config)
    return {item.split: list(joined_recordings.read(config, item)) for item in items}


def test_strings_are_of_one_speaker_and_say_what_is_joined(folder):
    found = joined(folder, rows={"train": 211, "validation": 7, "test": 11}, min_joined=2, max_joined=5)
    assert {split: len(part) for split, part in found.items()} == {"train": 211, "validation": 7, "test": 11}
    for split, part in found.items():
        for row in part:
            names = row.source.split(" + ")
            assert [path.rpartition("/")[2] for path in row.recordings] == names
            assert row.references == (" ".join(WORDS[name[0]] for name in names),)
            assert {name.split("_")[1] for name in names} == {row.speaker}
            assert len(row.pauses_ms) == len(names) - 1
            assert all(0 <= pause <= 200 for pause in row.pauses_ms)
            assert row.split == split
    assert {len(row.recordings) for row in found["train"]} == {2, 3, 4, 5}
    assert {row.speaker for row in found["train"]} == {"ann", "bob"}
    assert len({row.recordings for row in found["train"]}) > 200


def test_no_recording_is_in_two_splits(folder):
    found = joined(folder)
    heard = {split: {path for row in part for path in row.recordings} for split, part in found.items()}
    assert not heard["train"] & heard["validation"]
    assert all("/train/" in path for path in heard["train"] | heard["validation"])
    assert len(heard["train"] | heard["validation"]) == 78
    assert heard["test"] == {str(path) for path in (folder / "test").iterdir()}


def test_the_same_options_join_the_same_strings_and_another_seed_others(folder):
    assert joined(folder) == joined(folder) != joined(folder, seed=7)


def test_without_joining_every_file_is_one_row(folder):
    found = joined(folder, max_joined=1)
    names = [row.source for part in found.values() for row in part]
    assert len(names) == len(set(names)) == 90
    row = next(row for row in found["test"] if row.source == "2_bob_1.wav")
    assert (row.references, row.speaker, row.pauses_ms) == (("two",), "bob", ())


def test_files_with_other_names_are_rejected(folder):
    found = joined(folder, max_joined=1, words={"0": "zero", "1": "one"})
    bad = [row for row in found["test"] if isinstance(row, Rejected)]
    assert len(bad) == 4
    assert bad[0].reason == "label '2' is none of the `words`: 0, 1"
    assert bad[0].row == "2_ann_0.wav"
    found = joined(folder, max_joined=1, pattern=r"(?P<label>\d)_(?P<speaker>ann)_.*")
    bad = [row for row in found["test"] if isinstance(row, Rejected)]
    assert [row.row[:6] for row in bad] == ["0_bob_", "0_bob_", "1_bob_", "1_bob_", "2_bob_", "2_bob_"]
    assert bad[0].reason.startswith("the name does not match '(?P<label>")


def test_of_no_words_nothing_is_joined(folder):
    assert all(isinstance(row, Rejected) for row in joined(folder, words={"7": "seven"})["test"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_joined": 3, "max_joined": 2}, "joined: from 3 to 2, expected to rise"),
        ({"gap_ms": [3.5, 2]}, "gap_ms: from 3.5 to 2, expected to rise"),
        ({"pattern": "("}, "is no regular expression"),
        ({"pattern": "(?P<label>.)"}, r"expected the groups \(\?P<label>...\) and \(\?P<speaker>...\)"),
    ],
)
def test_what_cannot_be_joined_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        settings.from_json(joined_recordings.Config, {"path": {"train": "a", "test": "b"}, **options})


def made(**options):
    config = settings.from_json(spoken_digits.Config, options)
    (item,) = spoken_digits.inputs(config)
    return config, list(spoken_digits.read(config, item))


def test_digits_are_said_as_they_are_written():
    config, found = made(rows=101, min_digits=2, max_digits=4, speakers=7)
    assert [row.line for row in found] == list(range(1, 102))
    assert len({row.speaker for row in found}) == 7
    assert {row.group for row in found} <= set(config.voices)
    assert found[0].file.startswith("spoken digits of eSpeak NG 1.")
    for row in found:
        speaker, _, digits = row.source.partition(": ")
        assert speaker == row.speaker
        assert row.references == (" ".join(spoken_digits.WORDS[int(digit)] for digit in digits.split()),)
        assert 2 <= len(digits.split()) <= 4


def test_a_row_sounds_the_same_whatever_was_said_before_it():
    config, found = made(rows=7)
    first = [spoken_digits.record(config, row) for row in found]
    assert [spoken_digits.record(config, row) for row in reversed(found)] == first[::-1]
    assert len(set(first)) == 7


def test_made_up_speech_is_a_good_recording_that_is_longer_for_more_words():
    config, found = made(rows=23)
    audio, durations = Audio(), collections.defaultdict(list)
    for row in found:
        heard = recordings.attach(dataclasses.replace(row, audio=spoken_digits.record(config, row)), audio)
        assert isinstance(heard, rows.Row), heard
        durations[len(row.references[0].split())].append(heard.seconds)
    means = [np.mean(durations[count]) for count in sorted(durations)]
    assert means == sorted(means)


def test_speakers_are_known_apart():
    said = {
        espeak.say("seven", espeak.Speaker("en-us+f2", *how)).tobytes() for how in ((120, 30), (120, 70), (200, 30))
    }
    assert len(said) == 3


def test_a_voice_that_does_not_exist_is_named():
    with pytest.raises(SourceError) as error:
        made(voices=["en-us+m1", "qqq"])
    assert str(error.value) == "the source 'spoken_digits': eSpeak NG has no voice 'qqq'"
    with pytest.raises(ValueError, match="pitch: from 60 to 50, expected to rise"):
        settings.from_json(spoken_digits.Config, {"pitch": [60, 50]})
