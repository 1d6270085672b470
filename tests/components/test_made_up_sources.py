"""Sources that make their rows up: what is in them, what is known of their alignment, and what cannot be made."""

import datetime
import itertools
import re

import babel.dates
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from components import rows, settings
from components.sources import Input, SourceError, dates, reverse


def made(source, **options):
    """All rows, which pass the checks of rows as they are."""
    config = settings.from_json(source.Config, options)
    (item,) = source.inputs(config)
    found = list(source.read(config, item))
    assert [rows.check(row) for row in found] == found
    return found


def links(row):
    """The source positions of each target position, {0: {3}, ...}."""
    found = {}
    for link in row.alignment.split():
        source, target = map(int, re.split("[-?]", link))
        found.setdefault(target, set()).add(source)
    return found


def linked(row):
    """The same in letters: what each letter of the target is aligned with, '-' for nothing."""
    at = links(row)
    return ["".join(row.source[n] for n in sorted(at[place])) if place in at else "-" for place in range(10)]


@pytest.mark.parametrize(("direction", "step"), [("reverse", -1), ("copy", 1)])
def test_strings_are_said_backwards_or_as_they_are(direction, step):
    found = made(reverse, rows=211, letters=5, min_length=3, max_length=11, direction=direction)
    assert [row.line for row in found] == list(range(1, 212))
    assert {len(row.source) for row in found} == set(range(3, 12))
    assert set("".join(row.source for row in found)) == set("abcde")
    for row in found:
        assert row.references == (row.source[::step],)
        assert row.file == direction
        assert links(row) == dict(enumerate([{n} for n in range(len(row.source))][::step]))


def test_the_same_options_make_the_same_strings_and_another_seed_others():
    first = made(reverse, rows=101)
    assert made(reverse, rows=101) == first
    assert not {row.source for row in first if len(row.source) > 5} & {
        row.source for row in made(reverse, rows=101, seed=7)
    }


@hypothesis(max_examples=23, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(2, 4))
def test_all_strings_that_there_are_can_be_made(letters, shortest, longest):
    count = sum(letters**length for length in range(shortest, longest + 1))
    found = made(reverse, rows=count, letters=letters, min_length=shortest, max_length=longest)
    assert len({row.source for row in found}) == count


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (reverse, {"rows": 31, "letters": 2, "max_length": 4}, "rows is 31, but 2 letters make 30 strings of 1 to 4"),
        (reverse, {"min_length": 7, "max_length": 5}, "min_length is 7, more than max_length, 5"),
        (reverse, {"letters": 27}, "less than or equal to 26"),
        (reverse, {"direction": "backwards"}, "'reverse' or 'copy'"),
        (dates, {"years": [2027, 2026]}, "years: 2027 is after 2026"),
        (dates, {"years": [999, 2026]}, "greater than or equal to 1000"),
        (dates, {"locales": []}, "at least 1 item"),
    ],
)
def test_what_cannot_be_made_is_refused(source, options, message):
    with pytest.raises(ValueError, match=message):
        settings.from_json(source.Config, options)


def one(locale, pattern, date):
    """The row of one date."""
    config = dates.Config(locales=(locale,), formats=(pattern,))
    (form,) = dates.forms(config)[locale]
    return dates._row(form, datetime.date.fromisoformat(date), Input(generator="dates"), 7)


@pytest.mark.parametrize(
    ("locale", "pattern", "date", "text", "aligned"),
    [
        ("sv", "full", "2026-04-05", "söndag 5 april 2026", "2 0 2 6 - april april - - 5"),
        ("sv", "short", "2026-04-05", "2026-04-05", "2 0 2 6 - 0 4 - 0 5"),
        ("de", "short", "2026-11-20", "20.11.26", "- - 2 6 - 1 1 - 2 0"),
        ("en_US", "short", "2026-04-25", "4/25/26", "- - 2 6 - - 4 - 2 5"),
        ("hu", "medium", "1987-12-09", "1987. dec. 9.", "1 9 8 7 - dec. dec. - - 9"),
        ("ja", "full", "2026-11-20", "2026年11月20日金曜日", "2 0 2 6 - 1 1 - 2 0"),
        ("ko", "long", "2026-11-20", "2026년 11월 20일", "2 0 2 6 - 1 1 - 2 0"),
        ("ko", "long", "2026-05-20", "2026년 5월 20일", "2 0 2 6 - - 5 - 2 0"),
        ("es", "long", "2026-05-01", "1 de mayo de 2026", "2 0 2 6 - mayo mayo - - 1"),
        ("th", "long", "2026-05-01", "1 พฤษภาคม ค.ศ. 2026", "2 0 2 6 - พฤษภาคม พฤษภาคม - - 1"),
        ("fr", "'le' d MMMM y", "2026-05-01", "le 1 mai 2026", "2 0 2 6 - mai mai - - 1"),
    ],
)
def test_what_each_character_of_a_date_comes_from(locale, pattern, date, text, aligned):
    row = one(locale, pattern, date)
    assert (row.source, row.references, row.group) == (text, (date,), locale)
    assert linked(row) == aligned.split()


def test_the_places_of_a_date_are_places_and_not_letters():
    """4/4/2044 has many a 4; each is aligned with its own."""
    assert links(one("en_US", "yMd", "2044-04-04")) == {
        0: {4}, 1: {5}, 2: {6}, 3: {7}, 6: {0}, 9: {2},
    }  # fmt: skip


def test_dates_are_written_as_babel_writes_them():
    config = dates.Config(rows=1009)
    found = made(dates, rows=1009)
    assert len({row.source for row in found}) == 1009
    assert {row.group for row in found} == set(config.locales)
    for row in found:
        date = datetime.date.fromisoformat(row.references[0])
        assert 1970 <= date.year <= 2069
        locale = babel.Locale.parse(row.group)
        known = {**locale.date_formats, **locale.datetime_skeletons}
        patterns = [known[name] for name in config.formats if name in known]
        assert row.source in {babel.dates.format_date(date, pattern.pattern, locale) for pattern in patterns}
        assert {2, 3, 6, 9} <= set(links(row)) <= {0, 1, 2, 3, 5, 6, 8, 9}
        assert "  " not in row.source, "two spaces are one piece, and positions would shift"


def test_a_text_is_one_date():
    """With numbers that can change places, in all forms of all default locales."""
    numbers = (1, 2, 5, 11, 12)
    sampled = [datetime.date(2000 + year, month, day) for year, month, day in itertools.product(numbers, repeat=3)]
    answers = {}
    forms = [form for kept in dates.forms(dates.Config()).values() for form in kept]
    for form, date in itertools.product(forms, sampled):
        text = "".join(part for _, part in form.write(date))
        assert answers.setdefault(text, date) == date, f"{text!r} of {form.locale}"
    assert len(answers) > 20 * len(sampled)


def texts(*locales, **options):
    """How the locales write the fifth of April 2026."""
    kept = dates.forms(dates.Config(locales=locales, **options))
    date = datetime.date(2026, 4, 5)
    return {"".join(part for _, part in form.write(date)) for forms in kept.values() for form in forms}


def test_numbers_that_two_locales_order_otherwise_are_left_out_of_both():
    assert {"05/04/2026"} == texts("fr", formats=("short",))
    assert {"4/5/26"} == texts("en_US", formats=("short",))
    assert "4/5/2026" in texts("en_US")
    both = texts("fr", "en_US")
    assert {"5 avril 2026", "April 5, 2026"} < both
    assert not {"4/5/2026", "05/04/2026"} & both
    assert "4/5/26" in both, "no date is written so in fr"
    assert {"05/04/2026", "2026-04-05", "05.04.26"} < texts("fr", "sv", "de")


def test_years_of_two_digits_need_one_century():
    assert "05.04.26" in texts("de", years=(1970, 2069))
    assert "05.04.26" not in texts("de", years=(1970, 2070))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"locales": ["de", "svv"]}, "locales: Babel knows no 'svv'; did you mean 'sv'?"),
        ({"formats": ["yMMMMMMMd"]}, "formats: 'yMMMMMMMd' is a skeleton in none of de"),
        ({"formats": ["yMMM"]}, "formats: 'yMMM' is 'MMM y' in de, expected a year, a month and a day, each once"),
        (
            {"formats": ["d.M.y 'um' H"]},
            """formats: "d.M.y 'um' H" is "d.M.y 'um' H" in de, where 'H' is not of a date""",
        ),
        ({"formats": ["d MMMMM y"]}, "locales: every one of the `formats` of de may mean two dates, see components.s"),
    ],
)
def test_forms_that_are_no_dates_are_refused(options, message):
    config = settings.from_json(dates.Config, {"locales": ["de"], **options})
    with pytest.raises(SourceError) as error:
        dates.inputs(config)
    assert message in str(error.value)
