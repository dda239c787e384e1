"""Bets on what a cell will show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mintad.course import notebook


def said(capsys, *arguments, **named):
    notebook.settle(*arguments, **named)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("bet", "outcome", "within"),
    [
        (0.5, 0.55, None),
        (0, 0.04, 0.05),
        (20, np.int64(17), 3),
        (17.0, 17, None),
        (torch.tensor(3.0), 3, None),
        ("0,5", 0.5, None),
        ("50 %", 0.5, 0.01),
        ("1,000", 1000, None),
        ("gaussian", "Gaussian", None),
        ("gain 16", "gain 16, lr 0.003", None),
        ("the gap", "in the gap", None),
        ("the class loss", "class", None),
        ("it relies on it", "relies", None),
        ({"gear", "button"}, {"button", "gear"}, None),
        (["gear", "button"], {"button", "gear"}, None),
        ("gear and button", {"button", "gear"}, None),
        ("swap", {"swap"}, None),
        ("token, masked", {"token, masked"}, None),
        (set(), set(), None),
        ("nothing", set(), None),
        ("none of them", set(), None),
        (["a", "b"], ["a", "b"], None),
        (["b", "c", "a"], {"a": 0.5, "b": 0.0, "c": 0.0}, None),
        (["c", "b", "a"], {"a": 0.5, "b": 0.0, "c": 0.0}, None),
        ("Nearest neighbor", "nearest neighbour", None),
        ("the nearest neighbour", "nearest neighbor", None),
        ("recentered features", "recentred features", None),
        ("Normalized", "normalised", None),
        ({"color", "Center"}, {"colour", "centre"}, None),
        ("gray, color", {"grey": 0.1, "colour": 0.2}, None),
    ],
)
def test_a_right_bet_is_said_to_be_right(capsys, bet, outcome, within):
    assert said(capsys, bet, outcome, within=within).startswith("✓ right")


@pytest.mark.parametrize(
    ("bet", "outcome", "within"),
    [
        (0.5, 0.7, None),
        (0.1, 0, 0.05),
        (0.8, 0.95, 0.05),
        (16, 17, None),
        (2, np.int64(1), None),
        ("", "Gaussian", None),
        ("gain 1", "gain 16, lr 0.003", None),
        ("in", "in the gap", None),
        ("in the", "in the gap", None),
        ("prompt", "label prompt", None),
        ("position", "the Gaussian, which has one for each position", None),
        ("relies or ignores", "relies", None),
        ("not in the gap", "in the gap", None),
        (3, "Gaussian", None),
        ({"gear"}, {"button", "gear"}, None),
        (["b", "a"], ["a", "b"], None),
        (["a", "b", "c"], {"a": 0.5, "b": 0.0, "c": 0.0}, None),
        (["b", "a"], {"a": 0.5, "b": 0.0, "c": 0.0}, None),
        ("token", {"token, masked"}, None),
        (3, {"a"}, None),
        ("nothing", {"a"}, None),
    ],
)
def test_a_wrong_bet_is_said_to_be_wrong_whatever_it_is(capsys, bet, outcome, within):
    assert said(capsys, bet, outcome, within=within).startswith("✗ not this time")


def test_without_a_bet_or_an_outcome_there_is_no_verdict(capsys):
    assert said(capsys, ..., 0.123456) == "○ no bet written; it came out: 0.123\n"
    assert said(capsys, ..., {"b", "a"}).endswith("a, b\n") and said(capsys, ..., set()).endswith("none\n")
    assert said(capsys, "x", None).startswith("○ nothing to compare")
    assert said(capsys, 0.5, float("nan")).startswith("○ nothing to compare")
    assert said(capsys, ..., {"b": 1, "a": 2, "c": 1}).endswith("b = c, a\n")


@pytest.mark.parametrize("bet", ["much", np.ones(2), "nan", [0.7], {}])
def test_what_is_no_number_is_said_to_be_none(capsys, bet):
    found = said(capsys, bet, 0.7)
    assert found.startswith("✗") and "not a number" in found


def test_listed_alternatives_are_right(capsys):
    for bet in ("in the middle", "on the circle"):
        assert said(capsys, bet, "on the circle, and in the middle", also=("on the circle", "in the middle"))[0] == "✓"
