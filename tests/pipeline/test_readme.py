"""The pages show what is there: commands that exist, a configuration that is good, links that lead somewhere."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest
import typer.main
import yaml

from models import attention
from pipeline import cli, config, digest

README = (digest.PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def test_your_own_data_takes_ten_good_lines() -> None:
    whole, *sections = [text for language, text in BLOCKS if language == "yaml"]
    assert len(whole.splitlines()) <= 10
    mine = yaml.safe_load(whole)
    assert config.parse(mine, "README").name == "mine"
    for section in map(yaml.safe_load, sections):
        parsed = config.parse(mine | section, "README")
        assert all(getattr(parsed, name) for name in section)


def test_every_command_and_option_exists() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    lines = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("fovea ") and "→" not in line]
    assert len(lines) >= 7
    for line in lines:
        _, name, *arguments = shlex.split(line, comments=True)
        options = {option for parameter in commands[name].params for option in parameter.opts}
        used = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
        assert name == "serve" or used <= options, line


def test_the_targets_of_make_exist() -> None:
    makefile = (digest.PROJECT / "Makefile").read_text()
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


PAGES = [path for folder in (".", "docs", "tests/benchmarks") for path in (digest.PROJECT / folder).glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(digest.PROJECT)))
def test_links_and_pictures_lead_somewhere(page: pathlib.Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, section = link.partition("#")
        assert (page.parent / path).exists(), link
        assert not section or f"\n## {section}\n" in text, link


def test_every_mechanism_has_its_section() -> None:
    sections = re.findall(r"^## (\w+)$", (digest.PROJECT / "docs" / "attention.md").read_text(), flags=re.MULTILINE)
    assert set(attention.names()) <= set(sections)
