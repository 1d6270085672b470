"""bAbI: questions with their stories, stories kept whole, and what is broken."""

import gzip

import pytest

from components.rows import Rejected
from components.settings import from_json
from components.sources import SourceError, babi

STORY = """1 Mary moved to the bathroom.
2 John's gone.
3 Where is Mary? \tbathroom\t1
4 Sandra got the milk there.
5 What is Sandra carrying?\tapple,milk\t4 2
"""


def read(folder, texts, **options):
    """Rows by split of {"qa1_one_train.txt": text, ...}."""
    for name, text in texts.items():
        (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    path = {split: str(folder / f"*_{split}.txt*") for split in ("train", "test")}
    config = from_json(babi.Config, {"path": path, **options})
    found = {"train": [], "validation": [], "test": []}
    for item in babi.inputs(config):
        found[item.split] += babi.read(config, item)
    return found


def questions(folder, text, **options):
    """The rows of a test file."""
    return read(folder, {"qa1_one_train.txt": STORY, "qa1_one_test.txt": text}, **options)["test"]


def test_a_question_is_followed_by_the_story_so_far(tmp_path):
    first, second = questions(tmp_path, STORY)
    assert first.source == "where is mary ? | mary moved to the bathroom . | john's gone ."
    assert (first.references, first.line, first.group, first.split) == (("bathroom",), 3, "qa1", "test")
    assert second.source == (
        "what is sandra carrying ? | mary moved to the bathroom . | john's gone . | sandra got the milk there ."
    )
    assert second.references == ("apple milk",)


def test_a_new_story_forgets_the_last(tmp_path):
    found = questions(tmp_path, STORY + STORY)
    assert [(row.source, row.line) for row in found[2:]] == [(row.source, row.line + 5) for row in found[:2]]


def test_the_story_backwards_and_its_end_alone(tmp_path):
    _, second = questions(tmp_path, STORY, recent_first=True, max_facts=2)
    assert second.source == "what is sandra carrying ? | sandra got the milk there . | john's gone ."


def test_validation_takes_whole_stories_of_the_train_files(tmp_path):
    stories = [STORY.replace("Mary", f"Mary{number}") for number in range(307)]
    texts = {"qa7_many_train.txt.gz": "".join(stories), "qa7_many_test.txt": STORY}
    found = read(tmp_path, texts, validation=0.2)
    assert len(found["train"]) + len(found["validation"]) == 2 * 307
    assert len(found["validation"]) / (2 * 307) == pytest.approx(0.2, abs=0.07)
    number = {split: {row.source.split("mary")[1].split()[0] for row in rows[::2]} for split, rows in found.items()}
    assert not number["train"] & number["validation"]
    assert {row.group for rows in found.values() for row in rows} == {"qa7"}
    backwards = read(tmp_path, {"qa7_many_train.txt.gz": "".join(reversed(stories))}, validation=0.2)
    assert {row.source for row in backwards["validation"]} == {row.source for row in found["validation"]}


def test_validation_files_win(tmp_path):
    (tmp_path / "qa2_dev.txt").write_text(STORY)
    path = {"train": "qa1_one_train.txt", "test": "qa1_one_train.txt", "validation": "qa2_dev.txt"}
    (tmp_path / "qa1_one_train.txt").write_text(STORY + STORY)
    config = from_json(babi.Config, {"path": {split: str(tmp_path / name) for split, name in path.items()}})
    counts = {item.split: len(list(babi.read(config, item))) for item in babi.inputs(config)}
    assert counts == {"train": 4, "validation": 2, "test": 4}


EXPECTED = "expected a number and a sentence, or a number, a question<TAB>answer<TAB>numbers of lines"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("Mary moved.", EXPECTED),
        ("2", EXPECTED),
        ("2 Where is Mary?\tbathroom\tone", EXPECTED),
        ("3 Mary moved.", "number 3, expected 2"),
    ],
)
def test_a_broken_line_spoils_the_rest_of_its_story(tmp_path, bad, reason):
    lines = STORY.splitlines()
    lines[1] = bad
    found = questions(tmp_path, "\n".join(lines) + "\n" + STORY)
    path = str(tmp_path / "qa1_one_test.txt")
    because = "a question about a story whose line 2 is broken"
    assert found[:3] == [
        Rejected(path, 2, reason, bad),
        Rejected(path, 3, because, lines[2]),
        Rejected(path, 5, because, lines[4]),
    ]
    assert [row.line for row in found[3:]] == [8, 10]


def test_a_question_without_an_answer_spoils_itself_alone(tmp_path):
    empty, good = questions(tmp_path, STORY.replace("\tbathroom\t", "\t\t"))
    assert (empty.reason, empty.line, good.line) == ("empty target", 3, 5)


def test_broken_lines_of_train_files_are_rejected_once(tmp_path):
    stories = [STORY.replace("2 John", f"7 John{number}") for number in range(31)]
    found = read(tmp_path, {"qa1_a_train.txt": "".join(stories), "qa1_a_test.txt": STORY}, validation=0.5)
    lines = [row.line for split in ("train", "validation") for row in found[split] if isinstance(row, Rejected)]
    assert len(lines) == len(set(lines)) == 3 * 31
    assert found["train"] and found["validation"]


def test_files_of_other_names_have_no_group(tmp_path):
    (tmp_path / "stories_test.txt").write_text(STORY)
    found = read(tmp_path, {"stories_train.txt": STORY})["test"]
    assert {row.group for row in found} == {""}


def test_options(tmp_path):
    with pytest.raises(ValueError, match=r"path.test\n.*Field required"):
        from_json(babi.Config, {"path": {"train": "a"}})
    with pytest.raises(ValueError, match="less than 1"):
        from_json(babi.Config, {"path": {"train": "a", "test": "b"}, "validation": 1.0})
    with pytest.raises(SourceError, match=r"no file matches '.*_test\.txt\*'"):
        read(tmp_path, {"qa1_one_train.txt": STORY})
