"""Recordings as the source of a model: the section `audio`, and how a waveform becomes what a listener hears.

A recording crosses every boundary as *frames*, a hop of time each, whatever is in them (`contract.FRAMES`):

    waveform  float32 [batch, frames, hop samples + 1]   sample_rate_hz 16,000 and hop_ms 10: 160 samples a frame
    features  float32 [batch, frames, depth + 1]         numbers that were computed elsewhere, such as 13 cepstra

The last column is 1 where a frame is part of the recording and 0 where it is padding. `frontend.py` makes of either
what a model listens to.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

Positive = Annotated[float, Gt(0)]


@dataclasses.dataclass(frozen=True)
class SpecAugment:
    """Masks over the features in training (Park 2019, section 2); what is masked becomes their mean.

    Attributes:
        time_masks: so many,
        time_width: each of up to so many frames,
        time_share: and of up to this share of the recording (the paper's p).
        band_masks: so many,
        band_width: each of up to so many bands.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    time_masks: Annotated[int, Ge(0)] = 2
    time_width: Annotated[int, Ge(1)] = 40
    time_share: Annotated[float, Gt(0), Le(1)] = 0.2
    band_masks: Annotated[int, Ge(0)] = 2
    band_width: Annotated[int, Ge(1)] = 15


@dataclasses.dataclass(frozen=True)
class Audio:
    """The section `audio`: what a recording is to a model. A pipeline without it reads text.

    Attributes:
        kind: "waveform", of which log-mel features are made in the model, or "features", which are there already.
        sample_rate_hz: of every waveform, to which recordings of another rate are resampled.
        depth: numbers a frame, of kind "features".
        hop_ms: from one frame to the next; of kind "features", that of the files.
        frame_ms: of waveform that a frame of features is computed from.
        bands: of the mel scale.
        lowest_hz: where the lowest band begins.
        highest_hz: where the highest ends; None: half of the sample rate.
        pre_emphasis: x[t] - a x[t-1], which lifts high frequencies; 0: none.
        deltas: so many derivatives in time beside the features (2: deltas and their deltas).
        normalize: features get mean 0 and variance 1, a band each: over the recording, over all train rows, or not.
        dither: noise of this standard deviation (a full scale is 1) is added to waveforms in training.
        speeds: a batch in training is played at one of these speeds (Ko 2015).
        spec_augment: masks in training; None: none.
        max_seconds: a longer recording is no row to train on, and is served in overlapping parts of this length. Let it
            be about what the longest rows have: a model hears badly what is far longer than all that it learned from.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["waveform", "features"] = "waveform"
    sample_rate_hz: Annotated[int, Ge(1000)] = 16_000
    depth: Annotated[int, Ge(1)] = 13
    hop_ms: Positive = 10.0
    frame_ms: Positive = 25.0
    bands: Annotated[int, Ge(1)] = 80
    lowest_hz: Annotated[float, Ge(0)] = 20.0
    highest_hz: Positive | None = None
    pre_emphasis: Annotated[float, Ge(0), Lt(1)] = 0.97
    deltas: Annotated[int, Ge(0), Le(2)] = 0
    normalize: Literal["recording", "global", "none"] = "recording"
    dither: Annotated[float, Ge(0)] = 0.0
    speeds: Annotated[tuple[Positive, ...], MinLen(1)] = (1.0,)
    spec_augment: SpecAugment | None = None
    max_seconds: Positive = 30.0

    def __post_init__(self) -> None:
        """What no field can say alone."""
        wrong = []
        if self.kind == "waveform":
            if self.hop_samples != self.sample_rate_hz * self.hop_ms / 1000:
                wrong.append(f"hop_ms: {self.hop_ms:g} ms are no whole number of samples at {self.sample_rate_hz} Hz")
            if self.frame_ms < self.hop_ms:
                wrong.append(f"frame_ms is {self.frame_ms:g}, less than hop_ms, {self.hop_ms:g}: samples go unheard")
            if not self.lowest_hz < self.top_hz <= self.sample_rate_hz / 2:
                wrong.append(
                    f"bands from lowest_hz {self.lowest_hz:g} to highest_hz {self.top_hz:g}: expected to rise, to "
                    f"at most half of the sample rate, {self.sample_rate_hz / 2:g}"
                )
        elif self.dither:
            wrong.append("dither is noise in a waveform: expected 0 with kind: features")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def hop_samples(self) -> int:
        """From one frame to the next."""
        return round(self.sample_rate_hz * self.hop_ms / 1000)

    @property
    def frame_samples(self) -> int:
        """That a frame of features is computed from."""
        return round(self.sample_rate_hz * self.frame_ms / 1000)

    @property
    def top_hz(self) -> float:
        """Where the highest band ends."""
        return self.highest_hz or self.sample_rate_hz / 2

    @property
    def frame_depth(self) -> int:
        """Numbers of a frame as it crosses boundaries, without the column that says what is padding."""
        return self.hop_samples if self.kind == "waveform" else self.depth

    @property
    def feature_depth(self) -> int:
        """Of what a model hears in a frame."""
        return (self.bands if self.kind == "waveform" else self.depth) * (1 + self.deltas)

    def frames(self, seconds: float) -> int:
        """How many frames a recording of so much time has, the last of which may not be whole."""
        if self.kind == "waveform":
            return -(-round(seconds * self.sample_rate_hz) // self.hop_samples)
        return math.ceil(round(seconds * 1000 / self.hop_ms, 6))
