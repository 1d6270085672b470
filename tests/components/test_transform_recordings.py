"""RowExampleGen to Transform over recordings: they pass as they are, and statistics are those of all train frames."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from ml_metadata import metadata_store
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components import asked, batches, example_gen, settings, sources, tokenizer, trainer
from components.data_checks import AnomalyGate, SchemaGen
from components.example_gen_component import RowExampleGen
from components.tokenizer_component import TokenizerTrainer
from components.transform_component import TokenizedTransform
from models.audio import Audio
from models.contract import AUDIO, END, FEATURE_MEAN, FEATURE_VARIANCE, FRAMES, SPLITS, TARGET_IDS, TEXTS

BEAM = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
DEPTH, ROWS = 5, 61
AUDIO_SECTION = Audio(kind="features", depth=DEPTH, normalize="global", max_seconds=0.9)
WORDS = ("yes", "no", "maybe", "yes no", "no maybe yes", "maybe no", "no no")


def frames(number):
    """Of row `number`, float32 [frames, DEPTH]: neither mean nor variance is that of another row."""
    random = np.random.default_rng(number)
    return random.normal(loc=number / 7, scale=1 + number % 3, size=(19 + number % 23, DEPTH)).astype(np.float32)


class Run(NamedTuple):
    """What a run leaves."""

    artifacts: dict[str, Any]  # by type

    def folder(self, producer, split):
        """Where the records of a split are."""
        (artifact,) = (found for found in self.artifacts["Examples"] if producer in found.uri)
        return f"{artifact.uri}/Split-{split}"

    def files(self, producer, split):
        return tf.io.gfile.glob(f"{self.folder(producer, split)}/*")

    def examples(self, producer, split):
        """The features of each row."""
        records = tf.data.TFRecordDataset(self.files(producer, split), compression_type="GZIP").as_numpy_iterator()
        return [tf.train.Example.FromString(record).features.feature for record in records]

    def only(self, artifact_type):
        """The one artifact of a type."""
        (artifact,) = self.artifacts[artifact_type]
        return artifact


def components(path, letters):
    config = {"source": {"name": "speech_manifest", "path": path}, "max_rejected_fraction": 0.1}
    fingerprint = sources.fingerprint(example_gen.find_inputs(settings.from_json(example_gen.Config, config)))
    examples = RowExampleGen(config, fingerprint, letters, AUDIO_SECTION)
    options = tfdv.StatsOptions(feature_allowlist=list(TEXTS))
    statistics = StatisticsGen(examples.outputs["examples"], stats_options=options)
    schema = SchemaGen(statistics.outputs["statistics"])
    gate = AnomalyGate(statistics.outputs["statistics"], schema.outputs["schema"])
    words = tokenizer.Config(target=tokenizer.Pieces("word", 97))
    pieces = TokenizerTrainer(examples.outputs["examples"], words, recordings=True)
    transform = TokenizedTransform(
        examples.outputs["examples"], schema.outputs["schema"], pieces.outputs["tokenizer"], AUDIO_SECTION
    )
    return [examples, statistics, schema, gate, pieces, transform]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run over recordings, one of which is too long."""
    home = tmp_path_factory.mktemp("home")
    with open(home / "list.jsonl", "w") as manifest:
        for number in range(ROWS):
            np.save(home / f"{number}.npy", frames(number) if number else np.zeros((97, DEPTH), np.float32))
            split = "train" if number % 5 else ("validation", "test")[number % 2]
            row = {"audio": f"{number}.npy", "transcript": WORDS[number % 7], "split": split}
            manifest.write(json.dumps(row) + "\n")
    store = metadata.sqlite_metadata_connection_config(str(home / "metadata.db"))
    data = {"path": str(home / "list.jsonl"), "letters": str(home / "letters")}
    LocalDagRunner().run(
        pipeline.Pipeline(
            "spoken",
            str(home / "root"),
            components=components(**data),
            metadata_connection_config=store,
            beam_pipeline_args=BEAM,
        )
    )
    found = metadata_store.MetadataStore(store)
    return Run({kind.name: found.get_artifacts_by_type(kind.name) for kind in found.get_artifact_types()})


def numbers(rows):
    """Which rows these are, by their frames."""
    by_content = {frames(number).astype("<f4").tobytes(): number for number in range(1, ROWS)}
    return sorted(by_content[row[AUDIO].bytes_list.value[0]] for row in rows)


@pytest.mark.parametrize("split", SPLITS)
def test_a_recording_passes_as_it_is(run, split):
    before, after = run.examples("RowExampleGen", split), run.examples("Transform", split)
    expected = [n for n in range(1, ROWS) if split == ("train" if n % 5 else ("validation", "test")[n % 2])]
    assert numbers(before) == numbers(after) == expected
    pieces = tokenizer.load(run.only("fovea.Tokenizer").uri).target()
    for row in after:
        assert set(row) == {AUDIO, TARGET_IDS + batches.RAGGED, FEATURE_MEAN, FEATURE_VARIANCE}
        ids = row[TARGET_IDS + batches.RAGGED].int64_list.value
        assert ids[-1] == END
        (number,) = numbers([row])
        assert pieces.detokenize([ids[:-1]]).numpy()[0].decode() == WORDS[number % 7]


def test_statistics_are_those_of_all_train_frames(run):
    heard = np.concatenate([frames(number) for number in range(1, ROWS) if number % 5]).astype(np.float64)
    for split in SPLITS:
        for row in run.examples("Transform", split):
            np.testing.assert_allclose(row[FEATURE_MEAN].float_list.value, heard.mean(0), rtol=1e-4)
            np.testing.assert_allclose(row[FEATURE_VARIANCE].float_list.value, heard.var(0), rtol=1e-4)
    found = trainer._feature_statistics(run.files("Transform", "train"))
    np.testing.assert_allclose(found, [heard.mean(0), heard.var(0)], rtol=1e-4)


def test_there_are_pieces_of_transcripts_alone(run):
    artifact = run.only("fovea.Tokenizer")
    models = tokenizer.load(artifact.uri)
    assert models.source_model == b"" and models.target_size == 4 + 3
    sizes = {side: artifact.custom_properties[f"{side}_size"].int_value for side in tokenizer.SIDES}
    assert sizes == {"source": 0, "target": models.target_size}


def test_a_training_reads_them(run):
    config = batches.Config(boundaries=(5, 13))
    found = list(batches.evaluation(run.files("Transform", "test"), config, AUDIO_SECTION))
    lengths = np.concatenate([batch[FRAMES][..., -1].sum(1) for batch in found])
    assert sorted(lengths) == sorted(len(frames(number)) for number in range(1, ROWS) if number % 5 == 0 and number % 2)


def test_decoded_rows_get_their_recordings_by_their_origin(run):
    folder = run.folder("RowExampleGen", "test")
    raw = list(asked.read([folder]))
    assert [asked.of_row(row) for row in raw] == [row.audio for row in raw]
    decoded = [{"source": row.source, "origin": f"{row.file}:{row.line}", "prediction": "no"} for row in raw[::-1]]
    attached = asked.attach(decoded, [folder])
    assert attached == [row | {"audio": one.audio} for row, one in zip(decoded, raw[::-1], strict=True)]
    assert asked.inputs(attached) == {"audio": [row.audio for row in raw[::-1]]}
    assert asked.inputs(decoded) == {"text": [row.source for row in raw[::-1]]}
    assert asked.attach([], [folder]) == []


def test_some_of_many_decoded_rows_are_taken_along(run, monkeypatch):
    monkeypatch.setattr(asked, "LISTENED", 3)
    folder = run.folder("RowExampleGen", "train")
    decoded = [{"source": row.source, "origin": f"{row.file}:{row.line}"} for row in asked.read([folder])]
    taken = asked.attach(decoded, [folder])
    assert [row["origin"] for row in taken] == [decoded[n]["origin"] for n in (0, (len(decoded) - 1) // 2, -1)]
    assert all(row["audio"] for row in taken)
