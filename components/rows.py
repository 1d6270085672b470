"""Rows: what a source reads, the checks that all rows pass, and their form on disk.

    Row("tea", ("thé", "le thé"), "a.tsv", 7) -> tf.train.Example of
    {source: ["tea"], target: ["thé"], references: ["thé", "le thé"], source_length: ["1-4"], group: [""],
     origin: ["a.tsv:7"]}

    Row("a.wav", ("yes",), "a.jsonl", 3, speaker="ann", audio=b"RIFF...", seconds=1.7), a recording -> as above, and
    {source_length: ["1-2 s"], group: ["ann"], audio: [b"RIFF..."]}

A row that cannot be used becomes `Rejected("a.tsv", 8, "empty target", "tea\\t")`: a dead letter, not an exception.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Row:
    """A text, or a recording, and its right answers; the first of them is the one that is trained on.

    Of a recording, a source says what to read and `recordings.attach` reads it: it sets `audio` and what follows.
    """

    source: str  # of a recording, the name that people know it by: "ann/a.wav", "a.wav + b.wav"
    references: tuple[str, ...]
    file: str
    line: int  # counted from 1, a header is a line
    split: str | None = None
    group: str = ""  # the kind of row, such as its language
    alignment: str = ""  # what is known of it, "0-2 1-1 2-0": SOURCE-TARGET, tokens from 0 of the stripped texts
    recordings: tuple[str, ...] = ()  # files of sound, or of features, that are joined in this order
    pauses_ms: tuple[float, ...] = ()  # silence after each recording but the last; (): none
    speaker: str = ""  # who stays within one split; the group, where there is no other
    audio: bytes = b""  # a file's content that was made up; once attached, what `contract.AUDIO` says
    seconds: float = 0.0
    resampled: bool = False  # a recording had another rate than is wanted


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that cannot be used, and why. Line 0 says that the file as a whole cannot be read."""

    file: str
    line: int
    reason: str
    row: str

    def to_json(self) -> str:
        """One line of rejected.jsonl."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False)
        return text.encode(errors="backslashreplace").decode()


_SPACES = str.maketrans(dict.fromkeys("\t\n\v\f\r", " "))  # to SentencePiece they would be unknown characters


def check(row: Row, raw: str | None = None, max_length: int | None = None) -> Row | Rejected:
    """Strip the texts, drop answers that are given twice, and refuse what is empty or too long.

    Row(" tea ", ("thé", "thé"), ...) -> Row("tea", ("thé",), ...)
    Row("tea", ("",), ...)            -> Rejected(..., "empty target", raw)
    """
    source = row.source.translate(_SPACES).strip()
    references = tuple(dict.fromkeys(text.translate(_SPACES).strip() for text in row.references))
    raw = "\t".join((row.source, *row.references)) if raw is None else raw
    if not references:
        return Rejected(row.file, row.line, "no target", raw)
    sides = ("source", "target", *["reference"] * (len(references) - 1))
    for side, text in zip(sides, (source, *references), strict=True):
        if not text:
            return Rejected(row.file, row.line, f"empty {side}", raw)
        if not text.isascii() and _is_broken(text):
            return Rejected(row.file, row.line, f"{side} holds half of a surrogate pair, which is no text", raw)
        if max_length is not None and len(text) > max_length:
            return Rejected(row.file, row.line, f"{side} of {len(text)} characters, at most {max_length}", raw)
    return dataclasses.replace(row, source=source, references=references)


def length_bucket(length: int) -> str:
    """The slice that a source belongs to, by its number of characters: 3 -> "1-4", 5 -> "5-8", 100 -> "65-128"."""
    low, high = 1, 4
    while length > high:
        low, high = high + 1, 2 * high
    return f"{low}-{high}"


def duration_bucket(seconds: float) -> str:
    """The same of a recording, by its duration: 0.7 -> "0-1 s", 1.7 -> "1-2 s", 5 -> "4-8 s"."""
    low, high = 0, 1
    while seconds > high:
        low, high = high, 2 * high
    return f"{low}-{high} s"


CELLS = {str: 65_536, bytes: 16_000_000}  # of a batch: characters, or bytes of recordings


def batches(texts: Sequence[str | bytes], rows: int, cells: int | None = None) -> Iterator[list[int]]:
    """The numbers of texts that are decoded together: alike in length, at most so many `rows`, and so many cells.

    A cell is a character of the longest text (a byte of the longest recording) for each of them: one text of 10,000
    characters goes alone, and does not make 255 others as long. ["a", "three", "to"], rows=2 -> [0, 2], [1]
    """
    most = cells or CELLS[type(texts[0])] if texts else 0
    batch: list[int] = []
    for number in sorted(range(len(texts)), key=lambda number: len(texts[number])):
        if batch and (len(batch) == rows or (len(batch) + 1) * len(texts[number]) > most):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def split_of(source: str, fractions: Mapping[str, float]) -> str:
    """The split of a source text (or a speaker), by its digest: always the same one, in whatever file it is.

    split_of("tea", {"train": 0.8, "validation": 0.1, "test": 0.1}) -> "train"
    """
    share = int.from_bytes(_digest(b"split", source)[:8], "big") / 2**64
    total = 0.0
    for name, fraction in fractions.items():
        total += fraction
        if share < total:
            return name
    return list(fractions)[-1]  # the fractions add up to one but for rounding


def rank(row: Row) -> str:
    """Where a row stands when a subset is taken: independent of its split and of the order of the files."""
    content = json.dumps((row.source, row.references))
    return f"{_digest(b'subset', content).hex()} {row.file} {row.line:012d}"


def source_length(row: Row) -> str:
    """The slice that a row belongs to by its length: "5-8" characters, or "1-2 s" of a recording."""
    return duration_bucket(row.seconds) if row.audio else length_bucket(len(row.source))


def to_example(row: Row) -> tf.train.Example:
    """The form on disk."""
    import tensorflow as tf

    from models import contract

    texts = {
        contract.SOURCE: (row.source,),
        contract.TARGET: row.references[:1],
        contract.REFERENCES: row.references,
        contract.SOURCE_LENGTH: (source_length(row),),
        contract.GROUP: (row.group or row.speaker,),
        contract.ORIGIN: (f"{row.file}:{row.line}",),
        **({contract.ALIGNMENT: (row.alignment,)} if row.alignment else {}),
    }
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode() for text in values]))
        for name, values in texts.items()
    }
    if row.audio:
        features[contract.AUDIO] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[row.audio]))
    return tf.train.Example(features=tf.train.Features(feature=features))


def from_example(serialized: bytes, with_audio: bool = False) -> Row:
    """A row from its form on disk; its recording only where it is asked for, as rows are shuffled and kept."""
    import tensorflow as tf

    from models import contract

    features = tf.train.Example.FromString(serialized).features.feature

    def texts(name: str) -> tuple[str, ...]:
        return tuple(text.decode() for text in features[name].bytes_list.value)

    (source,), (group,), (origin,) = (texts(name) for name in (contract.SOURCE, contract.GROUP, contract.ORIGIN))
    file, _, line = origin.rpartition(":")
    alignment = "".join(texts(contract.ALIGNMENT))
    audio = b"".join(features[contract.AUDIO].bytes_list.value) if with_audio else b""
    return Row(source, texts(contract.REFERENCES), file, int(line), group=group, alignment=alignment, audio=audio)


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _digest(purpose: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16, person=purpose).digest()


def words(text: str) -> list[str]:
    """The words of a text, "grand café" -> ["grand", "café"]: a no-break space parts no words, as in SentencePiece."""
    return [word.decode() for word in text.encode().split()]
