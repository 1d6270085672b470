"""WAV files written by hand, field after field."""

from __future__ import annotations

import struct

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_END = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """With its byte of padding; `size` is what it says of itself, where that is not true."""
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def format_chunk(
    tag: int = PCM, channels: int = 1, rate_hz: int = 16_000, bits: int = 16, extensible: bool = False
) -> bytes:
    sample_bytes = channels * bits // 8
    body = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * sample_bytes % 2**32, sample_bytes, bits)
    if extensible:
        body = struct.pack("<H", EXTENSIBLE) + body[2:] + struct.pack("<HHIH", 22, bits, 0, tag) + GUID_END
    return chunk(b"fmt ", body)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks), size)


def encode(samples: np.ndarray, tag: int, bits: int) -> bytes:
    """[samples, channels] or [samples], within a full scale of 1 -> bytes of a data chunk."""
    if tag == FLOAT:
        return samples.astype(f"<f{bits // 8}").tobytes()
    whole = np.round(samples * 2.0 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int64)
    whole = whole + 128 if bits == 8 else whole
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=bits > 8) for value in whole.reshape(-1))


def wav_file(
    samples: np.ndarray, rate_hz: int = 16_000, tag: int = PCM, bits: int = 16, extensible: bool = False
) -> bytes:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    return riff(format_chunk(tag, channels, rate_hz, bits, extensible), chunk(b"data", encode(samples, tag, bits)))
