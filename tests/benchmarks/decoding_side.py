"""One side of the decoding benchmark: the export, with its search compiled or not, or CTranslate2."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pipeline import startup

startup.prepare()
startup.load_tensorflow()

import tensorflow as tf  # noqa: E402

from serving import ctranslate2_format  # noqa: E402
from serving.local import LocalModel  # noqa: E402
from serving.rebuild import rebuild  # noqa: E402
from serving.reexport import reexport  # noqa: E402
from serving.search import Buckets, Decoding  # noqa: E402
from tests.benchmarks import worker  # noqa: E402

RATIO, OFFSET = 1.5, 10  # how long answers may be
LENGTHS = (12, 16, 20, 24, 32, 48)  # pieces of a source: the buckets of the compiled search

Answer = Callable[[list[str]], list[str]]


def ours(asked: dict[str, Any]) -> tuple[Answer, str]:
    """The model's weights, exported anew with the search that is asked for, and loaded."""
    buckets = Buckets((asked["batch"],), LENGTHS) if asked["compiled"] else None
    saved = pathlib.Path(f"{asked['folder']}-{asked['compiled']}")
    reexport(asked["model"], saved, Decoding(asked["beam"], 0.0, RATIO, OFFSET, compiled=buckets))
    loaded = LocalModel(saved)
    return lambda texts: loaded.predict("serving_default", {"text": texts})[
        "text"
    ].tolist(), f"TensorFlow {tf.__version__}"


def theirs(asked: dict[str, Any]) -> tuple[Answer, str]:
    """CTranslate2 on as many threads, in float32."""
    import ctranslate2

    folder = f"{asked['folder']}-ctranslate2"
    ctranslate2_format.convert(asked["model"], folder)
    translator = ctranslate2.Translator(folder, compute_type="float32", intra_threads=asked["threads"])
    _, source, target = rebuild(asked["model"])

    def answer(texts: list[str]) -> list[str]:
        sources = source.encode(texts, out_type=str)
        longest = int((max(map(len, sources)) + 1) * RATIO) + OFFSET
        found = translator.translate_batch(
            sources,
            beam_size=asked["beam"],
            max_decoding_length=longest,
            **ctranslate2_format.OPTIONS,
        )
        return [str(target.decode(each.hypotheses[0])) for each in found]

    return answer, f"CTranslate2 {ctranslate2.__version__}"


def batches(sources: Sequence[str], size: int) -> list[list[str]]:
    """Texts of similar length together."""
    ordered = sorted(sources, key=len)
    return [list(ordered[first : first + size]) for first in range(0, len(ordered), size)]


def main() -> None:
    """Serve rounds over all texts."""
    asked = json.loads(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(asked["threads"])
    answer, framework = theirs(asked) if asked["compiled"] is None else ours(asked)
    parts = batches(asked["sources"], asked["batch"])
    answers = [text for part in parts for text in answer(part)]
    target = rebuild(asked["model"]).target
    tokens = sum(len(ids) + 1 for ids in target.encode(answers))

    def rounds(number: int) -> float:
        for _ in range(number):
            for part in parts:
                answer(part)
        return 0.0

    worker.serve(rounds, {"framework": framework, "answers": answers, "tokens": tokens}, warm_up=0)


if __name__ == "__main__":
    main()
