"""`fovea predict`: answers of a model in this process, or of a model server, in the same words."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import typing
from collections.abc import Mapping, Sequence

import rich.console

from components import alignment
from components.rows import batches
from serving import signatures

DEFAULT_MODEL = "default"  # what TensorFlow Serving calls a model that was given no name
BATCH = 256


class Predictor(typing.Protocol):
    """A model here (`serving.local`) or on a server (`serving.client`)."""

    def predict(self, signature: str, inputs: Mapping[str, Sequence[str] | Sequence[int]]) -> Mapping[str, typing.Any]:
        """Run a signature on a batch: strings come as str, in lists or arrays, numbers in arrays."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one text; what was not asked for is None."""

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


def read_texts(arguments: Sequence[str]) -> list[str]:
    """Each argument is a text, a file of one text a line, or "-" for standard input."""
    texts: list[str] = []
    for argument in arguments:
        if argument == "-":
            texts.extend(_lines(sys.stdin.read()))
        elif os.path.isfile(argument):
            texts.extend(_lines(pathlib.Path(argument).read_text(encoding="utf-8-sig")))
        else:
            texts.append(argument)
    return texts


def _lines(text: str) -> list[str]:
    """Lines as a source of rows has them: parted by line feeds alone."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def answer(predictor: Predictor, texts: Sequence[str], n_best: int | None, with_attention: bool) -> list[Answer]:
    """Answers in the order of the texts.

    Raises:
        ValueError: more answers are wanted than the model's beam has.
    """
    answers: dict[int, Answer] = {}
    for numbers in batches(texts, BATCH):
        batch = [texts[number] for number in numbers]
        signature = signatures.ALIGN if with_attention else signatures.SERVING_DEFAULT
        best = predictor.predict(signature, {signatures.TEXT: batch})
        alignments = alignment.read(best) if with_attention else [None] * len(batch)
        lists = _n_best(predictor, batch, n_best) if n_best else [None] * len(batch)
        columns = zip(numbers, best[signatures.TEXT], best[signatures.SCORE], lists, alignments, strict=True)
        for number, text, score, hypotheses, aligned in columns:
            answers[number] = Answer(texts[number], str(text), float(score), hypotheses, aligned)
    return [answers[number] for number in range(len(texts))]


def _n_best(predictor: Predictor, texts: list[str], n_best: int) -> list[list[dict[str, typing.Any]]]:
    found = predictor.predict(signatures.N_BEST, {signatures.TEXT: texts})
    beam = len(found[signatures.TEXT][0])
    if n_best > beam:
        raise ValueError(f"--n-best {n_best}: the model was exported with a beam of {beam} (decoding.beam_size)")
    return [
        [{"text": str(text), "score": float(score)} for text, score in zip(row[:n_best], scores[:n_best], strict=True)]
        for row, scores in zip(found[signatures.TEXT], found[signatures.SCORE], strict=True)
    ]


def draw(answers: Sequence[Answer], path: pathlib.Path, out: rich.console.Console) -> None:
    """A PNG an answer: out.png, or out-1.png, out-2.png, ... of several."""
    for number, item in enumerate(answers, start=1):
        assert item.alignment is not None
        file = path if len(answers) == 1 else path.with_stem(f"{path.stem}-{number}")
        alignment.png(*item.alignment, file, title=item.source)
        out.print(f"attention of {item.source!r}: {file}", soft_wrap=True, markup=False)


def show(answers: Sequence[Answer]) -> None:
    """Tab-separated lines on standard output: text, answer, score; of several answers a line each."""
    for item in answers:
        hypotheses = item.n_best or [{"text": item.text, "score": item.score}]
        for hypothesis in hypotheses:
            print(item.source, hypothesis["text"], f"{hypothesis['score']:.4f}", sep="\t")
        if item.alignment is not None:
            print(alignment.text(*item.alignment))
