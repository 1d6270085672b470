"""Tokeniser: SentencePiece models of the two sides, trained on counts of the train split's words.

    {"AE": 7, "B": 5}, Pieces(kind="word") -> <pad> <unk> <s> </s> ▁AE ▁B
    {"abbe": 1}, Pieces(kind="char")       -> <pad> <unk> <s> </s> ▁ b a e

A model is a function of the counts alone, byte for byte; `tokenizer_component.py` counts on Beam.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import annotated_types
import sentencepiece
import tensorflow as tf

from components.alignment import SPECIAL_PIECES
from components.rows import words
from models.contract import END, PAD, START, UNK
from serving import pieces as piece_ops
from serving.signatures import WORD_BOUNDARY

if TYPE_CHECKING:
    import tensorflow_text

SIDES = ("source", "target")
_ERRORS_ONLY = 2  # SentencePiece's `minloglevel`


class TokenizerError(ValueError):
    """A tokeniser that cannot be trained as it is configured."""


@dataclasses.dataclass(frozen=True)
class Pieces:
    """How texts become pieces. bpe and unigram spell what they do not know in bytes, char and word say UNK."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kind: Literal["char", "word", "bpe", "unigram"] = "unigram"
    vocabulary_size: Annotated[int, annotated_types.Gt(4)] = 8000  # at most; 4 special ones, and 256 bytes, are in it
    # NFKC changes phonetic letters, and what is changed here cannot be detokenised: so the default changes nothing.
    # nfd takes characters apart, 가 into ᄀ and ᅡ, é into e and its accent, and loses nothing.
    normalization: Literal["identity", "nfd", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"] = "identity"
    # The share of the characters that get pieces; rare ones beyond it are unknown.
    character_coverage: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0
    symbols: tuple[str, ...] = ()  # texts that are one piece wherever they are, such as the tags "<kor>" and "<hun>"

    def __post_init__(self) -> None:
        """Symbols are parts of words."""
        if self.symbols and self.kind == "word":
            raise ValueError("symbols: a word is one piece anyway, expected none with kind: word")
        for symbol in self.symbols:
            if not words(symbol) == [symbol] or WORD_BOUNDARY in symbol or symbol in SPECIAL_PIECES:
                raise ValueError(
                    f"symbols: {symbol!r}, expected texts without spaces, none of {', '.join(SPECIAL_PIECES)}"
                )
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"symbols: one is there twice: {', '.join(self.symbols)}")


@dataclasses.dataclass(frozen=True)
class Config:
    """The section `tokenizer`: a vocabulary a side, or one that both share."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: Pieces | None = None
    target: Pieces | None = None
    shared: Pieces | None = None

    def __post_init__(self) -> None:
        """Shared pieces leave nothing to say about a side."""
        if self.shared and (self.source or self.target):
            raise ValueError("shared excludes source and target")
        answers = self.shared or self.target
        if answers and answers.normalization == "nfd":
            raise ValueError("nfd is for sources: no answer of decomposed letters equals its reference")

    def sides(self) -> dict[str, Pieces]:
        """{"source": Pieces(...), "target": Pieces(...)}, or {"shared": Pieces(...)}."""
        if self.shared:
            return {"shared": self.shared}
        return {"source": self.source or Pieces(), "target": self.target or Pieces()}

    def kinds(self) -> tuple[str, str]:
        """Of the source's pieces and of the target's: ("char", "word")."""
        sides = self.sides()
        source, target = (sides.get("shared") or sides[side] for side in SIDES)
        return source.kind, target.kind


@dataclasses.dataclass(frozen=True)
class Tokenizers:
    """The two models of a run; with shared pieces they are equal. A recording has no pieces: its model is empty."""

    source_model: bytes
    target_model: bytes

    @property
    def source_size(self) -> int:
        """The number of the source's pieces."""
        return vocabulary(self.source_model)

    @property
    def target_size(self) -> int:
        """The number of the target's pieces."""
        return vocabulary(self.target_model)

    def source(self, add_end: bool = False) -> tensorflow_text.SentencepieceTokenizer:
        """string [batch] -> int32 ragged [batch, source], and back; END included on demand."""
        return piece_ops.tokenizer(self.source_model, add_end)

    def target(self, add_end: bool = False) -> tensorflow_text.SentencepieceTokenizer:
        """string [batch] -> int32 ragged [batch, target], and back; END included on demand."""
        return piece_ops.tokenizer(self.target_model, add_end)


def token_unit(target_kind: str) -> str:
    """What `token_error_rate` counts: characters where the target's pieces are characters, else words."""
    return "character" if target_kind == "char" else "word"


def model_path(uri: str, side: str) -> str:
    """Where a Tokenizer artifact holds the model of a side."""
    return os.path.join(uri, f"{side}.model")


def load(uri: str) -> Tokenizers:
    """The models of a Tokenizer artifact."""
    return Tokenizers(*(_read(model_path(uri, side)) for side in SIDES))


def _read(path: str) -> bytes:
    if not tf.io.gfile.exists(path):
        return b""
    with tf.io.gfile.GFile(path, "rb") as file:
        return bytes(file.read())


def vocabulary(model: bytes) -> int:
    """The number of pieces of a model."""
    return int(sentencepiece.SentencePieceProcessor(model_proto=model).vocab_size())


_LINE_BYTES = 4192  # SentencePiece's default


def train(counts: Mapping[str, int], pieces: Pieces) -> bytes:
    """A SentencePiece model from counts of words; the same counts in another order give the same bytes."""
    if not counts:
        raise TokenizerError("no text to train on")
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"{word}\t{count}" for word, count in ordered]
    model = io.BytesIO()
    sentencepiece.set_min_log_level(_ERRORS_ONLY)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            max_sentence_length=max(_LINE_BYTES, *(len(line.encode()) for line in lines)),  # none is left out
            input_format="tsv",
            model_writer=model,
            model_type=pieces.kind,
            vocab_size=pieces.vocabulary_size,
            hard_vocab_limit=False,
            character_coverage=pieces.character_coverage,
            normalizer=_normalizer(pieces),
            byte_fallback=pieces.kind in ("bpe", "unigram"),
            pad_id=PAD,
            unk_id=UNK,
            bos_id=START,
            eos_id=END,
            minloglevel=_ERRORS_ONLY,
            user_defined_symbols=[*([WORD_BOUNDARY] if pieces.kind == "char" else []), *pieces.symbols],
        )
    except RuntimeError as error:
        needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if needed is None:
            raise
        raise TokenizerError(
            f"vocabulary_size is {pieces.vocabulary_size}, but the characters of the data, "
            f"256 bytes and 4 special pieces need {needed[1]} at least (or lower character_coverage)"
        ) from None
    return model.getvalue()


def _normalizer(pieces: Pieces) -> sentencepiece.SentencePieceNormalizer:
    # A model without any rule says so in a log line for each time that it is loaded, in a server's log, too. So
    # identity has the one rule that changes nothing: in a text the mark for a space is not told from a space anyway.
    rules = {"identity": [(WORD_BOUNDARY, " ")], "nfd": _decompositions()}.get(pieces.normalization)
    return sentencepiece.SentencePieceNormalizer(
        **({"norm_map": rules} if rules else {"rule_name": pieces.normalization}),
        # A text of one word, spelled, needs no piece for the start of a word; a space between two is a piece.
        add_dummy_prefix=pieces.kind != "char",
        escape_whitespaces=True,
        remove_extra_whitespaces=True,
    )


@functools.cache
def _decompositions() -> list[tuple[str, str]]:
    """All characters that are made of others, with these: ("é", "e\\u0301"), ..., and 11,172 Hangul syllables.

    Each character by itself: several accents on one letter stay in the order in which they are written, which NFC and
    NFD agree on but for rare texts.
    """
    characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
    parts = ((character, unicodedata.normalize("NFD", character)) for character in characters)
    return [(character, decomposed) for character, decomposed in parts if character != decomposed]
