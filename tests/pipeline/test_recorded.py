"""Recordings in a pipeline: what a configuration may not mix, what `fovea check` hears, what `fovea predict` reads."""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import rich.console
import soundfile

from models.audio import Audio
from pipeline import check, config, evaluate, predict
from serving.local import LocalModel
from serving.search import Decoding
from tests.components.speech import sphinx, tone, write
from tests.models.audio.files import wav_file
from tests.serving.exports import CLASSIFIER, listening_export

PNG = b"\x89PNG\r\n\x1a\n" + bytes(97)


def document(folder: pathlib.Path, **sections: Any) -> dict[str, Any]:
    """A pipeline of recordings, with these sections."""
    manifest = folder / "list.tsv"
    if not manifest.exists():
        manifest.write_text("audio\ttranscript\n")
    source = {"name": "speech_manifest", "path": str(manifest)}
    return {"name": "heard", "data": {"source": source}, "audio": {}, "model": "las", **sections}


def problems(document: Mapping[str, Any]) -> dict[str, str]:
    with pytest.raises(config.ConfigError) as caught:
        config.parse(document, "a.yaml")
    return {problem.path: problem.text for problem in caught.value.problems}


TEXTS = {"data": {"source": "reverse"}, "model": "rnn"}


def test_recordings_need_audio_and_texts_none(tmp_path: pathlib.Path) -> None:
    without = document(tmp_path)
    del without["audio"]
    assert problems(without) == {
        "audio": "the source 'speech_manifest' reads recordings: write `audio: {}` for what they are"
    }
    assert problems(document(tmp_path, **TEXTS)) == {
        "audio": "the source 'reverse' reads texts: remove `audio`, or choose a source of recordings: "
        "joined_recordings, speech_manifest, spoken_digits"
    }
    assert config.parse(document(tmp_path), "a.yaml").audio == Audio()


def test_a_model_reads_what_the_source_has(tmp_path: pathlib.Path) -> None:
    assert problems(document(tmp_path, model="rnn")) == {
        "model.name": "rnn takes no recordings: expected one of classifier, las"
    }
    assert problems({"name": "a", "data": {"source": "reverse"}, "model": "las"}) == {
        "model.name": "las takes no texts: expected one of classifier, memory_network, rnn, transformer"
    }
    for good in (document(tmp_path), {"name": "a", **TEXTS, "tokenizer": {"source": {"kind": "char"}}}):
        good["model"] = "classifier"
        good.setdefault("tokenizer", {})["target"] = {"kind": "word"}
        assert config.parse(good, "a.yaml").model == {"name": "classifier"}


def test_a_class_is_one_piece_of_what_is_there(tmp_path: pathlib.Path) -> None:
    words = {"target": {"kind": "word"}}
    text = {"name": "a", **TEXTS, "tokenizer": words | {"source": {"kind": "char"}}}
    assert problems(
        document(tmp_path, model="classifier", training={"scheduled_sampling": {"name": "linear", "slope": 0.01}})
    ) == {
        "tokenizer.target.kind": "classifier says one piece, a class: expected word",
        "training.scheduled_sampling": "a class has no piece before it: expected none",
    }
    assert problems(document(tmp_path, model={"name": "classifier", "word_dropout": 0.1}, tokenizer=words)) == {
        "model": "word_dropout is for texts: a recording has no words that could be unknown"
    }
    assert problems(text | {"model": {"name": "classifier", "reduce_after": [1]}}) == {
        "model": "reduce_after and convolution are for recordings: every piece of a text is looked at"
    }


def test_what_looks_at_nothing_covers_nothing() -> None:
    rnn = {"name": "a", "data": {"source": "reverse"}, "model": {"name": "rnn", "attention": "none"}}
    assert problems(rnn | {"decoding": {"coverage_penalty": 0.1}}) == {
        "decoding.coverage_penalty": "0.1, but attention: none looks at nothing: expected 0"
    }


@pytest.mark.parametrize("side", ["source", "shared"])
def test_recordings_have_no_pieces(tmp_path: pathlib.Path, side: str) -> None:
    assert problems(document(tmp_path, tokenizer={side: {"kind": "char"}})) == {
        "tokenizer": "recordings have no pieces: expected `target` alone beside `audio`"
    }
    config.parse(document(tmp_path, tokenizer={"target": {"kind": "char"}}), "a.yaml")


def test_buckets_are_of_pieces(tmp_path: pathlib.Path) -> None:
    compiled = {"compiled": {"rows": [1], "lengths": [16]}}
    assert problems(document(tmp_path, decoding=compiled)) == {
        "decoding.compiled": "buckets are of pieces: expected none beside `audio`"
    }


def test_all_of_it_is_said_at_once(tmp_path: pathlib.Path) -> None:
    bad = document(
        tmp_path,
        model="transformer",
        tokenizer={"source": {"kind": "char"}},
        decoding={"compiled": {"rows": [1], "lengths": [16]}},
    )
    assert set(problems(bad)) == {"model.name", "tokenizer", "decoding.compiled"}


def test_what_no_field_of_audio_can_say_is_said_of_the_section(tmp_path: pathlib.Path) -> None:
    found = problems(document(tmp_path, audio={"hop_ms": 0.3, "spec_augment": {"time_mask": 3}, "band": 7}))
    assert "did you mean 'time_masks'?" in found["audio.spec_augment.time_mask"]
    assert "did you mean 'bands'?" in found["audio.band"]
    assert problems(document(tmp_path, audio={"hop_ms": 0.3}))["audio"].startswith(
        "hop_ms: 0.3 ms are no whole number of samples at 16000 Hz"
    )


def test_subwords_are_sampled_of_transcripts(tmp_path: pathlib.Path) -> None:
    sampled = document(
        tmp_path, tokenizer={"target": {"kind": "bpe"}}, training={"subword_sampling": {"bpe_dropout": 0.1}}
    )
    assert config.parse(sampled, "a.yaml").training.subword_sampling.bpe_dropout == 0.1
    sampled["tokenizer"] = {"target": {"kind": "char"}}
    assert problems(sampled) == {
        "training.subword_sampling": "samples pieces of kind bpe, expected those of the tokenizer: char"
    }


def manifest(folder: pathlib.Path, *paths: str) -> str:
    """A list of these recordings, each of which says what it is called."""
    lines = [f"{path}\t{pathlib.Path(path).stem}\n" for path in paths]
    (folder / "list.tsv").write_text("audio\ttranscript\n" + "".join(lines))
    return str(folder / "list.tsv")


def test_a_check_listens(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "good.wav", tone(0.5))
    write(tmp_path / "slow.flac", tone(0.5, 8000), 8000)
    (tmp_path / "picture.wav").write_bytes(PNG)
    write(tmp_path / "silent.wav", 0 * tone(0.5))
    write(tmp_path / "long.wav", tone(1.5))
    path = manifest(tmp_path, "good.wav", "slow.flac", "picture.wav", "silent.wav", "long.wav", "gone.wav")
    report = check.check(config.parse(document(tmp_path, audio={"max_seconds": 1.3}), "a.yaml"))
    assert report.sampled == 6 and sum(report.splits.values()) == 2
    assert report.examples == [
        {"source": "good.wav", "target": "good"},
        {"source": "slow.flac", "target": "slow"},
    ]
    reasons = {row.line: row.reason for row in report.rejected}
    assert reasons == {
        4: f"{tmp_path}/picture.wav: cannot be read: Format not recognised",
        5: f"{tmp_path}/silent.wav: silent: no sample is further than 0.0001 from the mean, a full scale is 1",
        6: f"{tmp_path}/long.wav: 1.5 seconds, at most 1.3 (audio.max_seconds)",
        7: f"{tmp_path}/gone.wav: cannot be read: No such file or directory",
    }
    assert report.problems == ["data: 4 of 6 rows are rejected, data.max_rejected_fraction is 0.01"]
    out = io.StringIO()
    check.show(report, rich.console.Console(file=out, width=97))
    assert f"rejects {path}:4: {tmp_path}/picture.wav: cannot be read" in out.getvalue()


def test_a_check_listens_to_the_first_few(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "HEARD_ROWS", 1)
    write(tmp_path / "good.wav", tone(0.5))
    manifest(tmp_path, "good.wav", "gone.wav")
    report = check.check(config.parse(document(tmp_path), "a.yaml"))
    assert report.sampled == 2 and report.problems == [] and report.rejected == []


def test_recordings_are_read_as_a_model_is_asked_with_them(tmp_path: pathlib.Path) -> None:
    frames = np.random.default_rng(5).normal(size=(7, 13)).astype(np.float32)
    wav = write(tmp_path / "a.wav", tone(0.1))
    loud = write(tmp_path / "A.WAV", tone(0.1, peak=0.1))
    flac = write(tmp_path / "a.flac", tone(0.1, 8000), 8000)
    ogg = write(tmp_path / "a.ogg", tone(0.1), subtype="VORBIS")
    np.save(tmp_path / "a.npy", frames.astype(np.float64))
    mfc = sphinx(tmp_path / "a.mfc", frames)
    names = [wav, loud, flac, ogg, str(tmp_path / "a.npy"), mfc]
    questions = predict.read(names)
    assert [question.name for question in questions] == names
    asked = [question.asked for question in questions]
    assert asked[0] == pathlib.Path(wav).read_bytes() and asked[1] == pathlib.Path(loud).read_bytes()
    for path, content, rate_hz in ((flac, asked[2], 8000), (ogg, asked[3], 16_000)):
        assert isinstance(content, bytes)
        samples, found_hz = soundfile.read(io.BytesIO(content))
        expected, _ = soundfile.read(path)
        assert found_hz == rate_hz
        np.testing.assert_allclose(samples, expected, atol=2**-15)
    assert asked[4] == asked[5] == frames.astype("<f4").tobytes()


def test_a_wav_file_is_sent_whatever_is_in_it_and_other_files_must_be_sound(tmp_path: pathlib.Path) -> None:
    for name in ("a.wav", "a.flac", "a.npy", "a.mfc"):
        (tmp_path / name).write_bytes(PNG)
    assert predict.read([str(tmp_path / "a.wav")])[0].asked == PNG
    for name in ("a.flac", "a.npy", "a.mfc"):
        with pytest.raises(ValueError, match=f"{name}: (cannot be read: |its header promises)"):
            predict.read([str(tmp_path / name)])
    np.save(tmp_path / "flat.npy", np.zeros(7))
    with pytest.raises(ValueError, match=r"flat.npy: holds float64 \[7\], expected floats \[frames, depth\]"):
        predict.read([str(tmp_path / "flat.npy")])


def test_what_is_no_file_is_a_text(tmp_path: pathlib.Path) -> None:
    assert predict.read(["gone.wav"]) == [("gone.wav", "gone.wav")]


class Nobody:
    """It is not asked."""

    def predict(self, signature: str, inputs: Mapping[str, Sequence[Any]]) -> Mapping[str, Any]:
        raise AssertionError


def test_texts_and_recordings_are_not_asked_together(tmp_path: pathlib.Path) -> None:
    questions = predict.read([write(tmp_path / "a.wav", tone(0.1)), "a text"])
    with pytest.raises(ValueError, match="there are texts and recordings: expected one or the other"):
        predict.answer(Nobody(), questions, predict.Wanted())


AUDIO = Audio(sample_rate_hz=8000, bands=11, max_seconds=1.3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("heard") / "1"
    return listening_export(path, Decoding(beam_size=2), AUDIO, CLASSIFIER, [wav_file(tone(0.2, 8000), 8000)])


def test_recordings_are_answered_drawn_and_shown(
    exported: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [write(tmp_path / f"{hz}.{kind}", tone(0.3, hz=hz)) for hz, kind in ((310, "wav"), (710, "flac"))]
    questions = predict.read(names)
    answers = predict.answer(LocalModel(exported), questions, predict.Wanted(n_best=2, attention=True))
    assert [answer.source for answer in answers] == names
    predict.draw(answers, questions, tmp_path / "out.png", rich.console.Console(file=io.StringIO()))
    assert all((tmp_path / f"out-{number}.png").read_bytes().startswith(b"\x89PNG") for number in (1, 2))
    found = answers[0].document()
    assert found["text"] == found["n_best"][0]["text"] and found["source_pieces"][:2] == ["0.00", "0.01"]
    predict.show(predict.answer(LocalModel(exported), questions, predict.Wanted()))
    assert capsys.readouterr().out.split("\t")[:2] == [names[0], found["text"]]


def test_a_list_of_recordings_is_evaluated(exported: pathlib.Path, tmp_path: pathlib.Path) -> None:
    samples = {"IY": tone(0.3, 8000), "AH": tone(0.7, 8000, 613), "OW": tone(1.1, 8000, 970)}
    lines = [{"audio": "gone.wav", "transcript": "A"}]
    for word, of_word in samples.items():
        write(tmp_path / f"{word}.wav", of_word, 8000)
        lines.append({"audio": f"{word}.wav", "transcript": word, "speaker": word.lower()})
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "out.jsonl"
    columns = evaluate.parse_columns("")
    out = rich.console.Console(file=io.StringIO())
    report = evaluate.evaluate(exported, tmp_path / "list.jsonl", columns, output, out)
    assert report.rows == 3 and [row.line for row in report.rejected] == [1]
    written = [json.loads(line) for line in output.read_text().splitlines()]
    questions = predict.read([str(tmp_path / f"{word}.wav") for word in samples])
    answers = predict.answer(LocalModel(exported), questions, predict.Wanted())
    assert [row["prediction"] for row in written] == [answer.text for answer in answers]
    wrong = sum(answer.text != word for answer, word in zip(answers, samples, strict=True))
    assert report.metrics["sequence_error_rate"] == pytest.approx(wrong / 3)
    assert {"source_length:0-1 s", "source_length:1-2 s", "group:ah"} <= set(report.slices)
    assert "attention_entropy" in report.metrics and "alignment_accuracy" not in report.metrics
