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
        (0.5, 0.55, 0),
        (0, 0.04, 0.05),
        (20, np.int64(17), 0),
        (torch.tensor(3.0), 3, 0),
        ("gaussian", "Gaussian", 0),
        ("gain 16", "gain 16, lr 0.003", 0),
        ({"gear", "button"}, {"button", "gear"}, 0),
        (["gear", "button"], {"button", "gear"}, 0),
        ("swap", {"swap"}, 0),
        (set(), set(), 0),
        (["a", "b"], ["a", "b"], 0),
    ],
)
def test_a_right_bet_is_said_to_be_right(capsys, bet, outcome, within):
    assert said(capsys, bet, outcome, within=within).startswith("✓ right")


@pytest.mark.parametrize(
    ("bet", "outcome", "within"),
    [
        (0.5, 0.7, 0),
        (0.1, 0, 0.05),
        ("much", 0.7, 0),
        (np.ones(2), 0.7, 0),
        ("", "Gaussian", 0),
        ("gain 1", "gain 16, lr 0.003", 0),
        (3, "Gaussian", 0),
        ({"gear"}, {"button", "gear"}, 0),
        (["b", "a"], ["a", "b"], 0),
        (3, {"a"}, 0),
    ],
)
def test_a_wrong_bet_is_said_to_be_wrong_whatever_it_is(capsys, bet, outcome, within):
    assert said(capsys, bet, outcome, within=within).startswith("✗ not this time")


def test_without_a_bet_or_an_outcome_there_is_no_verdict(capsys):
    assert said(capsys, ..., 0.123456) == "○ no bet written; it came out: 0.123\n"
    assert said(capsys, ..., {"b", "a"}).endswith("a, b\n") and said(capsys, ..., set()).endswith("none\n")
    assert said(capsys, "x", None).startswith("○ nothing to compare")
