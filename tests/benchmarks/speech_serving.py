"""The real-time factor of an exported speech model: `python -m tests.benchmarks.speech_serving`.

One recording at a time, from the bytes of a WAV file to text, through the SavedModel in this process. See README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import json
import pathlib
import statistics
import tempfile
import time
import wave
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.benchmarks import machine
from tests.benchmarks.speech_size import Size

BAR = 0.15
BEAM = 8
PIECES_A_SECOND = 11.5  # letters and spaces of somebody who reads aloud
SECONDS, RATE_HZ = 10.0, 16_000
LETTERS = "abcdefghijklmnopqrstuvwxyz'"


def main() -> None:
    """Measure and print."""
    options = _arguments()
    machine.keep_to(options.threads)
    _start(options.threads)
    recording = options.recording.read_bytes() if options.recording else made_up()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or export_untrained(pathlib.Path(folder) / "model")
        report = measure(path, recording, options.rounds)
    report |= {"threads": options.threads, "trained": bool(options.model)}
    print(json.dumps(report, indent=2) if options.json else text(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.benchmarks.speech_serving")
    parser.add_argument("--model", type=pathlib.Path, help="an exported model; without it an untrained one is made")
    parser.add_argument("--recording", type=pathlib.Path, help="a WAV file; without it noise and tones")
    parser.add_argument("--rounds", type=int, default=9, help="after a warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _start(threads: int) -> None:
    """TensorFlow on so many threads."""
    from pipeline import startup

    startup.prepare()
    startup.load_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def made_up() -> bytes:
    """A WAV file of noise and three tones that come and go, 16 bits."""
    times = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
    tones = sum(
        np.sin(2 * np.pi * hertz * times) * (np.sin(hertz * times / 90) > 0) for hertz in (210.0, 730.0, 2300.0)
    )
    samples = 0.15 * tones + np.random.default_rng(1).normal(0.0, 0.02, times.size)
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        written.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def export_untrained(path: pathlib.Path) -> pathlib.Path:
    """`las` of the training benchmark's size, whose answers are as long as those of a recording that is spoken in."""
    import keras

    from components import tokenizer
    from models.zoo import las
    from serving import export
    from serving.card import Card
    from serving.search import Decoding
    from serving.sources import Recordings
    from tests.benchmarks.speech_fovea_side import section, shape

    keras.utils.set_random_seed(1)
    audio, config = section(Size()), shape(Size())
    letters = tokenizer.train({LETTERS: 1}, tokenizer.Pieces("char", Size.vocabulary + 1))
    model = las.build(config, audio, tokenizer.vocabulary(letters))
    # It knows no end: the least length and the greatest are the same.
    positions_a_second = 1000 / audio.hop_ms / config.frames_per_position
    ratio = PIECES_A_SECOND / positions_a_second
    settings = Decoding(BEAM, min_length_ratio=ratio, max_length_ratio=ratio, max_length_offset=1)
    served = export.ServedModel(model, Recordings(audio), letters, settings)
    card = Card("speech", "1", "word", {"name": "las", **dataclasses.asdict(config)}, dataclasses.asdict(audio))
    export.save(served, path, card, [made_up()])
    return path


def measure(path: pathlib.Path, recording: bytes, rounds: int) -> dict[str, Any]:
    """{"audio_s", "pieces", "rtf", "milliseconds": {part: of it and all before it}, ...}."""
    import tensorflow as tf

    from serving.local import LocalModel

    served = LocalModel(path)
    asked = {served.input: [recording]}
    said = served.predict("align", asked)
    parts = _beginnings(path, recording)
    parts["everything"] = lambda: served.predict("serving_default", asked)
    for part in parts.values():
        part()
    others = machine.Others()
    milliseconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            began_s, began_cpu_s = time.perf_counter(), machine.own_cpu_s()
            part()
            milliseconds[name].append(1000 * (time.perf_counter() - began_s))
            others.own(machine.own_cpu_s() - began_cpu_s)
    audio_s = _seconds(recording)
    medians = {name: statistics.median(times) for name, times in milliseconds.items()}
    return {
        "machine": machine.name(),
        "framework": f"TensorFlow {tf.__version__}",
        "audio_s": audio_s,
        "pieces": int(np.count_nonzero(said["target_pieces"][0] != "")),
        "text": said["text"][0],
        "rounds": rounds,
        "milliseconds": medians,
        "rtf": medians["everything"] / 1000 / audio_s,
        "rtf_highest": max(milliseconds["everything"]) / 1000 / audio_s,
        "warning": others.warning(),
    }


def _beginnings(path: pathlib.Path, recording: bytes) -> dict[str, Callable[[], Any]]:
    """What comes before the search, each with all before it, by the model that the export was made of."""
    import tensorflow as tf

    from models.audio import recorded
    from serving.rebuild import rebuild

    model = rebuild(path).model
    audio = model.frontend.audio
    asked = tf.constant([recording])

    def graph(function: Callable[[tf.Tensor], Any]) -> Callable[[], Any]:
        spec = tf.TensorSpec([None], tf.string)
        return functools.partial(tf.function(function, input_signature=[spec], autograph=False), asked)

    return {
        "wav": graph(lambda wavs: recorded.frames(wavs, audio)),
        "features": graph(lambda wavs: model.frontend(recorded.frames(wavs, audio))[0]),
        "listener": graph(lambda wavs: model.encode(recorded.frames(wavs, audio))),
    }


def _seconds(recording: bytes) -> float:
    with wave.open(io.BytesIO(recording)) as file:
        return file.getnframes() / file.getframerate()


def text(report: Mapping[str, Any]) -> str:
    """What a person reads."""
    milliseconds = report["milliseconds"]
    before = [0.0, *milliseconds.values()]
    parts = dict(zip(("WAV", "features", "listener", "search"), np.diff(before), strict=True))
    rtf = report["rtf"]
    model = "a trained model" if report["trained"] else f"an untrained las, beam {BEAM}"
    lines = [
        f"{report['machine']}; {report['threads']} threads; {report['framework']}; {model}; "
        f"median of {report['rounds']} rounds",
        f"a recording of {report['audio_s']:.1f} s, {report['pieces']} pieces with END: {report['text'][:60]!r}",
        f"{milliseconds['everything']:.0f} ms: " + ", ".join(f"{name} {ms:.0f}" for name, ms in parts.items()),
        f"search: {parts['search'] / report['pieces']:.1f} ms a piece",
        f"real-time factor {rtf:.3f} (highest {report['rtf_highest']:.3f}), bar {BAR:g}: "
        f"{'met' if rtf <= BAR else 'NOT MET'}",
    ]
    return "\n".join([*lines, *filter(None, [report["warning"]])])


if __name__ == "__main__":
    main()
