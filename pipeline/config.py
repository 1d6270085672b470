"""The configuration: a YAML file, changed by `--set a.b=c`, becomes one typed, frozen object, or all of its errors.

    name: pronounce
    data: {source: cmudict}                       # short for {source: {name: cmudict}}
    model: {name: rnn, units: 256}
    training: {epochs: 12}

Whatever is found by its file's name (a source, a model) is a mapping of `name` and that file's own options.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pathlib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

import pydantic
import yaml

from components import evaluator, example_gen, row_checks, serving_check, settings, sources, tokenizer, training, tuning
from models import attention, zoo
from models.audio import Audio
from pipeline import yaml_text
from pipeline.findings import Problem, unknown, validate
from serving import search
from serving.card import Card

URI_PATTERN = r"^$|^(https?|sqlite|postgresql|mysql|mssql)(\+[a-z0-9]+)?://"
NAME_PATTERN = r"[a-z][a-z0-9_-]*"

# FnApiRunner by name: "DirectRunner" first tries to fetch a Go binary, and runs another engine where it cannot.
# An image of that name is never used: it keeps TFX from building a source distribution for every component.
BEAM = ("--runner=FnApiRunner", "--sdk_container_image=unused")


@dataclasses.dataclass(frozen=True)
class Config:
    """A pipeline, whole.

    Attributes:
        name: of the pipeline, of its folders and of the served model.
        data: where rows come from, and how they are checked and split.
        checks: what rows may look like, as sequences.
        audio: what recordings are to the model, where sources are recordings and not texts.
        tokenizer: how text becomes pieces; of recordings, how the transcripts do.
        model: {"name": a family of `models/zoo`, and its options}.
        training: how the model is trained.
        decoding: how the exported model searches.
        evaluation: what is measured, and what makes a model good enough.
        serving: how a server of the candidate is asked before it is pushed.
        tune: what `fovea tune` tries; None: nothing.
        beam: arguments of the Beam pipelines, handed on as they are.
        tracking_uri: of MLflow; left out, FOVEA_TRACKING_URI of the environment; "" is SQLite in the home folder.
        retries: how often a component that fails is tried again; a training goes on from its last checkpoint.
    """

    __pydantic_config__: typing.ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: typing.Annotated[str, pydantic.Field(pattern=f"^{NAME_PATTERN}$")]
    data: example_gen.Config
    checks: row_checks.Config = dataclasses.field(default_factory=row_checks.Config)
    audio: Audio | None = None
    tokenizer: tokenizer.Config = dataclasses.field(default_factory=tokenizer.Config)
    model: dict[str, typing.Any] = dataclasses.field(default_factory=lambda: {"name": "rnn"})
    training: training.Config = dataclasses.field(default_factory=training.Config)
    decoding: search.Decoding = dataclasses.field(default_factory=search.Decoding)
    evaluation: evaluator.Config = dataclasses.field(default_factory=evaluator.Config)
    serving: serving_check.Config = dataclasses.field(default_factory=serving_check.Config)
    tune: tuning.Config | None = None
    beam: tuple[str, ...] = BEAM
    tracking_uri: typing.Annotated[str, pydantic.Field(pattern=URI_PATTERN, validate_default=True)] = dataclasses.field(
        default_factory=lambda: os.environ.get("FOVEA_TRACKING_URI", "")
    )
    retries: typing.Annotated[int, pydantic.Field(ge=0)] = 0


class Finder(typing.NamedTuple):
    """A section that is found by name: its place, and how its module is found."""

    place: tuple[str, ...]
    names: Callable[[], Sequence[str]]
    load: Callable[[str], typing.Any]


FOUND_BY_NAME = (
    Finder(("data", "source"), sources.names, sources.load),
    Finder(("model",), zoo.families, zoo.load),
    Finder(("model", "attention"), attention.names, attention.find),
)


class ConfigError(ValueError):
    """All that is wrong with a configuration."""

    def __init__(self, origin: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [f"{origin}: {len(problems)} problem{'s' * (len(problems) > 1)}"]
        super().__init__("\n".join(lines + [f"  {problem.path}: {problem.text}" for problem in problems]))


def load(path: pathlib.Path, changes: Sequence[str] = ()) -> Config:
    """Read and check a configuration.

    Args:
        path: the YAML file.
        changes: "a.b=value" each, the value as in YAML; they win over the file.

    Raises:
        ConfigError: names every problem, with its path, the value, what is allowed and the nearest name.
    """
    try:
        document = yaml_text.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [Problem("file", f"cannot be read: {error.strerror}")]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [Problem("file", f"is not YAML: {error}")]) from error
    if not isinstance(document, dict):
        raise ConfigError(str(path), [Problem("file", "holds no mapping; expected at least `name` and `data`")])
    problems: list[Problem] = []
    for change in changes:
        problems.extend(_apply(document, change))
    return parse(document, str(path), problems)


def load_decoding(card: Card, changes: Sequence[str]) -> search.Decoding:
    """How an export shall search: as its card says, changed by "decoding.beam_size=8" and such.

    Raises:
        ConfigError: as for `load`; also for what cannot be changed without a training.
    """
    document: dict[str, typing.Any] = {"decoding": dict(card.decoding)}
    problems = [problem for change in changes for problem in _apply(document, change)]
    if not card.decoding:
        problems.append(Problem("decoding", "the export is of a version that did not say how it searches"))
    fixed = sorted(document.keys() - {"decoding"})
    problems += [Problem(name, "needs a training: expected paths within decoding") for name in fixed]
    decoding, more = validate(search.Decoding, document["decoding"], ("decoding",))
    if problems or more:
        raise ConfigError(f"the export of {card.name}", [*problems, *more])
    assert isinstance(decoding, search.Decoding)
    return decoding


def parse(document: Mapping[str, typing.Any], origin: str, problems: Sequence[Problem] = ()) -> Config:
    """Check a document that was read already; see `load`."""
    document, problems = _expand(document), list(problems)
    for finder in FOUND_BY_NAME:
        section = _at(document, finder.place)
        if isinstance(section, dict):
            problems.extend(_check_found_by_name(finder, section))
    config, more = validate(Config, document, ())
    problems.extend(more)
    if not problems:
        problems.extend(_check_together(config))
    if problems:
        raise ConfigError(origin, problems)
    assert isinstance(config, Config)
    return config


def model_shape(config: Config) -> typing.Any:
    """The `model` section as its family reads it."""
    return settings.from_json(zoo.load(config.model["name"]).Config, settings.options(config.model))


def _check_together(config: Config) -> Iterator[Problem]:
    """What no section can say alone."""
    shape = model_shape(config)
    try:
        shape.check()
    except ValueError as error:
        yield Problem("model", str(error))
    if shape.shared_pieces and config.tokenizer.shared is None:
        yield Problem("model", "copy and tie_embeddings: all need tokenizer.shared: pieces that both sides share")
    yield from _check_what_is_read(config, shape)
    yield from _check_classes(config, shape)
    yield from _check_coverage(config)
    yield from _check_subword_sampling(config, copies=getattr(shape, "copy", False))
    yield from _check_tune(config)


def _check_what_is_read(config: Config, shape: typing.Any) -> Iterator[Problem]:
    """Source, model and sections are all for texts, or all for recordings."""
    try:
        example_gen.require_audio(config.data, config.audio)
    except sources.SourceError as error:
        yield Problem("audio", str(error))
        return
    kind = "audio" if config.audio else "text"
    if kind not in shape.reads:
        able = [name for name in zoo.families() if kind in zoo.load(name).Config.reads]
        what = "recordings" if config.audio else "texts"
        yield Problem("model.name", f"{config.model['name']} takes no {what}: expected one of {', '.join(able)}")
    elif hasattr(shape, "check_source"):
        try:
            shape.check_source(kind)
        except ValueError as error:
            yield Problem("model", str(error))
    if not config.audio:
        return
    if config.tokenizer.shared or config.tokenizer.source:
        yield Problem("tokenizer", "recordings have no pieces: expected `target` alone beside `audio`")
    if config.decoding.compiled:
        yield Problem("decoding.compiled", "buckets are of pieces: expected none beside `audio`")


def _check_classes(config: Config, shape: typing.Any) -> Iterator[Problem]:
    """A class is one piece, before which there is nothing."""
    if not getattr(shape, "one_piece", False):
        return
    if config.tokenizer.kinds()[1] != "word":
        yield Problem("tokenizer.target.kind", f"{config.model['name']} says one piece, a class: expected word")
    if config.training.scheduled_sampling:
        yield Problem("training.scheduled_sampling", "a class has no piece before it: expected none")


def _check_coverage(config: Config) -> Iterator[Problem]:
    """Coverage is of what was looked at."""
    penalty = config.decoding.coverage_penalty
    if config.model.get("attention") == {"name": "none"} and penalty:
        yield Problem("decoding.coverage_penalty", f"{penalty:g}, but attention: none looks at nothing: expected 0")


def _check_subword_sampling(config: Config, copies: bool) -> Iterator[Problem]:
    """What is sampled is there, and may be cut."""
    place, strengths = "training.subword_sampling", config.training.subword_sampling.strengths()
    sides = config.tokenizer.sides()
    pieces = [sides["target"]] if config.audio and "target" in sides else list(sides.values())
    kinds = sorted({side.kind for side in pieces})
    for kind in sorted(set(strengths) - set(kinds)):
        yield Problem(place, f"samples pieces of kind {kind}, expected those of the tokenizer: {' and '.join(kinds)}")
    if "unigram" in strengths and any(side.symbols for side in pieces if side.kind == "unigram"):
        yield Problem(place, "cuts symbols, too, where pieces are of kind unigram: expected none with unigram_alpha")
    if strengths and copies:
        yield Problem(
            place, "cuts a word in other ways on either side, so nothing could be copied: expected copy: false"
        )


def _check_tune(config: Config) -> Iterator[Problem]:
    """Each value that a search may try is one that a run would take."""
    if config.tune is None:
        return
    document = {**to_document(config), "tune": None}
    for path, values in config.tune.samples().items():
        for value in values:
            try:
                parse(tuning.changed(document, {path: value}), "")
            except ConfigError as error:
                for problem in error.problems:
                    yield Problem(f"tune.parameters.{path}", f"{json.dumps(value)}: {problem.path}: {problem.text}")


def to_flat(config: Config) -> dict[str, str]:
    """Every setting by its path, for MLflow: {"training.epochs": "12", ...}."""

    def walk(value: typing.Any, path: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict) and value:
            for key, part in value.items():
                yield from walk(part, f"{path}.{key}" if path else str(key))
        else:
            yield path, value if isinstance(value, str) else json.dumps(value)

    return dict(walk(to_document(config), ""))


def to_document(config: Config) -> dict[str, typing.Any]:
    """The whole configuration with its defaults, as YAML would hold it."""
    document: dict[str, typing.Any] = pydantic.TypeAdapter(Config).dump_python(config, mode="json")
    return document


def _expand(document: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """`model: rnn` -> `model: {name: rnn}`, wherever a section is found by name."""
    expanded = copy.deepcopy(dict(document))
    for *parents, last in (finder.place for finder in FOUND_BY_NAME):
        parent = _at(expanded, parents)
        if isinstance(parent, dict) and isinstance(parent.get(last), str):
            parent[last] = {"name": parent[last]}
    return expanded


def _at(document: typing.Any, place: Sequence[str]) -> typing.Any:
    for key in place:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _apply(document: dict[str, typing.Any], change: str) -> list[Problem]:
    path, equals, text = change.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        return [Problem("--set", f"{change!r}, expected a.b=value")]
    try:
        value = yaml_text.load(text)
    except yaml.YAMLError:
        return [Problem(f"--set {path}", f"{text!r} is not a YAML value")]
    section = document
    for key in keys[:-1]:
        inner = section.get(key)
        if isinstance(inner, str):  # the short form of a section that is found by name
            inner = {"name": inner}
        section[key] = inner = inner if isinstance(inner, dict) else {}
        section = inner
    section[keys[-1]] = value
    return []


def _check_found_by_name(finder: Finder, section: dict[str, typing.Any]) -> list[Problem]:
    name, path = section.get("name"), ".".join((*finder.place, "name"))
    if name is None:
        return [Problem(path, f"is missing; allowed: {', '.join(finder.names())}")]
    if name not in finder.names():
        return [Problem(path, unknown(name, finder.names()))]
    return validate(finder.load(name).Config, settings.options(section), finder.place)[1]
