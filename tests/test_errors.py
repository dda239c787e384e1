"""The errors' fields, and the message made of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mintad.data.problems import error, raise_errors
from mintad.errors import ConfigError, DataError, MintadError, nearest, visible


def test_the_message_joins_the_fields():
    fault = DataError("too large", path=Path("/a.png"), fix="make it smaller")
    assert str(fault) == "/a.png: too large; make it smaller"
    assert (fault.path, fault.problem, fault.fix) == ("/a.png", "too large", "make it smaller")


def test_a_plain_message_is_the_problem():
    fault = ConfigError("width must be positive")
    assert (str(fault), fault.path, fault.problem, fault.fix) == ("width must be positive", None, str(fault), "")


def test_errors_keep_their_fields_between_processes():
    fault = pickle.loads(pickle.dumps(DataError("too large", path="/a.png", fix="make it smaller")))
    assert isinstance(fault, MintadError) and str(fault) == "/a.png: too large; make it smaller"
    assert (fault.path, fault.problem, fault.fix) == ("/a.png", "too large", "make it smaller")


def test_a_single_problem_becomes_an_error_with_the_same_fields():
    with pytest.raises(DataError) as caught:
        raise_errors([error("/a.png", "too large", "make it smaller")], "/")
    assert (caught.value.path, caught.value.problem, caught.value.fix) == ("/a.png", "too large", "make it smaller")
    raise_errors([], "/")


def test_the_nearest_name_is_suggested():
    assert nearest("widht", ["depth", "width"]) == " Did you mean 'width'? Allowed: depth, width."


def test_a_name_stands_in_one_line_and_commands_no_terminal():
    name = "a\nb\x1b[31m\u202e" + b"\xe9".decode(errors="surrogateescape")
    assert visible(name) == r"a\nb\x1b[31m\u202e\xe9"
    assert str(DataError("too large", path=name)) == r"a\nb\x1b[31m\u202e\xe9: too large"
    assert visible("größe 日本 [red] 100%\u3000.png") == "größe 日本 [red] 100%\u3000.png"
