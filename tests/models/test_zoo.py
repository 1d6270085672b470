"""Families are found by file name."""

from __future__ import annotations

import typing

import pytest

from models import zoo
from models.attention import ATTENTIONS
from models.zoo import rnn


def test_a_family_is_a_module() -> None:
    assert "rnn" in zoo.families()
    assert zoo.load("rnn") is rnn


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'rnm': expected one of .*\brnn\b.*; the nearest is 'rnn'"):
        zoo.load("rnm")


def test_a_file_without_a_family_is_not_loaded() -> None:
    with pytest.raises(ValueError, match="unknown model '__init__'"):
        zoo.load("__init__")


def test_the_config_names_every_attention() -> None:
    names = typing.get_args(typing.get_type_hints(rnn.Config)["attention"])
    assert sorted(names) == sorted(ATTENTIONS)
