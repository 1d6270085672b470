"""ExampleGen: splits, subsets, dead letters, and the data that it refuses."""

import collections
import json

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import recordings, rows, settings, sources
from components.example_gen import Config, DataError, Splitter, find_inputs, read_rows, require_audio, require_sound
from components.example_gen_component import Executor, RejectedRows, RowExampleGen
from components.rows import Rejected
from models.audio import Audio
from tests.components import speech

BEAM = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
SPLITS = ("train", "validation", "test")


def write(folder, name, lines):
    (folder / name).write_text("".join(line + "\n" for line in lines))
    return str(folder / name)


def pairs(count, start=0):
    return [f"word{index}\tmot{index}" for index in range(start, start + count)]


def run(folder, audio=None, **config):
    """The executor alone: {split: rows}, and the artifact of the rejected rows."""
    executor = Executor(Executor.Context(beam_pipeline_args=BEAM, tmp_dir=str(folder / "tmp"), unique_id="1"))
    examples, rejected = standard_artifacts.Examples(), RejectedRows()
    examples.uri, rejected.uri = str(folder / "examples"), str(folder / "rejected")
    properties = {
        "config": settings.to_json(settings.from_json(Config, config)),
        "fingerprint": "",
        "dead_letters_dir": str(folder / "letters"),
        **({} if audio is None else {"audio": settings.to_json(audio)}),
    }
    executor.Do({}, {"examples": [examples], "rejected": [rejected]}, properties)
    return {split: written(f"{examples.uri}/Split-{split}/*") for split in SPLITS}, rejected


def written(pattern):
    files = tf.io.gfile.glob(pattern)
    return [
        rows.from_example(record, with_audio=True)
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    ]


def dead_letters(folder):
    lines = (folder / "letters" / "rejected.jsonl").read_text().splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda letter: (letter["file"], letter["line"]))


def everything(splits):
    return [row for split in splits.values() for row in split]


def test_rows_of_all_files_are_in_the_split_of_their_source(tmp_path):
    write(tmp_path, "1.tsv", pairs(53))
    write(tmp_path, "2.tsv", [*pairs(53), *pairs(31, start=100)])
    splits, rejected = run(tmp_path, source={"name": "parallel_text", "path": str(tmp_path / "*.tsv")})
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1}
    expected = collections.Counter(
        (rows.split_of(f"word{index}", fractions), f"word{index}", f"mot{index}")
        for index in [*range(53), *range(53), *range(100, 131)]
    )
    found = ((split, row.source, *row.references) for split, rows_ in splits.items() for row in rows_)
    assert collections.Counter(found) == expected
    for split in SPLITS:
        assert rejected.get_int_custom_property(f"rows_{split}") == len(splits[split])
    assert rejected.get_int_custom_property("rows_rejected") == 0
    assert dead_letters(tmp_path) == []


def test_a_subset_is_exact_the_same_and_part_of_every_greater_one(tmp_path):
    write(tmp_path, "1.tsv", [*pairs(101), *pairs(17)])
    write(tmp_path, "2.tsv", pairs(211, start=500))
    source = {"name": "parallel_text", "path": str(tmp_path / "*.tsv")}
    found = {}
    for size in (83, 167):
        (tmp_path / str(size)).mkdir()
        splits, rejected = run(tmp_path / str(size), source=source, max_rows=size)
        found[size] = collections.Counter(row.source for row in everything(splits))
        assert found[size].total() == size
        assert sum(rejected.get_int_custom_property(f"rows_{split}") for split in SPLITS) == size
    assert found[83] <= found[167]
    ranked = sorted(read_everything(source), key=rows.rank)
    assert found[83] == collections.Counter(row.source for row in ranked[:83])


def read_everything(source):
    config = Config(source)
    return [row for item in find_inputs(config) for row in read_rows(config, item)]


def test_a_subset_of_more_rows_than_there_are_is_all_of_them(tmp_path):
    path = write(tmp_path, "1.tsv", pairs(101))
    splits, _ = run(tmp_path, source={"name": "parallel_text", "path": path}, max_rows=1009)
    assert len(everything(splits)) == 101


def test_given_splits_win(tmp_path):
    counts = {"train": 13, "validation": 7, "test": 5}
    paths = {split: write(tmp_path, f"{split}.tsv", pairs(count)) for split, count in counts.items()}
    splits, _ = run(tmp_path, source={"name": "parallel_text", "path": paths})
    assert {split: len(rows_) for split, rows_ in splits.items()} == counts


def test_made_up_rows_are_examples_with_their_groups_and_alignments(tmp_path):
    splits, rejected = run(tmp_path, source={"name": "dates", "rows": 307, "locales": ["de", "sv"]})
    found = everything(splits)
    assert len({row.source for row in found}) == 307
    assert {row.group for row in found} == {"de", "sv"}
    assert all(row.alignment for row in found)
    assert rejected.get_int_custom_property("rows_rejected") == 0


def test_more_made_up_rows_than_there_are_texts_stop_the_run(tmp_path):
    source = {"name": "dates", "rows": 409, "locales": ["sv"], "formats": ["short"], "years": [2027, 2027]}
    with pytest.raises(DataError) as error:
        run(tmp_path, source=source)
    assert str(error.value) == "rows is 409, but there seem to be 365 texts only: widen `years`"


def test_stories_are_longer_than_sentences(tmp_path):
    story = [f"{number} Mary went to room {number}." for number in range(1, 307)]
    lines = [*story, "307 Where is Mary? \troom 306\t306"]
    paths = {split: write(tmp_path, f"qa3_{split}.txt", lines) for split in SPLITS}
    source = {"name": "babi", "path": paths}
    splits, _ = run(tmp_path, source=source, max_length=10_007)
    assert [(row.group, len(row.source) > 7000) for row in everything(splits)] == [("qa3", True)] * 3
    with pytest.raises(
        DataError, match=r"no good row: 3 rows were read(.|\n)*:307: source of \d{4} characters, at most 1"
    ):
        run(tmp_path, source=source)


def test_too_many_rejected_rows_stop_the_run_and_are_kept(tmp_path):
    path = write(tmp_path, "1.tsv", [*pairs(41), *["broken"] * 13, "word41\t" + "mot " * 29])
    with pytest.raises(DataError) as error:
        run(tmp_path, source={"name": "parallel_text", "path": path}, max_length=97, max_rejected_fraction=0.1)
    first, *shown = str(error.value).splitlines()
    assert first == "14 of 55 rows rejected (25.5%), max_rejected_fraction is 0.1"
    assert shown == [f"  {path}:{line}: 1 column, expected 2" for line in range(42, 52)]
    letters = dead_letters(tmp_path)
    assert [letter["line"] for letter in letters] == list(range(42, 56))
    assert letters[0] == {"file": path, "line": 42, "reason": "1 column, expected 2", "row": "broken"}
    assert letters[-1]["reason"] == "target of 115 characters, at most 97"


def test_files_that_do_not_belong_together_stop_the_run_with_the_reason_alone(tmp_path):
    en, fr = write(tmp_path, "a.en", pairs(11)), write(tmp_path, "a.fr", pairs(13))
    with pytest.raises(DataError) as error:
        run(tmp_path, source={"name": "parallel_text", "path": [en, fr]})
    assert str(error.value) == f"aligned files must have the same number of lines: {en} has 11, {fr} has 13"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            {"train": 0, "validation": 0, "test": 0, "good": 0, "rejected": 2},
            "no good row: 2 rows were read, all of them rejected\n",
        ),
        (
            {"train": 5, "validation": 0, "test": 3, "good": 8, "rejected": 0},
            "no row in validation (train 5, validation 0, test 3)",
        ),
        ({"train": 5, "validation": 2, "test": 3, "good": 10, "rejected": 1}, "1 of 11 rows rejected (9.1%)"),
    ],
)
def test_unsound_data_is_refused(counts, message):
    rejected = [Rejected("a.tsv", 7 + index, "empty target", "") for index in range(counts["rejected"])]
    with pytest.raises(DataError) as error:
        require_sound(counts, rejected, limit=0.01)
    assert str(error.value).startswith(message)
    assert ("a.tsv:7: empty target" in str(error.value)) == bool(rejected)


def test_as_many_rejected_rows_as_allowed_pass():
    counts = {"train": 80, "validation": 9, "test": 10, "good": 99, "rejected": 1}
    require_sound(counts, [Rejected("a.tsv", 7, "empty target", "")], limit=0.01)


def test_rejected_rows_are_held_against_all_rows_and_not_against_a_subset(tmp_path):
    """5 of 505 rows are within the limit of 1 %, though a subset of 53 is taken."""
    path = write(tmp_path, "1.tsv", pairs(500) + ["broken"] * 5)
    _, rejected = run(tmp_path, source={"name": "parallel_text", "path": path}, max_rows=53)
    assert rejected.get_int_custom_property("rows_rejected") == 5
    assert sum(rejected.get_int_custom_property(f"rows_{split}") for split in ("train", "validation", "test")) == 53


def test_splits_are_given_for_all_rows_or_for_none(tmp_path):
    path = write(tmp_path, "1.tsv", pairs(3))
    config = Config({"name": "parallel_text", "path": {"validation": path, "test": path}})
    with pytest.raises(sources.SourceError) as error:
        find_inputs(config)
    assert str(error.value) == (
        "given splits must be all of train, validation, test, or train and test, or none; there are: test, validation"
    )


def test_validation_is_cut_from_train_where_it_is_not_given(tmp_path):
    train, test = write(tmp_path, "train.tsv", pairs(400)), write(tmp_path, "test.tsv", pairs(30))
    rows, _ = run(tmp_path, source={"name": "parallel_text", "path": {"train": train, "test": test}})
    counts = {split: len(part) for split, part in rows.items()}
    assert counts["test"] == 30
    assert counts["train"] + counts["validation"] == 400
    assert 25 < counts["validation"] < 65  # a ninth of 400 is 44


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"source": {"name": "cmudict"}, "splits": {"train": 0.8}}, None),
        ({"source": {"name": "cmudict"}, "splits": {"train": 0.7}}, "train \\+ validation \\+ test is 0.9, expected 1"),
        ({"source": {"name": "cmudict"}, "splits": {"train": 0.9, "test": 0}}, "splits.test\n.*greater than 0"),
        ({"source": {"name": "cmudict"}, "max_rows": 0}, "max_rows.*\n.*greater than 0"),
        ({"source": {"name": "cmudict"}, "max_rows": "7"}, "max_rows.*\n.*valid integer"),
        ({"source": {"name": "cmudict"}, "rows": 7}, "rows\n.*Unexpected keyword"),
        ({}, "source\n.*Field required"),
    ],
)
def test_a_wrong_configuration_is_refused(config, message):
    if message is None:
        assert settings.from_json(Config, config).splits.test == 0.1
        return
    with pytest.raises(ValueError, match=message):
        settings.from_json(Config, config)


def test_equal_configurations_are_equal_as_properties():
    """Defaults written out are no other configuration: the cache must not see a difference."""
    short = {"source": {"name": "cmudict"}}
    long = {"max_length": 1000, "splits": {"test": 0.1, "train": 0.8}, "source": {"name": "cmudict"}}
    first, second = (RowExampleGen(config, "7", "letters").exec_properties for config in (short, long))
    assert first == second


def test_a_source_without_a_name():
    with pytest.raises(
        sources.SourceError, match=r"source\.name: None, expected one of babi, cmudict, dates, joined_recordings"
    ):
        find_inputs(Config({"path": "a.tsv"}))


def test_a_part_of_the_train_rows_leaves_the_other_splits_as_they_are(tmp_path):
    write(tmp_path, "1.tsv", pairs(307))
    source = {"name": "parallel_text", "path": str(tmp_path / "1.tsv")}
    found = []
    for name, options in (("all", {}), ("fewer", {"max_train_rows": 101})):
        (tmp_path / name).mkdir()
        found.append(run(tmp_path / name, source=source, **options)[0])
    everyone, fewer = found
    assert len(fewer["train"]) == 101 and set(fewer["train"]) < set(everyone["train"])
    for split in ("validation", "test"):
        assert sorted(fewer[split], key=str) == sorted(everyone[split], key=str)


SPEAKERS = 41


def manifest(folder, *more):
    """One recording of each speaker and two of speaker 0, some at half the rate, and `more` lines."""
    lines = ["audio\ttranscript\tspeaker", *(f"{n}.wav\tyes {n}\t{n % SPEAKERS}" for n in range(SPEAKERS + 1)), *more]
    for number in range(SPEAKERS + 1):
        rate_hz = 8_000 if number < 5 else 16_000
        speech.write(folder / f"{number}.wav", speech.tone(0.11 + number / 100, rate_hz), rate_hz)
    return {"name": "speech_manifest", "path": write(folder, "a.tsv", lines)}


def test_recordings_are_written_in_their_canonical_form(tmp_path):
    source = manifest(tmp_path)
    splits, rejected = run(tmp_path, Audio(), source=source)
    found = everything(splits)
    assert sorted(row.source for row in found) == sorted(f"{n}.wav" for n in range(SPEAKERS + 1))
    for row in found:
        number = int(row.source.removesuffix(".wav"))
        assert recordings.seconds(row.audio, Audio()) == pytest.approx(0.11 + number / 100, abs=1e-3)
        assert row.group == str(number % SPEAKERS)
    assert rejected.get_int_custom_property("rows_resampled") == 5
    assert sum(rejected.get_int_custom_property(f"rows_{split}") for split in SPLITS) == SPEAKERS + 1


def test_no_speaker_is_in_two_splits(tmp_path):
    splits, _ = run(tmp_path, Audio(), source=manifest(tmp_path))
    by_split = [{row.group for row in part} for part in splits.values()]
    assert sum(map(len, by_split)) == len(set.union(*by_split)) == SPEAKERS
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1}
    for split, part in splits.items():
        assert {rows.split_of(row.group, fractions) for row in part} == {split}


def test_splits_of_a_column_are_as_given(tmp_path):
    lines = ["audio\ttranscript\tsplit", *(f"{n}.wav\tyes\t{SPLITS[n % 3]}" for n in range(60))]
    config = Config({"name": "speech_manifest", "path": write(tmp_path, "a.tsv", lines)})
    splitter = Splitter(config)
    for number, row in enumerate(read_everything(config.source)):
        assert splitter(row) == SPLITS[number % 3]


def test_recordings_that_cannot_be_used_are_dead_letters_beside_lines_that_cannot(tmp_path):
    source = manifest(tmp_path, "missing.wav\tyes\tann", "silent.wav\tyes\tann", "0.wav\t\t0")
    speech.write(tmp_path / "silent.wav", [0.0] * 1000)
    _, rejected = run(tmp_path, Audio(), source=source, max_rejected_fraction=0.2)
    assert [(letter["line"], letter["reason"].rpartition("/")[2]) for letter in dead_letters(tmp_path)] == [
        (44, "missing.wav: cannot be read: No such file or directory"),
        (45, "silent.wav: silent: no sample is further than 0.0001 from the mean, a full scale is 1"),
        (46, "empty transcript"),
    ]
    assert rejected.get_int_custom_property("rows_rejected") == 3
    assert sum(rejected.get_int_custom_property(f"rows_{split}") for split in SPLITS) == SPEAKERS + 1


def test_recordings_of_a_subset_are_held_against_that_subset(tmp_path):
    """Of 31 rows half are missing, which 31 of 1,000 lines would hide."""
    lines = [f"missing{n}.wav\tyes\tann" for n in range(SPEAKERS)]
    source = manifest(tmp_path, *lines)
    with pytest.raises(DataError, match=r"of 31 recordings rejected \(\d\d\.\d%\), max_rejected_fraction is 0.2\n"):
        run(tmp_path, Audio(), source=source, max_rejected_fraction=0.2, max_rows=31)
    counts = {"train": 15, "validation": 1, "test": 1, "good": 1000, "rejected": 15, "unheard": 14}
    with pytest.raises(DataError, match=r"^14 of 31 recordings rejected \(45\.2%\)"):
        require_sound(counts, [], limit=0.02)


def test_made_up_speech_is_said_in_beam(tmp_path):
    source = {"name": "spoken_digits", "rows": 101, "max_digits": 2}
    splits, rejected = run(tmp_path, Audio(), source=source)
    assert len(everything(splits)) == rejected.get_int_custom_property("rows_resampled") == 101
    assert all(0.2 < recordings.seconds(row.audio, Audio()) < 3 for row in everything(splits))


def test_recordings_and_the_section_audio_need_each_other():
    speech_source = Config({"name": "spoken_digits"})
    require_audio(speech_source, Audio())
    require_audio(Config({"name": "cmudict"}), None)
    with pytest.raises(sources.SourceError) as error:
        require_audio(speech_source, None)
    assert str(error.value) == "the source 'spoken_digits' reads recordings: write `audio: {}` for what they are"
    with pytest.raises(sources.SourceError) as error:
        require_audio(Config({"name": "cmudict"}), Audio())
    assert str(error.value) == (
        "the source 'cmudict' reads texts: remove `audio`, or choose a source of recordings: "
        "joined_recordings, speech_manifest, spoken_digits"
    )


def test_a_section_audio_is_part_of_the_cache_key_and_texts_have_none():
    config = {"source": {"name": "spoken_digits"}}
    hear = [RowExampleGen(config, "7", "letters", audio).exec_properties for audio in (None, Audio(), Audio(bands=40))]
    assert "audio" not in hear[0] or hear[0]["audio"] is None
    assert hear[1]["audio"] != hear[2]["audio"]
