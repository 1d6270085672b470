"""`fovea predict`: answers of a model in this process, or of a model server, in the same words."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import typing
from collections.abc import Mapping, Sequence

import numpy as np
import rich.console

from components import alignment, spectrogram
from components.rows import batches
from pipeline import refusals
from serving import signatures
from serving.errors import ServingError
from serving.signatures import Asked

DEFAULT_MODEL = "default"  # what TensorFlow Serving calls a model that was given no name
BATCH = 256
SHOWN = 60  # characters of a question that is refused
RECORDINGS = (".wav", ".flac", ".ogg", ".npy", ".mfc", ".mfcc")  # what is a recording, by its name


Inputs: typing.TypeAlias = Mapping[str, Sequence[Asked] | Sequence[int]]


class Predictor(typing.Protocol):
    """A model here (`serving.local`) or on a server (`serving.client`)."""

    def predict(self, signature: str, inputs: Inputs) -> Mapping[str, typing.Any]:
        """Run a signature on a batch: strings come as str, in lists or arrays, numbers in arrays."""


class Question(typing.NamedTuple):
    """A text, or a recording under the name of its file."""

    name: str
    asked: Asked


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is wanted of a model. A beginning or a draw is another search, which has neither n-best nor attention.

    Raises:
        ValueError: things that do not go together.
    """

    n_best: int | None = None
    attention: bool = False
    prefix: str | None = None  # every answer begins with it
    seed: int | None = None  # every answer is drawn by it

    def __post_init__(self) -> None:
        """What no field can say alone."""
        searches = {
            "--prefix": self.prefix is not None,
            "--seed": self.seed is not None,
            "--n-best or --attention": bool(self.n_best or self.attention),
        }
        if sum(searches.values()) > 1:
            raise ValueError(
                f"one search cannot take {' and '.join(name for name, it_is in searches.items() if it_is)}"
            )

    def best(self, predictor: Predictor, asked: Inputs, rows: int) -> Mapping[str, typing.Any]:
        """The best answer of each row, or the one that is asked for."""
        if self.prefix is not None:
            return predictor.predict(signatures.COMPLETE, {**asked, signatures.PREFIX: [self.prefix] * rows})
        if self.seed is not None:
            return predictor.predict(signatures.SAMPLE, {**asked, signatures.SEED: [self.seed] * rows})
        return predictor.predict(signatures.ALIGN if self.attention else signatures.SERVING_DEFAULT, asked)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one text or recording; what was not asked for is None."""

    source: str
    text: str
    score: float
    n_best: list[dict[str, typing.Any]] | None = None
    alignment: alignment.Alignment | None = None

    def document(self) -> dict[str, typing.Any]:
        """As JSON has it."""
        document: dict[str, typing.Any] = {"source": self.source, "text": self.text, "score": self.score}
        if self.n_best is not None:
            document["n_best"] = self.n_best
        if self.alignment is not None:
            document["source_pieces"] = self.alignment.source_pieces
            document["target_pieces"] = self.alignment.target_pieces
            document["attention"] = self.alignment.attention.tolist()
        return document


def load(path: pathlib.Path) -> Predictor:
    """The SavedModel at this path."""
    from serving.local import LocalModel

    return LocalModel(path)


def connect(address: str, model: str | None) -> Predictor:
    """The model of that name on a server: "host:port" is gRPC, "http://host:port" REST."""
    from serving import client

    return client.connect(address, model=model or DEFAULT_MODEL, retry=False)


def read(arguments: Sequence[str]) -> list[Question]:
    """Each argument is a recording, a text, a file of one text a line, or "-" for standard input."""
    questions: list[Question] = []
    for argument in arguments:
        if argument == "-":
            questions.extend(Question(line, line) for line in _lines(sys.stdin.read()))
        elif os.path.isfile(argument) and pathlib.Path(argument).suffix.lower() in RECORDINGS:
            questions.append(Question(argument, recorded(pathlib.Path(argument))))
        elif os.path.isfile(argument):
            lines = _lines(pathlib.Path(argument).read_text(encoding="utf-8-sig"))
            questions.extend(Question(line, line) for line in lines)
        else:
            questions.append(Question(argument, argument))
    return questions


def recorded(path: pathlib.Path) -> bytes:
    """A recording as a model is asked with it: a WAV file as it is, other sound as one, features as float32.

    Raises:
        ValueError: a file that cannot be read as what its name says.
    """
    suffix = path.suffix.lower()
    if suffix == ".wav":
        return path.read_bytes()  # whatever is in it: the model says what is wrong
    from components import recordings, sound_files

    if suffix == ".npy":
        return _numpy(path)
    if suffix in sound_files.FEATURES:  # a value a "frame", for only the model knows how many make one
        return sound_files.read_features(str(path), 1, path.stat().st_size // 4).astype("<f4").tobytes()
    return recordings.wav(*sound_files.read_sound(str(path), float("inf")))


def _numpy(path: pathlib.Path) -> bytes:
    try:
        frames = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if frames.ndim != 2 or frames.dtype.kind != "f":
        raise ValueError(f"{path}: holds {frames.dtype} {list(frames.shape)}, expected floats [frames, depth]")
    return bytes(frames.astype("<f4").tobytes())


def _lines(text: str) -> list[str]:
    """Lines as a source of rows has them: parted by line feeds alone."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def answer(predictor: Predictor, questions: Sequence[Question], wanted: Wanted) -> list[Answer]:
    """Answers in the order of the questions.

    Raises:
        ValueError: there are texts and recordings, or more answers are wanted than the model's beam has.
        ServingError: the model refuses a question, which the message names.
    """
    kinds = {type(question.asked) for question in questions}
    if len(kinds) > 1:
        raise ValueError("there are texts and recordings: expected one or the other")
    name = signatures.AUDIO if kinds == {bytes} else signatures.TEXT

    def ask(batch: Sequence[Question]) -> list[Answer]:
        asked = {name: [question.asked for question in batch]}
        best = wanted.best(predictor, asked, len(batch))
        alignments = alignment.read(best) if wanted.attention else [None] * len(batch)
        lists = _n_best(predictor, asked, wanted.n_best) if wanted.n_best else [None] * len(batch)
        columns = zip(batch, best[signatures.TEXT], best[signatures.SCORE], lists, alignments, strict=True)
        return [
            Answer(question.name, str(text), float(score), hypotheses, aligned)
            for question, text, score, hypotheses, aligned in columns
        ]

    answers: dict[int, Answer] = {}
    for numbers in batches([question.asked for question in questions], BATCH):
        batch = [questions[number] for number in numbers]
        for number, found in zip(numbers, refusals.answers(ask, batch), strict=True):
            if isinstance(found, ServingError):
                asked = questions[number].name
                asked = asked if len(asked) <= SHOWN else f"{asked[:SHOWN]}..."
                raise ServingError(found.status, f"{asked!r}: {refusals.reason(found)}") from found
            answers[number] = found
    return [answers[number] for number in range(len(questions))]


def _n_best(predictor: Predictor, asked: Inputs, n_best: int) -> list[list[dict[str, typing.Any]]]:
    found = predictor.predict(signatures.N_BEST, asked)
    beam = len(found[signatures.TEXT][0])
    if n_best > beam:
        raise ValueError(f"--n-best {n_best}: the model was exported with a beam of {beam} (decoding.beam_size)")
    return [
        [
            {"text": str(text), "score": float(score)}
            for text, score in zip(row[:n_best], scores[:n_best], strict=True)
            if np.isfinite(score)  # a classifier of three classes has no fourth answer
        ]
        for row, scores in zip(found[signatures.TEXT], found[signatures.SCORE], strict=True)
    ]


def draw(
    answers: Sequence[Answer], questions: Sequence[Question], path: pathlib.Path, out: rich.console.Console
) -> None:
    """A PNG an answer: out.png, or out-1.png, out-2.png, ... of several."""
    for number, (item, question) in enumerate(zip(answers, questions, strict=True), start=1):
        assert item.alignment is not None
        file = path if len(answers) == 1 else path.with_stem(f"{path.stem}-{number}")
        if isinstance(question.asked, bytes):
            spectrogram.png(question.asked, item.alignment, file, title=item.source)
        else:
            alignment.png(*item.alignment, file, title=item.source)
        out.print(f"attention of {item.source!r}: {file}", soft_wrap=True, markup=False)


def show(answers: Sequence[Answer]) -> None:
    """Tab-separated lines on standard output: text, answer, score; of several answers a line each."""
    for item in answers:
        hypotheses = item.n_best or [{"text": item.text, "score": item.score}]
        for hypothesis in hypotheses:
            print(item.source, hypothesis["text"], f"{hypothesis['score']:.4f}", sep="\t")
        if item.alignment is not None and alignment.fits(item.alignment.source_pieces):
            print(alignment.text(*item.alignment))
