"""The graph of components, top to bottom. What runs it is in `pipeline/runners/`."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import tensorflow_data_validation as tfdv
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata, pipeline
from tfx.proto import pusher_pb2, trainer_pb2
from tfx.types import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from components import example_gen, sources, trainer, trials
from components import tokenizer as tokenizers
from components.champion import LatestOtherBlessedModel
from components.data_checks import AnomalyGate, SchemaGen
from components.evaluator_component import Evaluator
from components.example_gen_component import RowExampleGen
from components.pusher_component import Pusher
from components.registrar_component import Registrar
from components.row_checks_component import LatestOfOtherExamples, RowChecks, SequenceValidator
from components.serving_validator_component import ServingValidator
from components.tokenizer_component import TokenizerTrainer
from components.trainer_component import Trainer
from components.transform_component import TokenizedTransform
from components.tuner_component import Tuner
from models import attention as mechanisms
from models.contract import TEXTS
from pipeline import digest
from pipeline.config import Config, model_shape
from pipeline.home import Home
from pipeline.metadata import lost_push


def build(config: Config, home: Home) -> pipeline.Pipeline:
    """The pipeline of a configuration, with its state under `home`."""
    data = _data(config, home)
    rows, transform, tokenizer = data["ExampleGen"], data["Transform"], data["Tokenizer"]
    training = Trainer(
        run_fn="components.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        tokenizer=tokenizer.outputs["tokenizer"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation"]),
        custom_config=dataclasses.asdict(trainer_config(config, home)),
    )
    champion = Resolver(
        strategy_class=LatestOtherBlessedModel,
        model=Channel(type=Model),
        model_blessing=Channel(type=ModelBlessing),
        candidate=training.outputs["model"],
    ).with_id("Champion")
    evaluator = Evaluator(
        examples=rows.outputs["examples"],
        model=training.outputs["model"],
        tokenizer=tokenizer.outputs["tokenizer"],
        checks=data["SequenceValidator"].outputs["checks"],
        baseline_model=champion.outputs["model"],
        config=config.evaluation,
        token_unit=token_unit(config),
    )
    served = ServingValidator(
        examples=rows.outputs["examples"],
        model=training.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        config=config.serving,
    )
    pusher = Pusher(
        model=training.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=served.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(home.models(config.name)))
        ),
        custom_config={"lost": lost_push(home, config.name)},
    )
    # What the server runs is started, not imported, and part of what its blessing says.
    judges = [versioned(evaluator, "components.tfma_metrics"), versioned(served, "serving.server")]
    registrar = Registrar(
        model=training.outputs["model"],
        pushed_model=pusher.outputs["pushed_model"],
        evaluation=evaluator.outputs["evaluation"],
        tracking=str(home.store_file(config.name)),
        store=home.tracking(config.name, config.tracking_uri).name(),
    )
    ends = [champion, *judges, versioned(pusher), versioned(registrar, "components.registry")]
    return _pipeline(config, home, [*data.values(), training, *ends])  # training's digest is in its custom_config


def _pipeline(config: Config, home: Home, components: list[BaseComponent]) -> pipeline.Pipeline:
    return pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(home.artifacts(config.name)),
        components=components,
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(home.metadata_db)),
        beam_pipeline_args=list(config.beam),
    )


def build_tuning(config: Config, home: Home) -> pipeline.Pipeline:
    """The pipeline of a search over parameters: up to rows of pieces as in `build`, then a Tuner."""
    data = _data(config, home)
    tuner = Tuner(
        tuner_fn="components.tuner.tuner_fn",
        examples=data["Transform"].outputs["transformed_examples"],
        tokenizer=data["Tokenizer"].outputs["tokenizer"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation"]),
        custom_config=dataclasses.asdict(_search(config, home)),
    )
    return _pipeline(config, home, [*data.values(), versioned(tuner, "components.tuner")])


def _search(config: Config, home: Home) -> trials.Request:
    """What the Tuner needs to know of the configuration; a search of its own for each."""
    assert config.tune is not None
    trained = trainer_config(config, home)
    search = json.dumps([dataclasses.asdict(part) for part in (trained, config.tune, config.data, config.tokenizer)])
    folder = home.tuning(config.name) / hashlib.sha256(search.encode()).hexdigest()[:16]
    return trials.Request(trained, config.tune, str(folder))


def objective(config: Config, home: Home) -> str:
    """What the trials of a search are measured by."""
    return str(trials.objective(trainer_config(config, home)).name)


def _data(config: Config, home: Home) -> dict[str, BaseComponent]:
    """The components from raw rows to rows of pieces, by their ids, in the order in which they run."""
    rows = RowExampleGen(
        config=dataclasses.asdict(config.data),
        fingerprint=sources.fingerprint(example_gen.find_inputs(config.data)),
        dead_letters_dir=str(home.rejected(config.name)),
        audio=config.audio,
    ).with_id("ExampleGen")
    statistics = StatisticsGen(
        examples=rows.outputs["examples"], stats_options=tfdv.StatsOptions(feature_allowlist=list(TEXTS))
    )
    schema = SchemaGen(statistics=statistics.outputs["statistics"])
    validator = AnomalyGate(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]).with_id(
        "ExampleValidator"
    )
    tokenizer = TokenizerTrainer(
        examples=rows.outputs["examples"], config=config.tokenizer, recordings=config.audio is not None
    ).with_id("Tokenizer")
    transform = TokenizedTransform(
        examples=rows.outputs["examples"],
        schema=schema.outputs["schema"],
        tokenizer=tokenizer.outputs["tokenizer"],
        audio=config.audio,
    ).with_id("Transform")
    before = Resolver(
        strategy_class=LatestOfOtherExamples,
        previous=Channel(type=RowChecks),
        examples=rows.outputs["examples"],
    ).with_id("EarlierData")
    checks = SequenceValidator(
        examples=rows.outputs["examples"],
        tokenizer=tokenizer.outputs["tokenizer"],
        previous=before.outputs["previous"],
        config=config.checks,
        listing_dir=str(home.rejected(config.name)),
        audio=config.audio,
    )
    components = [
        versioned(rows, f"components.sources.{config.data.source['name']}"),
        statistics,
        versioned(schema),
        versioned(validator),
        versioned(tokenizer),
        before,
        versioned(checks),
        versioned(transform, "components.preprocessing"),
    ]
    return {component.id: component for component in components}


def trainer_config(config: Config, home: Home) -> trainer.Config:
    """What the Trainer needs to know of the configuration."""
    return trainer.Config(
        name=config.name,
        model=config.model,
        training=config.training,
        decoding=config.decoding,
        token_unit=token_unit(config),
        kinds=config.tokenizer.kinds(),
        audio=config.audio,
        tracking=str(home.store_file(config.name)),
        checkpoints=str(home.checkpoints(config.name)),
        code=digest.of_code("components.trainer", *model_modules(config)),
    )


def model_modules(config: Config) -> list[str]:
    """The modules that a model is made of and that are found by name."""
    shape = model_shape(config)
    modules = [type(shape).__module__]
    if hasattr(shape, "attention"):
        name, _ = mechanisms.named(shape.attention)
        modules.append(mechanisms.find(name).__module__)
    return modules


def token_unit(config: Config) -> str:
    """What `token_error_rate` counts: characters where the target's pieces are characters, else words."""
    _, target = config.tokenizer.kinds()
    return tokenizers.token_unit(target)


def versioned(component: BaseComponent, *modules: str) -> BaseComponent:
    """Put the digest of the code that a component runs, and of these modules, into its cache key."""
    code = digest.of_code(type(component).__module__, *modules)
    component.executor_spec.add_extra_flags([f"--code={code}"])
    return component
