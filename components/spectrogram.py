"""The attention of a transcript over what was heard, as a picture."""

from __future__ import annotations

import io
import pathlib

import numpy as np

from components.alignment import Alignment, label

SHORTEST_S = 0.01  # of a recording that has one position


def png(recording: bytes, alignment: Alignment, path: pathlib.Path, title: str) -> None:
    """A spectrogram, and below it when each piece was heard, as a PNG file.

    Args:
        recording: a WAV file; of anything else, such as features, the attention alone is drawn.
        alignment: of its transcript; its source pieces are seconds, "0.00", "0.04", ...
        path: of the picture.
        title: of the picture.
    """
    from matplotlib.figure import Figure

    seconds = [float(piece) for piece in alignment.source_pieces]
    end = seconds[-1] + (seconds[1] if len(seconds) > 1 else SHORTEST_S)
    heard = _samples(recording)
    rows = len(alignment.target_pieces)
    figure = Figure(figsize=(max(5.0, min(2.5 * end, 24.0)), 1.6 + 0.18 * rows + 1.6), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1, max(0.12 * rows, 1.0)]})
    if heard is not None:
        samples, rate_hz = heard
        window = max(rate_hz // 40, 64)
        samples = np.pad(samples, (0, max(2 * window - len(samples), 0)))
        above.specgram(samples + 1e-9, NFFT=window, Fs=rate_hz, noverlap=rate_hz // 67, cmap="magma")
        above.set_ylabel("Hz", fontsize=8)
    below.imshow(
        alignment.attention, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest",
        extent=(0, end, rows - 0.5, -0.5),
    )  # fmt: skip
    below.set_yticks(range(rows), [label(piece) for piece in alignment.target_pieces], fontsize=7, parse_math=False)
    below.set_xlabel("seconds", fontsize=8)
    above.set_title(title, fontsize=10, parse_math=False)
    for axes in (above, below):
        axes.tick_params(labelsize=7)
        axes.spines[:].set_visible(False)
    figure.savefig(path)


def _samples(recording: bytes) -> tuple[np.ndarray, int] | None:
    """Mono samples and their rate; None for what is no recording of a waveform."""
    import soundfile

    try:
        samples, rate_hz = soundfile.read(io.BytesIO(recording), dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        return None
    return samples.mean(axis=1), int(rate_hz)
