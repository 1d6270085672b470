"""Dates as people of many countries write them (CLDR's forms, through Babel), to be written in ISO 8601.

"söndag 5 april 2026" -> Row("söndag 5 april 2026", ("2026-04-05",), "dates of Babel 2.18.0", 1, group="sv",
                             alignment="7-9 9?5 10?5 ... 13-6 18-3 17-2 16-1 15-0")

Tokens are characters. A written digit is aligned with itself, both digits of a month with any character of its name.
What is not in the text is aligned with nothing: a hyphen, the zero before a lone digit, the century of "26". In a
century or two the first digit of a year can be told by the second: where alignments matter, `years` should span more.

The answer is a function of the text. Three kinds of forms are left out, since their texts may mean two dates:

- numbers alike in form that two of the locales order otherwise: 4/5/2026 of en_US and of fr, if both are there; forms
  that only one order has, such as 4.5.2026, 2026-05-04 or 4/5/26, stay;
- years of two digits where `years` spans more than a century;
- names of two months in forms that are otherwise alike, such as the letter J.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import difflib
import functools
import random
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

import annotated_types
import babel
import babel.dates

from components.rows import Rejected, Row
from components.sources import Input, SourceError

# Those of CLDR's large languages that write Latin, Cyrillic and a few Chinese and Korean letters: 122 characters.
_LOCALES = ("de", "en_GB", "en_US", "es", "fi", "fr", "hu", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr")
_FORMATS = ("full", "long", "medium", "short", "yMMMEd", "yMMMd", "yMd")
_STYLES = ("full", "long", "medium", "short")
_SOUGHT = {"y": "year", "M": "month", "L": "month", "d": "day"}
_IGNORED = {"E": 1, "c": 3, "e": 3, "G": 1}  # letters of weekdays and eras -> from so many on they are text
_PLACES = {"year": (0, 1, 2, 3), "month": (5, 6), "day": (8, 9)}  # of "2026-04-05"
_DIGITS = re.compile(r"\d+")
_PATIENCE = 10_000  # dates in a row that bring no new text

Year = Annotated[int, annotated_types.Ge(1000), annotated_types.Le(9999)]


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the source `dates`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rows: Annotated[int, annotated_types.Gt(0)] = 10_000
    locales: Annotated[tuple[str, ...], annotated_types.MinLen(1)] = _LOCALES  # names of CLDR: de, en_US, ...
    # CLDR's styles, skeletons such as yMMMd (where a locale has them), or patterns such as "d MMMM y".
    formats: Annotated[tuple[str, ...], annotated_types.MinLen(1)] = _FORMATS
    years: tuple[Year, Year] = (1970, 2069)  # the first and the last
    seed: Annotated[int, annotated_types.Ge(0)] = 1

    def __post_init__(self) -> None:
        """Time runs forwards."""
        if self.years[0] > self.years[1]:
            raise ValueError(f"years: {self.years[0]} is after {self.years[1]}")


class Part(NamedTuple):
    """A piece of a pattern: ("d", 1, "day"), or text between fields, (" de ", 0, "")."""

    text: str
    width: int
    kind: str  # "year", "month", "day", "other" or ""

    @property
    def is_name(self) -> bool:
        """Whether it is written in letters."""
        return self.kind == "other" or (self.kind == "month" and self.width > 2)

    def shape(self) -> tuple[str, str]:
        """What a reader can tell of it without knowing words: the text itself, or the sort of field."""
        if not self.kind:
            return ("text", self.text)
        if self.kind == "year" and self.width != 2:
            return ("field", "four digits")
        return ("field", self.kind if self.is_name else "one or two digits")


@dataclasses.dataclass(frozen=True)
class Form:
    """A way to write dates in a locale."""

    locale: str
    parts: tuple[Part, ...]

    def shape(self) -> tuple[tuple[str, str], ...]:
        """Forms of one shape can be taken for one another."""
        return tuple(part.shape() for part in self.parts)

    def order(self) -> tuple[str, ...]:
        """("day", "month", "year")."""
        return tuple(part.kind for part in self.parts if part.kind in _PLACES)

    def write(self, date: datetime.date) -> Iterator[tuple[Part, str]]:
        """Each part of a date's text."""
        fields = babel.dates.DateTimeFormat(date, self.locale)
        for part in self.parts:
            yield part, fields[part.text[0] * part.width] if part.kind else part.text


def inputs(config: Config) -> tuple[Input, ...]:
    """One, which no file is behind; Babel's version says which CLDR it is."""
    forms(config)
    return (Input(generator=f"dates of Babel {babel.__version__}"),)


def read(config: Config, item: Input) -> Iterator[Row | Rejected]:
    """The rows, no text twice: the same ones for the same options."""
    draw = random.Random(config.seed)
    by_locale = forms(config)
    first, last = datetime.date(config.years[0], 1, 1), datetime.date(config.years[1], 12, 31)
    seen: set[str] = set()
    misses = 0
    while len(seen) < config.rows:
        form = draw.choice(by_locale[draw.choice(config.locales)])
        row = _row(form, first + datetime.timedelta(draw.randint(0, (last - first).days)), item, len(seen) + 1)
        if row.source not in seen:
            seen.add(row.source)
            misses = 0
            yield row
            continue
        misses += 1
        if misses == _PATIENCE:
            raise SourceError(f"rows is {config.rows}, but there seem to be {len(seen)} texts only: widen `years`")


@functools.lru_cache(maxsize=8)
def forms(config: Config) -> dict[str, list[Form]]:
    """The forms of each locale that say one date each."""
    found = [form for locale in config.locales for form in _forms_of(locale, config.formats)]
    for name in config.formats:
        if name not in _STYLES and name.isalpha() and not any(name in _skeletons(code) for code in config.locales):
            raise SourceError(f"formats: {name!r} is a skeleton in none of {', '.join(config.locales)}")
    orders: dict[object, set[object]] = collections.defaultdict(set)
    months: dict[object, set[object]] = collections.defaultdict(set)
    for form in found:
        orders[form.shape()].add(form.order())
        for month, name in _months(form):
            months[form.shape(), name].add(month)
    by_locale: dict[str, list[Form]] = {locale: [] for locale in config.locales}
    for form in found:
        short_year = any(part.kind == "year" and part.width == 2 for part in form.parts)
        if len(orders[form.shape()]) > 1 or (short_year and config.years[1] - config.years[0] >= 100):
            continue
        if all(len(months[form.shape(), name]) == 1 for _, name in _months(form)):
            by_locale[form.locale].append(form)
    for locale, kept in by_locale.items():
        if not kept:
            raise SourceError(f"locales: every one of the `formats` of {locale} may mean two dates, see {__name__}")
    return by_locale


def _months(form: Form) -> list[tuple[int, str]]:
    """The months as a form writes them, where it does so in letters: (1, "janvier"), ..."""
    dates = [datetime.date(2000, month, 1) for month in range(1, 13)]
    return [
        (date.month, text) for date in dates for part, text in form.write(date) if part.kind == "month" and part.is_name
    ]


def _locale(code: str) -> babel.Locale:
    try:
        return babel.Locale.parse(code)
    except (babel.UnknownLocaleError, ValueError):
        known = difflib.get_close_matches(code, babel.localedata.locale_identifiers(), n=1)
        hint = f"; did you mean {known[0]!r}?" if known else ""
        raise SourceError(f"locales: Babel knows no {code!r}{hint}") from None


def _skeletons(code: str) -> dict[str, str]:
    return {name: pattern.pattern for name, pattern in _locale(code).datetime_skeletons.items()}


def _forms_of(code: str, formats: tuple[str, ...]) -> list[Form]:
    patterns: dict[str, str] = {}  # pattern -> the format that it comes from
    for name in formats:
        if name in _STYLES:
            patterns.setdefault(_locale(code).date_formats[name].pattern, name)
        elif not name.isalpha():
            patterns.setdefault(name, name)
        elif name in _skeletons(code):
            patterns.setdefault(_skeletons(code)[name], name)
    return [Form(code, _parts(code, name, pattern)) for pattern, name in patterns.items()]


def _parts(code: str, name: str, pattern: str) -> tuple[Part, ...]:
    """ "d 'de' MMM y" -> (("d", 1, "day"), (" de ", 0, ""), ("M", 3, "month"), (" ", 0, ""), ("y", 1, "year"))."""
    parts: list[Part] = []
    for _, token in babel.dates.tokenize_pattern(pattern):
        if isinstance(token, str):
            before = parts.pop().text if parts and not parts[-1].kind else ""
            parts.append(Part(before + token, 0, ""))
            continue
        letter, width = token[0], int(token[1])
        if letter not in _SOUGHT and width < _IGNORED.get(letter, 99):
            raise SourceError(f"formats: {name!r} is {pattern!r} in {code}, where {letter * width!r} is not of a date")
        parts.append(Part(letter, width, _SOUGHT.get(letter, "other")))
    kinds = sorted(part.kind for part in parts if part.kind in _PLACES)
    if kinds != sorted(_PLACES):
        raise SourceError(f"formats: {name!r} is {pattern!r} in {code}, expected a year, a month and a day, each once")
    return tuple(parts)


def _row(form: Form, date: datetime.date, item: Input, line: int) -> Row:
    source, links = "", []
    for part, text in form.write(date):
        field = range(len(source), len(source) + len(text))
        source += text
        places = _PLACES.get(part.kind, ())
        # Digits stand at the end of their places: "5" of "05", "26" of "2026"; those of the Korean "5월", May, too.
        if digits := _DIGITS.match(text):
            written = field[: digits.end()]
            links += [f"{at}-{place}" for place, at in zip(reversed(places), reversed(written), strict=False)]
        else:
            links += [f"{at}?{place}" for place in places for at in field]
    return Row(source, (date.isoformat(),), item.name, line, item.split, form.locale, " ".join(links))
