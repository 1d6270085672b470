"""The picture of a transcript over what was heard."""

from __future__ import annotations

import io
import pathlib

import matplotlib.image
import numpy as np
import pytest
import soundfile

from components import spectrogram
from components.alignment import Alignment
from tests.components.speech import tone
from tests.models.audio.files import wav_file


def aligned(positions: int, pieces: int) -> Alignment:
    weights = np.random.default_rng(5).dirichlet(np.ones(positions), pieces).astype(np.float32)
    seconds = [f"{0.04 * number:.2f}" for number in range(positions)]
    return Alignment(seconds, [f"▁piece${number}" for number in range(pieces)], weights)


def flac(samples: np.ndarray, rate_hz: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="FLAC")
    return file.getvalue()


RECORDINGS = {
    "waveform": wav_file(tone(0.5), 16_000),
    "stereo": wav_file(np.stack([tone(0.5, 8000), tone(0.5, 8000, 613)], axis=1), 8000),
    "flac": flac(tone(0.5), 16_000),
    "shorter than a window": wav_file(tone(0.004), 16_000),
    "silence": wav_file(np.zeros(8000), 16_000),
    "features": np.ones((50, 13), "<f4").tobytes(),
}


@pytest.mark.parametrize("recording", RECORDINGS.values(), ids=RECORDINGS)
@pytest.mark.filterwarnings("error")
def test_a_picture_is_written(tmp_path: pathlib.Path, recording: bytes) -> None:
    path = tmp_path / "out.png"
    spectrogram.png(recording, aligned(13, 7), path, title="a_b $x^ .wav")
    height, width, _ = matplotlib.image.imread(path).shape  # type: ignore[call-overload]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert width == 5 * 150 and 300 < height < 1500


def test_a_picture_grows_with_the_recording_up_to_a_page(tmp_path: pathlib.Path) -> None:
    widths = []
    for positions in (1, 97, 997):
        path = tmp_path / f"{positions}.png"
        spectrogram.png(wav_file(tone(0.04 * positions), 16_000), aligned(positions, 3), path, title="a.wav")
        widths.append(matplotlib.image.imread(path).shape[1])
    assert widths[0] == 750 and widths[0] < widths[1] < widths[2] == 24 * 150
