"""Schema and validation: texts are no categories, and an anomaly stops the run with its name."""

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.data_checks import AnomalyGate, DataAnomalyError, SchemaGen, relax
from models import contract

GOOD = {
    contract.SOURCE: ["tea", "milk", "bread"],
    contract.TARGET: ["thé", "lait", "pain"],
    contract.REFERENCES: ["thé", "lait", "pain"],
    contract.SOURCE_LENGTH: ["1-4", "1-4", "5-8"],
    contract.GROUP: ["", "", ""],
}


def statistics(folder, **splits):
    """An artifact of statistics, as StatisticsGen leaves it."""
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder / "statistics")
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, columns in splits.items():
        found = tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))
        path = folder / "statistics" / f"Split-{split}" / "FeatureStats.pb"
        path.parent.mkdir(parents=True)
        path.write_bytes(found.SerializeToString())
    return artifact


def check(folder, **splits):
    """SchemaGen and AnomalyGate, run as the launcher runs them."""
    found = statistics(folder, **splits)
    schema, anomalies = standard_artifacts.Schema(), standard_artifacts.ExampleAnomalies()
    schema.uri, anomalies.uri = str(folder / "schema"), str(folder / "anomalies")
    generate = SchemaGen.EXECUTOR_SPEC.executor_class()
    generate.Do({"statistics": [found]}, {"schema": [schema]}, {"exclude_splits": '["validation", "test"]'})
    gate = AnomalyGate.EXECUTOR_SPEC.executor_class()
    gate.Do({"statistics": [found], "schema": [schema]}, {"anomalies": [anomalies]}, {})
    return tfdv.load_schema_text(str(folder / "schema" / "schema.pbtxt")), anomalies


def changed(**columns):
    return {**GOOD, **columns}


def test_good_data_passes_and_has_a_schema_without_categories(tmp_path):
    other = changed(source=["wine", "water", "x"], source_length=["1-4", "5-8", "17-32"])
    schema, anomalies = check(tmp_path, train=GOOD, validation=other, test=GOOD)
    assert {feature.name for feature in schema.feature} == {*GOOD, contract.ALIGNMENT, contract.AUDIO}
    assert all(feature.type == schema_pb2.BYTES for feature in schema.feature)
    assert not schema.string_domain
    assert all(feature.WhichOneof("domain_info") is None for feature in schema.feature)
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1, "validation": 1, "test": 1}


SOME = ["0-0", None, None]


@pytest.mark.parametrize(("train", "test"), [(None, SOME), (SOME, None), (["0-0"] * 3, SOME), (SOME, ["0-0"] * 3)])
def test_any_row_of_any_split_may_have_a_known_alignment(tmp_path, train, test):
    known = [changed(**({contract.ALIGNMENT: column} if column else {})) for column in (train, test)]
    schema, _ = check(tmp_path, train=known[0], validation=GOOD, test=known[1])
    assert [feature.name for feature in schema.feature].count(contract.ALIGNMENT) == 1


def test_groups_of_other_names_pass(tmp_path):
    check(tmp_path, train=changed(group=["kor", "hun", "kor"]), validation=changed(group=["vie"] * 3), test=GOOD)


def test_a_missing_feature_stops_the_run(tmp_path):
    without = {name: values for name, values in GOOD.items() if name != contract.TARGET}
    with pytest.raises(DataAnomalyError, match=r"\n  validation: target: Column dropped \(") as error:
        check(tmp_path, train=GOOD, validation=without, test=GOOD)
    assert "test:" not in str(error.value)


def test_a_feature_that_is_no_text_stops_the_run(tmp_path):
    with pytest.raises(DataAnomalyError, match=r"\n  test: source: .*BYTES but got INT"):
        check(tmp_path, train=GOOD, validation=GOOD, test=changed(source=[2, 3, 5]))


def test_a_feature_that_some_rows_lack_stops_the_run(tmp_path):
    with pytest.raises(DataAnomalyError, match=r"\n  test: target: .*present in fewer examples than expected"):
        check(tmp_path, train=GOOD, validation=GOOD, test=changed(target=["thé", None, "pain"]))


def test_a_new_feature_stops_the_run(tmp_path):
    with pytest.raises(DataAnomalyError, match=r"\n  validation: speaker: New column \("):
        check(tmp_path, train=GOOD, validation=changed(speaker=["a", "b", "c"]), test=GOOD)


def test_relax_leaves_what_is_not_ours():
    schema = schema_pb2.Schema()
    schema.string_domain.add(name="language", value=["en", "fr"])
    schema.string_domain.add(name=contract.SOURCE, value=["tea"])
    schema.feature.add(name="language", type=schema_pb2.BYTES, domain="language")
    schema.feature.add(name=contract.SOURCE, type=schema_pb2.BYTES, domain=contract.SOURCE)
    references = schema.feature.add(name=contract.REFERENCES, type=schema_pb2.BYTES)
    references.shape.dim.add(size=1)
    relaxed = relax(schema)
    assert [domain.name for domain in relaxed.string_domain] == ["language"]
    language, source, references, alignment, audio = relaxed.feature
    for name, feature in ((contract.ALIGNMENT, alignment), (contract.AUDIO, audio)):
        assert (feature.name, feature.type) == (name, schema_pb2.BYTES)
        assert (feature.value_count.min, feature.value_count.max) == (0, 1)
    assert language.domain == "language"
    assert not source.HasField("domain")
    assert not references.HasField("shape")
    assert (references.value_count.min, references.value_count.max) == (1, 0)
