"""The README shows what is there: commands that exist, and a configuration that is good."""

from __future__ import annotations

import re
import shlex

import typer.main
import yaml

from pipeline import cli, config, digest

README = (digest.PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def test_your_own_data_takes_ten_good_lines() -> None:
    (block,) = [text for language, text in BLOCKS if language == "yaml"]
    assert len(block.splitlines()) <= 10
    assert config.parse(yaml.safe_load(block), "README").name == "mine"


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


def test_the_picture_is_there() -> None:
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert (digest.PROJECT / path).exists(), path
