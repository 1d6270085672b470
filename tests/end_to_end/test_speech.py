"""From files of recordings to a served transcript: tones, of which the low ones are "low" and the high ones "high"."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import soundfile

from pipeline.home import Home
from pipeline.result import Run
from tests.components.speech import tone, write
from tests.end_to_end.conftest import Workshop

RATE_HZ, ROWS = 8000, 240
HZ = {"low": 400.0, "high": 1700.0}

# What is no recording to learn from, and a part of the reason that the dead letter gives.
BROKEN = {
    "picture.wav": "cannot be read",
    "short.wav": "cut short",
    "nothing.wav": "no samples",
    "silence.wav": "silent",
    "long.wav": "at most 1.2 (audio.max_seconds)",
    "gone.wav": "cannot be read: No such file",
}


def spoken(words: list[str], rate_hz: int = RATE_HZ) -> np.ndarray:
    """Each word a fifth of a second, and a tenth of silence after it."""
    silence = np.zeros(rate_hz // 10)
    return np.concatenate([part for word in words for part in (tone(0.2, rate_hz, HZ[word]), silence)])


def break_some(folder: pathlib.Path) -> None:
    (folder / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    whole = pathlib.Path(write(folder / "short.wav", spoken(["low"]), RATE_HZ))
    whole.write_bytes(whole.read_bytes()[:-1000])
    write(folder / "nothing.wav", np.zeros(0), RATE_HZ)
    write(folder / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    write(folder / "long.wav", spoken(["low"] * 11), RATE_HZ)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("studio")
    random = np.random.default_rng(7)
    lines = ["audio\ttranscript\tspeaker"]
    for number in range(ROWS):
        words = random.choice(list(HZ), random.integers(1, 5)).tolist()
        # Some come as others record: in stereo, at 96 kHz, with 8 bits.
        kinds = ((RATE_HZ, "PCM_16"), (96_000, "PCM_16"), (RATE_HZ, "PCM_U8"))
        rate_hz, subtype = kinds[number % 3 if number < 9 else 0]
        samples = spoken(words, rate_hz) * random.uniform(0.3, 1.0)
        if number < 2:
            samples = np.stack([samples, samples / 2], axis=1)
        write(folder / f"{number}.wav", samples, rate_hz, subtype)
        lines.append(f"{number}.wav\t{' '.join(words)}\tspeaker{number % 23}")
    break_some(folder)
    lines += [f"{name}\tlow\t" for name in BROKEN]
    (folder / "tones.tsv").write_text("\n".join(lines) + "\n")
    config = folder / "tones.yaml"
    config.write_text(
        f"""
name: tones
data:
  source: {{name: speech_manifest, path: {folder / "tones.tsv"}}}
  max_rejected_fraction: 0.1
audio: {{sample_rate_hz: {RATE_HZ}, bands: 16, max_seconds: 1.2, normalize: global}}
tokenizer: {{target: {{kind: word}}}}
model: {{name: las, listener: {{units: 32, layers: 2, reduce_after: [1, 2]}}, units: 32, embedding: 16, dropout: 0.1}}
training: {{epochs: 12, batches: {{tokens: 1000}}, schedule: {{learning_rate: 0.01, warmup_steps: 20}}}}
decoding: {{beam_size: 3, length_penalty: 0.0}}
evaluation: {{metrics: [word_error_rate, character_error_rate], thresholds: {{word_error_rate: 0.1}}, slices: [group]}}
"""
    )
    return Workshop(folder, Home(folder / "home"), config, {})


@pytest.fixture(scope="module")
def run(studio: Workshop) -> Run:
    return studio.run()


def test_tones_are_learned_and_the_model_is_served(studio: Workshop, run: Run) -> None:
    assert run.result.blessed, run.result.reasons
    assert run.result.model_path, run.result.reasons  # a server answered as the model does, over gRPC and REST
    assert run.result.metrics["word_error_rate"] <= 0.1
    assert run.result.rows["rejected"] == len(BROKEN)
    assert len(run.pictures) == len(run.samples)


def test_what_is_no_recording_is_a_dead_letter_with_its_reason(studio: Workshop, run: Run) -> None:
    letters = [json.loads(line) for line in run.dead_letters.read_text().splitlines()]
    reasons = {letter["row"].split("\t")[0]: letter["reason"] for letter in letters}
    assert reasons.keys() == BROKEN.keys()
    for name, part in BROKEN.items():
        assert part in reasons[name], reasons[name]


def test_predict_transcribes_files_and_draws_where_it_listened(studio: Workshop, run: Run) -> None:
    new = write(studio.folder / "new.flac", spoken(["high", "low", "low"], 22_050), 22_050)
    picture = studio.folder / "attention.png"
    asked = studio.fovea("predict", "--model", "tones", new, "--attention", str(picture), "--json")
    assert asked.returncode == 0, asked.stderr
    (answer,) = json.loads(asked.stdout)
    assert answer["text"] == "high low low"
    assert picture.stat().st_size > 10_000
    seconds = [float(second) for second in answer["source_pieces"]]
    assert seconds[:3] == [0.0, 0.04, 0.08] and 0.8 < seconds[-1] < 0.95
    # Each word is heard while it sounds: they begin at 0, 0.3 and 0.6 seconds.
    heard = [seconds[int(np.argmax(weights))] for weights in answer["attention"][:3]]
    assert np.allclose(heard, [0.1, 0.4, 0.7], atol=0.15), heard


def test_a_recording_longer_than_those_of_the_training_is_transcribed_in_parts(studio: Workshop, run: Run) -> None:
    words = ["low", "high", "high", "low", "low"] * 6  # 9 seconds
    long = write(studio.folder / "speech.wav", spoken(words), RATE_HZ)
    asked = studio.fovea("predict", "--model", "tones", long, "--json")
    assert asked.returncode == 0, asked.stderr
    said = json.loads(asked.stdout)[0]["text"].split()
    assert abs(len(said) - len(words)) <= 3


def test_evaluate_reads_a_list_of_recordings(studio: Workshop, run: Run) -> None:
    samples, rate_hz = soundfile.read(studio.folder / "5.wav")
    write(studio.folder / "again.wav", samples, rate_hz)
    line = (studio.folder / "tones.tsv").read_text().splitlines()[6]
    (studio.folder / "few.tsv").write_text(f"audio\ttranscript\nagain.wav\t{line.split(chr(9))[1]}\npicture.wav\tlow\n")
    asked = studio.fovea("evaluate", "--model", "tones", "--data", str(studio.folder / "few.tsv"), "--json")
    assert asked.returncode == 0, asked.stderr
    report = json.loads(asked.stdout)
    assert report["rows"] == 1 and report["metrics"]["word_error_rate"] == 0
    assert [row["line"] for row in report["rejected"]] == [3]


def test_a_picture_is_refused_in_words(studio: Workshop, run: Run) -> None:
    asked = studio.fovea("predict", "--model", "tones", str(studio.folder / "picture.wav"))
    assert asked.returncode != 0
    assert "not a WAV file" in asked.stderr and "Traceback" not in asked.stderr
