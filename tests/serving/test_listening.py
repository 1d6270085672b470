"""An export that listens: the same recording has the same answer in any company, and what is none has an error."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from components import serving_check
from models.audio import Audio, recorded
from models.contract import DECODER_IDS, FRAMES, START
from serving import client, signatures, warmup
from serving.errors import ServingError, Status
from serving.local import LocalModel
from serving.process import served
from serving.rebuild import rebuild
from serving.search import Decoding
from tests.models.audio.files import FLOAT, wav_file
from tests.serving.exports import LAS, TARGETS, listening, listening_export

RATE_HZ = 8000
AUDIO = Audio(sample_rate_hz=RATE_HZ, bands=11, max_seconds=1.3)
DECODING = Decoding(beam_size=3, length_penalty=0.7, max_length_ratio=0.3)
POSITION_S = 0.04  # four frames of 10 ms


def sound(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone that rises, the same at any rate, float64 [samples]."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return 0.4 * np.sin(2 * np.pi * (200 + 130 * seed + 370 * times) * times)


SOUNDS = [sound(0.37), sound(0.83, 1), sound(1.13, 2)]
WAVS = [wav_file(samples, RATE_HZ) for samples in SOUNDS]
LONG = wav_file(sound(3.1, 3), RATE_HZ)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(97)
CUT_SHORT = WAVS[1][:1013]
NO_SAMPLES = wav_file(np.zeros(0), RATE_HZ)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return listening_export(tmp_path_factory.mktemp("listening") / "1", DECODING, AUDIO, LAS, WAVS)


@pytest.fixture(scope="module")
def model(path: pathlib.Path) -> LocalModel:
    return LocalModel(path)


def ask(model: LocalModel, *wavs: bytes) -> dict[str, np.ndarray]:
    return model.predict("serving_default", {"audio": wavs})


def test_it_says_what_it_is_asked_with(model: LocalModel) -> None:
    assert model.input == "audio"
    assert model.signatures == {
        "serving_default", "n_best", "align", "score", "complete", "sample", "examples", "waveform"
    }  # fmt: skip


def test_answers_differ_by_what_is_heard(model: LocalModel) -> None:
    found = ask(model, *WAVS)
    assert len(set(found["score"].tolist())) == len(WAVS)
    assert all(set(text.split()) <= {word for target in TARGETS for word in target.split()} for text in found["text"])


def test_a_recording_has_the_same_answer_in_any_company(model: LocalModel) -> None:
    together = ask(model, *WAVS)
    with_long = ask(model, *WAVS, LONG)
    for number, wav in enumerate(WAVS):
        alone = ask(model, wav)
        for found in (together, with_long):
            assert found["text"][number] == alone["text"][0]
            np.testing.assert_allclose(found["score"][number], alone["score"][0], rtol=1e-4)
    assert ask(model, LONG)["text"].tolist() == with_long["text"][3:].tolist()


def test_no_recordings_have_no_answers(model: LocalModel) -> None:
    assert ask(model)["text"].shape == (0,)
    assert model.predict("align", {"audio": []})["text"].shape == (0,)
    assert model.predict("waveform", {"waveform": np.zeros((1, 0)), "length": [0]})["text"].tolist() == [""]


def test_samples_have_the_answer_that_their_file_has(model: LocalModel) -> None:
    lengths = [len(samples) for samples in SOUNDS]
    samples = np.zeros((3, max(lengths)), np.float32)
    for row, of_row in zip(samples, SOUNDS, strict=True):
        row[: len(of_row)] = of_row
        row[len(of_row) :] = 0.9  # beyond the length: nobody hears it
    wavs = [wav_file(one.astype(np.float32), RATE_HZ, FLOAT, 32) for one in SOUNDS]
    found, expected = model.predict("waveform", {"waveform": samples, "length": lengths}), ask(model, *wavs)
    assert found["text"].tolist() == expected["text"].tolist()
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4)
    long = sound(3.1, 3).astype(np.float32)
    found = model.predict("waveform", {"waveform": long[None], "length": [len(long)]})
    expected = ask(model, wav_file(long, RATE_HZ, FLOAT, 32))
    assert found["text"].tolist() == expected["text"].tolist()


def test_any_wav_file_has_the_answer_of_what_is_in_it(model: LocalModel) -> None:
    expected = ask(model, wav_file(SOUNDS[1], RATE_HZ, FLOAT, 32))
    stereo = np.stack([1.5 * SOUNDS[1], 0.5 * SOUNDS[1]], axis=1)
    for wav, tolerance in (
        (wav_file(SOUNDS[1], RATE_HZ, bits=16), 0.01),
        (wav_file(SOUNDS[1], RATE_HZ, bits=24, extensible=True), 1e-4),
        (wav_file(stereo, RATE_HZ, FLOAT, 64), 1e-4),
        (wav_file(SOUNDS[1], RATE_HZ, bits=8), 0.5),
        (wav_file(sound(0.83, 1, 96_000), 96_000), 0.1),
        (wav_file(sound(0.83, 1, 11_025), 11_025), 0.5),
    ):
        found = ask(model, wav)
        assert found["text"].shape == (1,)
        np.testing.assert_allclose(found["score"], expected["score"], rtol=tolerance)


def test_attention_is_over_seconds(model: LocalModel) -> None:
    found = model.predict("align", {"audio": WAVS})
    for row, samples in enumerate(SOUNDS):
        positions = -(-len(samples) // (RATE_HZ // 25))
        assert [piece for piece in found["source_pieces"][row] if piece] == [
            f"{number * POSITION_S:.2f}" for number in range(positions)
        ]
        assert found["attention"].shape[2] == found["source_pieces"].shape[1]
        assert not found["attention"][row, :, positions:].any()
        said = found["target_pieces"][row] != ""
        np.testing.assert_allclose(found["attention"][row].sum(axis=1), said, atol=1e-5)
    assert found["text"].tolist() == ask(model, *WAVS)["text"].tolist()


def test_a_given_answer_has_the_score_that_the_search_gives_it(model: LocalModel) -> None:
    found = model.predict("n_best", {"audio": WAVS})
    assert found["text"].shape == (3, 3)
    assert found["text"][:, 0].tolist() == ask(model, *WAVS)["text"].tolist()
    for answers, scores in zip(found["text"].T, found["score"].T, strict=True):
        given = model.predict("score", {"audio": WAVS, "target": answers.tolist()})
        np.testing.assert_allclose(given["score"], scores, rtol=1e-3)


def test_answers_are_completed_and_drawn(model: LocalModel) -> None:
    told = model.predict("complete", {"audio": WAVS, "prefix": ["", "AH OW AH", "IY"]})["text"]
    assert told[1].startswith("AH OW AH") and told[2].startswith("IY")
    wavs, seeds = [WAVS[0]] * 19, list(range(19))
    drawn = model.predict("sample", {"audio": wavs, "seed": seeds})["text"].tolist()
    assert len(set(drawn)) > 5
    assert model.predict("sample", {"audio": wavs, "seed": seeds[::-1]})["text"].tolist() == drawn[::-1]
    with pytest.raises(ServingError, match="audio and seed must have the same number of rows"):
        model.predict("sample", {"audio": WAVS, "seed": [1]})


def test_the_evaluator_asks_with_examples(model: LocalModel) -> None:
    examples = [
        tf.train.Example(
            features=tf.train.Features(feature={"audio": tf.train.Feature(bytes_list=tf.train.BytesList(value=[wav]))})
        ).SerializeToString()
        for wav in WAVS
    ]
    assert model.predict("examples", {"examples": examples})["text"].tolist() == ask(model, *WAVS)["text"].tolist()


BAD = {
    PNG: r"row 1: not a WAV file: expected RIFF....WAVE, got .PNG",
    b"": "row 1: not a WAV file: expected RIFF....WAVE, got an empty file",
    CUT_SHORT: "row 1: truncated: the data chunk says 13280 bytes, 969 are there",
    NO_SAMPLES: "row 1: no samples",
}
TOO_LONG = r"row \d: too long: at most 130 frames, 1.3 s \(audio.max_seconds\), got 310"


@pytest.mark.parametrize("bad", BAD, ids=["PNG", "empty", "truncated", "no samples"])
@pytest.mark.parametrize("signature", ["serving_default", "align"])
def test_what_is_no_recording_is_named_by_its_row(model: LocalModel, signature: str, bad: bytes) -> None:
    with pytest.raises(ServingError, match=BAD[bad]):
        model.predict(signature, {"audio": [WAVS[0], bad, WAVS[1]]})


@pytest.mark.parametrize("signature", ["n_best", "align"])
def test_a_recording_in_parts_has_one_answer_and_no_other(model: LocalModel, signature: str) -> None:
    assert ask(model, LONG)["text"].shape == (1,)
    with pytest.raises(ServingError, match=TOO_LONG):
        model.predict(signature, {"audio": [WAVS[0], LONG]})


@pytest.fixture(scope="module")
def ways(path: pathlib.Path) -> Iterator[list[client.Client]]:
    """The same model of a server, over gRPC and over REST."""
    with served(path, "tiny") as server:
        server.wait_ready()
        with client.connect(server.grpc_address, "tiny") as grpc, client.connect(server.rest_address, "tiny") as rest:
            yield [grpc, rest]


def test_a_server_answers_the_same(model: LocalModel, ways: list[client.Client]) -> None:
    for signature, wavs in (("serving_default", [*WAVS, LONG]), ("align", WAVS), ("n_best", WAVS[:1])):
        here = model.predict(signature, {"audio": wavs})
        for way in ways:
            assert list(serving_check.unequal(here, way.predict(signature, {"audio": wavs}))) == []


def test_a_server_says_what_is_wrong(ways: list[client.Client]) -> None:
    for way in ways:
        for bad, message in [*BAD.items(), (LONG, TOO_LONG)]:
            with pytest.raises(ServingError, match=message) as caught:
                way.predict("align", {"audio": [WAVS[0], bad]})
            assert caught.value.status == Status.INVALID_ARGUMENT
        assert list(way.predict("serving_default", {"audio": WAVS[:1]})["text"])  # it is still there


def test_a_server_warms_up_with_recordings(path: pathlib.Path, ways: list[client.Client]) -> None:
    """It has run them all before it takes a request."""
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(path / warmup.REQUESTS)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.signature_name: set(request.inputs) for request in requests} == {
        signatures.SERVING_DEFAULT: {"audio"},
        signatures.N_BEST: {"audio"},
        signatures.ALIGN: {"audio"},
        signatures.SCORE_TARGET: {"audio", "target"},
        signatures.COMPLETE: {"audio", "prefix"},
        signatures.SAMPLE: {"audio", "seed"},
    }
    assert all(tf.make_ndarray(request.inputs["audio"]).tolist() == WAVS for request in requests)


def test_a_model_that_was_built_anew_says_the_same(path: pathlib.Path) -> None:
    rebuilt = rebuild(path)
    assert rebuilt.source is None and rebuilt.target.get_piece_size() > 4
    frames = recorded.frames(tf.constant(WAVS), AUDIO)
    inputs = {FRAMES: frames, DECODER_IDS: np.full((3, 1), START, np.int32)}
    expected = listening(DECODING, AUDIO, LAS)._untracked.model(inputs).logits
    np.testing.assert_allclose(rebuilt.model(inputs).logits, expected, atol=1e-6)
