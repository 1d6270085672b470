"""How well attention aligns, in numbers. Pure NumPy.

    source pieces  ▁the ▁ca t </s>     tokens 0 1 1, and END
    target pieces  ▁le ▁ch at </s>     tokens 0 1 1
    gold           "0-0 1-1": source token 0 with target token 0, 1 with 1

Tokens are characters where pieces are characters, else the words that SentencePiece's marks part. END is no token, but
a target token may look at the source's END, so it has a column of its own: the last.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence

import numpy as np

from components.alignment import SPECIAL_PIECES
from components.rows import words
from serving.signatures import WORD_BOUNDARY

_, UNKNOWN_PIECE, _, END_PIECE = SPECIAL_PIECES
NOWHERE = -1  # what a target token is linked with that looks at END, or at nothing

_LINK = re.compile(r"(\d+)([-?])(\d+)", re.ASCII)


class Gold(typing.NamedTuple):
    """What annotators say: links (source token, target token)."""

    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]  # the sure ones among them


def parse(text: str) -> Gold:
    """Pharaoh's form: "0-0 2-1 1?1" -> Gold(sure {(0, 0), (2, 1)}, possible {(0, 0), (2, 1), (1, 1)}).

    Raises:
        ValueError: names the link and what was expected.
    """
    sure, possible = set(), set()
    for part in text.split():
        match = _LINK.fullmatch(part)
        if not match:
            raise ValueError(
                f"alignment: {part!r}, expected SOURCE-TARGET, numbers of tokens from 0 (SOURCE?TARGET where possible)"
            )
        link = (int(match[1]), int(match[3]))
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def are_characters(pieces: Sequence[str]) -> bool:
    """Whether pieces are characters: ["a", "▁", "b"]; words and their parts begin with a mark: ["▁ca", "t"]."""
    return not any(piece.startswith(WORD_BOUNDARY) and (not n or len(piece) > 1) for n, piece in enumerate(pieces))


def tokens(pieces: Sequence[str]) -> np.ndarray:
    """The token of each piece, int [pieces without END].

    ["▁the", "▁ca", "t", "</s>"] -> [0, 1, 1]
    ["c", "a", "▁", "t", "</s>"] -> [0, 1, 2, 3]
    """
    said = list(pieces[:-1] if pieces and pieces[-1] == END_PIECE else pieces)
    if are_characters(said):
        return np.arange(len(said))
    # Only whole words can be unknown: parts of words fall back to bytes.
    begins = [n == 0 or piece.startswith(WORD_BOUNDARY) or piece == UNKNOWN_PIECE for n, piece in enumerate(said)]
    return np.cumsum(begins, dtype=int) - 1


def count_tokens(text: str, pieces: Sequence[str]) -> int:
    """How many tokens a text has, by itself: "the cat" -> 2, or 7 where the pieces are characters.

    A run of unknown characters or words is one piece, so `tokens` may count fewer.
    """
    return len(text) if are_characters(pieces) else len(words(text))


def by_source_token(attention: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Sum the weights of a token's pieces: [target, source pieces with END] -> [target, source tokens and END].

    [[0.1, 0.2, 0.3, 0.4]] and tokens [0, 1, 1] -> [[0.1, 0.5, 0.4]]
    """
    columns = np.append(source, source.max(initial=-1) + 1)
    return attention[:, : len(columns)] @ np.eye(columns[-1] + 1)[columns]


def by_target_token(attention: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Average the weights of a token's pieces, without END: [target pieces, source] -> [target tokens, source].

    [[0.2, 0.8], [0.4, 0.6], [1.0, 0.0]] and tokens [0, 0] -> [[0.3, 0.7]]
    """
    rows = np.eye(target.max(initial=-1) + 1)[target]  # [target pieces, target tokens]
    return (rows / rows.sum(axis=0)).T @ attention[: len(target)]


def links(weights: np.ndarray) -> np.ndarray:
    """The source token that each target token looks at most: [target, source tokens and END] -> int [target].

    [[0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.0, 0.0, 0.0]] -> [1, NOWHERE, NOWHERE]: the last column is END.
    """
    chosen = weights.argmax(axis=1)
    return np.where((chosen == weights.shape[1] - 1) | ~weights.any(axis=1), NOWHERE, chosen)


def accuracy_counts(linked: np.ndarray, gold: Gold) -> np.ndarray:
    """[target tokens that look at a right source token, target tokens that have one], to add up over rows.

    links [0, 2, NOWHERE, 1] and gold "0-0 1-1 2-1 0-2" -> [2, 3]: any source token of "1-1 2-1" is right
    """
    known = {target for _, target in gold.possible}
    right = sum((int(linked[target]), target) in gold.possible for target in known)
    return np.array([right, len(known)], float)


def error_counts(linked: np.ndarray, gold: Gold) -> np.ndarray:
    """[|A ∩ S|, |A ∩ P|, |A|, |S|], to add up over rows: links of the model, sure ones, possible ones.

    links [0, 2, NOWHERE] and gold "0-0 1-1 2?1" -> [1, 2, 2, 2]
    """
    ours = {(int(source), target) for target, source in enumerate(linked) if source != NOWHERE}
    return np.array([len(ours & gold.sure), len(ours & gold.possible), len(ours), len(gold.sure)], float)


def error_rate(counts: np.ndarray) -> float:
    """Alignment error rate of summed `error_counts` (Och and Ney 2003): [1, 2, 2, 2] -> 0.25."""
    sure, possible, ours, all_sure = counts
    return float(1 - (sure + possible) / (ours + all_sure)) if ours + all_sure else float("nan")


def entropy(attention: np.ndarray) -> np.ndarray:
    """Nats of each row that looks anywhere: [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]] -> [0.69, 0].

    Of a row that sums to less than one, as in monotonic attention: where it looks, given that it looks.
    """
    rows = attention[attention.any(axis=1)].astype(np.float64)
    shares = rows / rows.sum(axis=1, keepdims=True)
    return -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=1)


def coverage(attention: np.ndarray) -> np.ndarray:
    """How much of each source token was looked at, at most 1: [[0.5, 0.4, 0.1], [0.9, 0, 0.1]] -> [1, 0.4].

    [target, source tokens and END] -> [source tokens]: what GNMT's coverage penalty sums the logarithm of (Wu 2016,
    eq. 14).
    """
    return np.minimum(attention[:, :-1].sum(axis=0), 1.0)


def evenness(attention: np.ndarray) -> np.ndarray:
    """How near each row that looks anywhere is to looking everywhere alike, from 0 to 1.

    [[0.5, 0.5], [0, 1]] -> [1, 0]: entropy over the most that there can be, the logarithm of the source's length.
    """
    return entropy(attention) / np.log(max(attention.shape[1], 2))


def gaps(attention: np.ndarray, least: float = 0.1) -> np.ndarray:
    """Whether a source token got next to no attention from all of the answer: [[0.5, 0, 0.5]] -> [False, True].

    [target, source tokens and END] -> bool [source tokens].
    """
    return coverage(attention) < least


def diagonality(attention: np.ndarray) -> float:
    """The correlation of the place of a target piece with the places that it looks at: [target, source] -> -1 to 1.

    1 on the diagonal, -1 backwards, 0 where attention is spread evenly or all looks at one place; NaN where there is
    one target piece, one source piece, or no attention.
    """
    weights = attention.astype(np.float64)
    if min(weights.shape) < 2 or not weights.any():
        return float("nan")
    weights /= weights.sum()
    target, source = (
        np.arange(size) - (np.arange(size) @ weights.sum(axis=1 - axis)) for axis, size in enumerate(weights.shape)
    )
    spread = (target**2 @ weights.sum(axis=1)) * (source**2 @ weights.sum(axis=0))
    return float(target @ weights @ source / np.sqrt(spread)) if spread > 1e-12 else 0.0


def peak(attention: np.ndarray) -> float:
    """The share of all attention that the most looked at source piece has: [[0.5, 0.5], [0, 1]] -> 0.75."""
    return float(attention.sum(axis=0).max() / attention.sum())
