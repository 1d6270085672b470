"""Slices by how rare a row's rarest source piece is in the train rows: where a model has seen little, it errs more.

{"source": "quiz", ...}, pieces q 40, u 900, i 1,200 and z 7 times in the train rows -> slice "rarest_piece:1-9"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sentencepiece

from components import metrics

RAREST_PIECE = "rarest_piece"


def bucket(count: int) -> str:
    """How often, to a power of ten: 0 -> "0", 7 -> "1-9", 70 -> "10-99"."""
    if not count:
        return "0"
    digits = len(str(count))
    return f"{10 ** (digits - 1)}-{10**digits - 1}"


def rarest(tokenizer: bytes, counts: Mapping[str, int]) -> Callable[[str], int]:
    """A function from a text to how often its rarest piece is in the train rows; 0 where one is not known.

    Args:
        tokenizer: the SentencePiece model of sources.
        counts: of the pieces in the train rows.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    unknown = processor.id_to_piece(processor.unk_id())
    known = {piece: count for piece, count in counts.items() if piece != unknown}

    def count(text: str) -> int:
        pieces = processor.id_to_piece(processor.encode(text))
        return min((known.get(piece, 0) for piece in pieces), default=0)

    return count


def slices(
    rows: Sequence[Mapping[str, Any]], count: Callable[[str], int], names: Sequence[str], token_unit: str
) -> dict[str, dict[str, float]]:
    """Metrics of decoded rows by slice: {"rarest_piece:1-9": {"rows": 31, "token_error_rate": 0.4}, ...}."""
    parts: dict[str, list[tuple[Sequence[str], str]]] = {}
    for row in rows:
        parts.setdefault(f"{RAREST_PIECE}:{bucket(count(row['source']))}", []).append(
            (row["references"], row["prediction"])
        )
    return {name: {"rows": len(part), **metrics.evaluate(names, part, token_unit)} for name, part in parts.items()}
