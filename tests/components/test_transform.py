"""RowExampleGen to Transform as one small pipeline under TFX's own runner, and the graph that comes out of it."""

import json
from typing import Any, NamedTuple

import pytest
import tensorflow as tf
from ml_metadata import metadata_store
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components import example_gen, rows, settings, sources, tokenizer
from components.batches import RAGGED
from components.data_checks import AnomalyGate, SchemaGen
from components.example_gen_component import RowExampleGen
from components.tokenizer import Pieces
from components.tokenizer_component import TokenizerTrainer
from components.transform import SourceGraph
from components.transform_component import TokenizedTransform
from models.contract import END, SOURCE_IDS, SPLITS, TARGET_IDS

BEAM = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
WORDS = ("abbe", "fovea", "tea", "retina", "iris", "lens", "pupil")
BROKEN = {  # line -> what is wrong with it, and its bytes
    17: ("1 column, expected 2", b"fovea"),
    89: ("empty target", b"fovea\t "),
    131: ("invalid UTF-8 at byte 9", b"fovea\tth\xe9"),
    307: ("target of 211 characters, at most 97", b"fovea\t" + b"x" * 211),
}


class Run(NamedTuple):
    """What a run leaves."""

    path: str  # the data
    letters: list[dict[str, Any]]
    artifacts: dict[str, Any]  # by type

    def read(self, artifact_type: str, producer: str, split: str) -> list[bytes]:
        """The records of a split."""
        (artifact,) = (found for found in self.artifacts[artifact_type] if producer in found.uri)
        files = tf.io.gfile.glob(f"{artifact.uri}/Split-{split}/*")
        return list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())

    def only(self, artifact_type: str) -> Any:
        """The one artifact of a type."""
        (artifact,) = self.artifacts[artifact_type]
        return artifact


def write_rows(path, count):
    """Words backwards: "tea iris 7" -> "7 siri aet", and lines that are broken in four ways."""
    lines = []
    for index in range(count):
        source = f"{WORDS[index % 7]} {WORDS[index % 5]} {index}"
        lines.append(f"{source}\t{source[::-1]}".encode())
    for line, (_, content) in sorted(BROKEN.items()):
        lines.insert(line - 1, content)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def components(path, letters):
    config = {"source": {"name": "parallel_text", "path": path}, "max_length": 97, "max_rejected_fraction": 0.02}
    fingerprint = sources.fingerprint(example_gen.find_inputs(settings.from_json(example_gen.Config, config)))
    examples = RowExampleGen(config, fingerprint, letters)
    statistics = StatisticsGen(examples.outputs["examples"])
    schema = SchemaGen(statistics.outputs["statistics"])
    gate = AnomalyGate(statistics.outputs["statistics"], schema.outputs["schema"])
    vocabularies = tokenizer.Config(source=Pieces("char", 97), target=Pieces("bpe", 307))
    trainer = TokenizerTrainer(examples.outputs["examples"], vocabularies)
    transform = TokenizedTransform(examples.outputs["examples"], schema.outputs["schema"], trainer.outputs["tokenizer"])
    return [examples, statistics, schema, gate, trainer, transform]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run over 307 rows, four of them broken."""
    home = tmp_path_factory.mktemp("home")
    path = write_rows(home / "rows.tsv", 303)
    store = metadata.sqlite_metadata_connection_config(str(home / "metadata.db"))
    LocalDagRunner().run(
        pipeline.Pipeline(
            "words",
            str(home / "root"),
            components=components(path, str(home / "letters")),
            enable_cache=True,
            metadata_connection_config=store,
            beam_pipeline_args=BEAM,
        )
    )
    found = metadata_store.MetadataStore(store)
    artifacts = {kind.name: found.get_artifacts_by_type(kind.name) for kind in found.get_artifact_types()}
    letters = [json.loads(line) for line in (home / "letters" / "rejected.jsonl").read_text().splitlines()]
    return Run(path, letters, artifacts)


def test_the_dead_letters_are_the_broken_rows_and_no_others(run):
    expected = [
        {"file": run.path, "line": line, "reason": reason, "row": content.decode(errors="backslashreplace")}
        for line, (reason, content) in sorted(BROKEN.items())
    ]
    assert sorted(run.letters, key=lambda letter: letter["line"]) == expected
    with open(run.only("fovea.RejectedRows").uri + "/rejected.jsonl", encoding="utf-8") as file:
        assert sorted(map(json.loads, file), key=lambda letter: letter["line"]) == expected


def test_the_counts_are_in_ml_metadata(run):
    counts = {name: value.int_value for name, value in run.only("fovea.RejectedRows").custom_properties.items()}
    written = {f"rows_{split}": len(run.read("Examples", "RowExampleGen", split)) for split in SPLITS}
    assert {name: counts[name] for name in written} == written
    assert sum(written.values()) == 303
    assert counts["rows_rejected"] == 4


def test_the_tokenizer_knows_the_train_split_and_nothing_else(run):
    artifact = run.only("fovea.Tokenizer")
    texts = [rows.from_example(record) for record in run.read("Examples", "RowExampleGen", "train")]
    models = tokenizer.load(artifact.uri)
    characters = {character for row in texts for character in row.source if character != " "}
    assert models.source_size == 4 + 1 + len(characters)
    assert artifact.custom_properties["source_size"].int_value == models.source_size
    assert artifact.custom_properties["target_size"].int_value == models.target_size


@pytest.mark.parametrize("split", SPLITS)
def test_ids_are_the_pieces_of_the_texts_and_end(run, split):
    raw = [rows.from_example(record) for record in run.read("Examples", "RowExampleGen", split)]
    models = tokenizer.load(run.only("fovea.Tokenizer").uri)
    spec = {name: tf.io.RaggedFeature(tf.int64, name + RAGGED) for name in (SOURCE_IDS, TARGET_IDS)}
    ids = tf.io.parse_example(run.read("Examples", "Transform", split), spec)
    for name, pieces, texts in (
        (SOURCE_IDS, models.source(), [row.source for row in raw]),
        (TARGET_IDS, models.target(), [row.references[0] for row in raw]),
    ):
        lists = ids[name].to_list()
        assert {row[-1] for row in lists} == {END}
        found = pieces.detokenize(tf.ragged.constant([row[:-1] for row in lists], tf.int32)).numpy()
        assert sorted(text.decode() for text in found) == sorted(texts)


def test_the_graph_needs_the_source_alone_and_goes_into_an_export(run, tmp_path):
    """A served model knows no target: SourceGraph feeds "" for it, and no references."""
    graph = SourceGraph(run.only("TransformGraph").uri)
    pieces = tokenizer.load(run.only("fovea.Tokenizer").uri).source(add_end=True)
    texts = tf.constant(["tea iris 7", "lens", ""])
    expected = pieces.tokenize(texts).to_list()
    assert graph(texts).to_list() == expected

    class Served(tf.Module):
        def __init__(self, graph):
            super().__init__()
            self.graph = graph

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def ids(self, text):
            return {"ids": self.graph(text).to_tensor()}

    served = Served(graph)
    tf.saved_model.save(served, str(tmp_path), signatures={"serving_default": served.ids})
    loaded = tf.saved_model.load(str(tmp_path))
    found = loaded.signatures["serving_default"](text=texts)["ids"]
    assert found.numpy().tolist() == tf.ragged.constant(expected).to_tensor().numpy().tolist()
