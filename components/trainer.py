"""The user function of TFX's Trainer: functions only, since TFX loads this module anew."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
import tempfile
import typing
import uuid
from collections.abc import Sequence

import keras
import numpy as np
import rich.console
import tensorflow as tf

from components import (
    alignment,
    alignment_layer,
    attention_watch,
    batches,
    curves,
    progress,
    settings,
    tokenizer,
    tracking,
    training,
)
from components.decoded_score import DecodedScore
from components.subword_sampling import SubwordSampling
from components.tracking_store import Store
from components.transform import SourceGraph
from models import zoo
from models.audio import Audio
from models.contract import AUDIO, FEATURE_MEAN, FEATURE_VARIANCE, PAD, SOURCE_IDS, TARGET_IDS, Seq2Seq
from serving import export, search, signatures, sources
from serving.card import Card

WARMUP_ROWS = 8
DRAWN_EPOCHS = 12


@dataclasses.dataclass(frozen=True)
class Config:
    """What the Trainer needs to know, from the sections of the configuration.

    Attributes:
        name: the pipeline's name.
        model: {"name": a family of the zoo, and its options}.
        training: the `training` section.
        decoding: the `decoding` section.
        token_unit: see `serving.card.Card`.
        kinds: of the source's pieces and of the target's.
        audio: the section `audio`, where sources are recordings.
        tracking: the file that says where the learning curves go; the weights do not depend on it, nor does the cache.
        checkpoints: a folder outside the artifacts (TFX deletes those of a failed component).
        code: digest of the code that trains, so that its change is a change of the configuration.
    """

    name: str
    model: dict[str, typing.Any]
    training: training.Config
    decoding: search.Decoding
    token_unit: str
    kinds: tuple[str, str]
    audio: Audio | None
    tracking: str
    checkpoints: str
    code: str


class Data(typing.NamedTuple):
    """What a model is trained on: transformed rows, and the pieces that they are made of."""

    training_files: list[str]
    validation_files: list[str]
    tokenizers: tokenizer.Tokenizers

    @classmethod
    def of(cls, training: Sequence[str], validation: Sequence[str], tokenizer_uri: str) -> Data:
        """From patterns of files and the Tokenizer's artifact."""
        return cls(_files(training), _files(validation), tokenizer.load(tokenizer_uri))


class Trained(typing.NamedTuple):
    """A model to export, with its best weights, and what came of its training."""

    model: Seq2Seq
    outcome: training.Outcome
    watched: pathlib.Path  # attention.jsonl, where the model has attention; see `attention_watch.py`


def run_fn(fn_args: typing.Any) -> None:
    """Train a model of the zoo on the transformed rows and export it. Called by TFX's Trainer."""
    config = settings.from_json(Config, fn_args.custom_config)
    data = Data.of(fn_args.train_files, fn_args.eval_files, fn_args.tokenizer_uri)
    run = tracking.Run(Store.read(config.tracking), fn_args.mlflow_run)
    model, outcome, watched = train(config, data, run)
    rows = batches.sample(data.validation_files, batches.Config(), alignment_layer.ROWS, config.audio)
    aligned = alignment_layer.choose(model, rows)
    source = _source(config, data, fn_args.transform_graph_path)
    served = export.ServedModel(model, source, data.tokenizers.target_model, config.decoding)
    card = Card(
        name=config.name,
        export_id=uuid.uuid4().hex,
        token_unit=config.token_unit,
        model=config.model | ({"alignment_layer": model.alignment_layer + 1} if aligned else {}),
        audio=dataclasses.asdict(config.audio) if config.audio else {},
        decoding=dataclasses.asdict(config.decoding),
    )
    export.save(served, pathlib.Path(fn_args.serving_model_dir), card, _warmup(data, config.audio))
    model_run = pathlib.Path(fn_args.model_run_dir)
    model_run.mkdir(parents=True, exist_ok=True)
    (model_run / training.OUTCOME_FILE).write_text(json.dumps({**outcome._asdict(), training.ALIGNED: aligned}))
    if watched.exists():
        shutil.copy(watched, model_run)
        _draw_epochs(run, watched)


def train(config: Config, data: Data, run: tracking.Run) -> Trained:
    """Train a model, with a bar in the terminal and its learning curves in MLflow."""
    keras.utils.set_random_seed(config.training.seed)
    model, exported = _models(config, data)
    checkpoints = _checkpoint_dir(config, [*data.training_files, *data.validation_files])
    watched = list(batches.sample(data.validation_files, batches.Config(), attention_watch.ROWS, config.audio))
    watch_file = checkpoints / attention_watch.WATCH_FILE
    if model.one_piece:
        _require_classes(watched)
    with progress.TrainingBar(rich.console.Console(stderr=True)) as bar, curves.Curves(run) as curve:
        outcome = training.train(
            model,
            functools.partial(
                batches.training,
                data.training_files,
                config.training.batches,
                config.training.seed,
                cut_anew=_cut_anew(config, data.tokenizers),
                audio=config.audio,
            ),
            functools.partial(batches.evaluation, data.validation_files, config.training.batches, config.audio),
            config.training,
            checkpoints,
            observers=[bar, curve],
            score=_score(config, exported, data.validation_files, data.tokenizers),
            watchers=[attention_watch.AttentionWatch(watched, data.tokenizers, watch_file, curve.epoch, config.audio)],
        )
    if exported is not model:
        exported.set_weights(model.get_weights())
    return Trained(exported, outcome, watch_file)


def _require_classes(rows: Sequence[batches.Batch]) -> None:
    """Rows whose target is a name of several pieces would be learnt by their first one alone."""
    most = max(int(np.count_nonzero(batch[TARGET_IDS] != PAD, axis=1).max()) for batch in rows) - 1
    if most > 1:
        raise ValueError(
            f"model: this one says a class, one piece, but a validation row has {most}: name it in one word"
        )


def _draw_epochs(run: tracking.Run, watched: pathlib.Path) -> None:
    """A picture a row that was watched, its alignments through the epochs, for MLflow."""
    epochs = attention_watch.read(watched)
    chosen = [epochs[number] for number in np.unique(np.linspace(0, len(epochs) - 1, DRAWN_EPOCHS).astype(int))]
    with tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(epochs[-1].rows):
            path = pathlib.Path(folder) / f"validation-{number + 1}.png"
            panels = {f"epoch {epoch.epoch}": np.array(epoch.rows[number]["attention"]) for epoch in chosen}
            alignment.png_panels(row["source_pieces"], row["target_pieces"], panels, path)
            run.file(path, "alignments/epochs")
        run.file(watched, "alignments/epochs")


def _source(config: Config, data: Data, transform_graph: str) -> sources.Source:
    """What the exported model is asked with."""
    if config.audio:
        return sources.Recordings(config.audio)
    return sources.Texts(SourceGraph(transform_graph), data.tokenizers.source_model, config.decoding.max_source_length)


def _models(config: Config, data: Data) -> tuple[Seq2Seq, Seq2Seq]:
    """(The model that is trained, the one that is exported): the same one, unless training is in mixed precision.

    Weights are float32 in either. Served scores should not be rounded to the three digits of bfloat16, and CPUs without
    instructions for it are slow at it.
    """
    family = zoo.load(config.model["name"])
    shape = settings.from_json(family.Config, settings.options(config.model))
    source = config.audio or data.tokenizers.source_size

    def build() -> Seq2Seq:
        model: Seq2Seq = family.build(shape, source, data.tokenizers.target_size)
        if config.audio and config.audio.normalize == "global":
            model.frontend.adapt(*_feature_statistics(data.training_files))
        return model

    if config.training.precision == "float32":
        model = build()
        return model, model
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.training.precision)  # a layer keeps the policy that it was made under
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(before)
    return model, build()


def _feature_statistics(files: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the features over the train rows, as Transform found them: float32 [depth] each."""
    spec = {name: tf.io.VarLenFeature(tf.float32) for name in (FEATURE_MEAN, FEATURE_VARIANCE)}
    record = next(iter(tf.data.TFRecordDataset(files, compression_type="GZIP")))
    row = tf.io.parse_single_example(record, spec)
    return row[FEATURE_MEAN].values.numpy(), row[FEATURE_VARIANCE].values.numpy()


def _cut_anew(config: Config, tokenizers: tokenizer.Tokenizers) -> SubwordSampling | None:
    """What cuts a training pool's texts in other ways, if anything does."""
    sampling = config.training.subword_sampling
    if not sampling.strengths():
        return None
    return SubwordSampling(tokenizers, dict(zip((SOURCE_IDS, TARGET_IDS), config.kinds, strict=True)), sampling)


def _score(
    config: Config, model: Seq2Seq, files: Sequence[str], tokenizers: tokenizer.Tokenizers
) -> training.Score | None:
    """What chooses the best weights, if it is not the loss."""
    name = config.training.stop_on
    if name == "loss":
        return None
    rows = list(batches.sample(files, config.training.batches, config.training.score_rows, config.audio))
    return DecodedScore(name, config.token_unit, model, rows, tokenizers.target(), config.decoding)


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))


def _checkpoint_dir(config: Config, files: Sequence[str]) -> pathlib.Path:
    """One folder for each combination of configuration, code and data: a resumed run finds its own and no other."""
    sections = [settings.to_json(section) for section in (config.training, config.decoding)]
    rows = [(file, stat.length, stat.mtime_nsec) for file in files for stat in [tf.io.gfile.stat(file)]]
    trained = [config.model, *sections, config.token_unit, config.code, rows]
    key = hashlib.sha256(json.dumps(trained).encode()).hexdigest()[:16]
    folder = pathlib.Path(config.checkpoints) / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _warmup(data: Data, audio: Audio | None) -> list[signatures.Asked]:
    """Inputs for warm-up requests: the sources of a few validation rows."""
    if audio:
        records = tf.data.TFRecordDataset(data.validation_files, compression_type="GZIP").take(WARMUP_ROWS)
        spec = {AUDIO: tf.io.FixedLenFeature([], tf.string)}
        return [tf.io.parse_single_example(record, spec)[AUDIO].numpy() for record in records]
    first = next(batches.evaluation(data.validation_files, batches.Config()))
    ids = tf.RaggedTensor.from_tensor(first[SOURCE_IDS][:WARMUP_ROWS], padding=PAD)
    return [text.decode() for text in data.tokenizers.source().detokenize(ids[:, :-1]).numpy()]
