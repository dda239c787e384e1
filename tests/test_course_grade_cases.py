"""Hidden cases: right answers get their points, and wrong, typed-in or endless ones do not."""

from __future__ import annotations

import importlib
import time

import numpy as np
import pytest
import torch
from grade_builders import Here

from mintad.course.checks import CheckFailed
from mintad.course.checks.cases import Student, hidden
from mintad.course.grade import open_exercises
from mintad.course.grade.judge import hidden_cases, judge
from mintad.course.grade.verdict import FULL, NONE, PARTIAL
from mintad.course.points import load_points

CHECKS = sorted(item.check for items in load_points().notebooks.values() for item in items.values())


def judged_here(check, function, seed):
    student = Student(function, lambda path, *a: getattr(open_exercises, path.rpartition(".")[2])(function, *a))
    hidden_cases(check, student, np.random.default_rng(seed))


@pytest.mark.parametrize("check", CHECKS)
def test_hidden_cases_pass_right_answers_and_no_wrong_or_typed_in_one(check):
    module, name = check.split(".")
    reference = getattr(importlib.import_module(f"mintad.course.checks.{module}"), f"reference_{name}")
    right = importlib.import_module(f"right.{module}").RIGHT[check]
    for function in right if check == "interference.new_shape" else [reference, *right]:
        judged_here(check, function, 1)
    by_the_check_alone = {"jitter": 1, "feature_jitter": 1, "pick_query": 1, "with_class_token": 1}
    # wrong where a rounding error decides, which is never drawn; of another type, which only the check asks for
    by_the_check_alone |= {"conformal_threshold": 1, "mean_std": 1, "neighbour_mask": 1}
    wrong = importlib.import_module(f"wrong.{module}").WRONG[check]
    passing = 0
    for function in wrong:
        try:
            judged_here(check, function, 1)
        except Exception:
            continue
        passing += 1
    assert passing <= by_the_check_alone.get(name, 0)
    if hidden(check).draw:  # an answer that is right for one case of one seed
        typed = reference(*hidden(check).draw(np.random.default_rng(3)))
        with pytest.raises(CheckFailed):
            judged_here(check, lambda *_: typed, 4)


class Label(torch.nn.Module):
    """A network that is right, however small."""

    def __init__(self, classes, settings):
        super().__init__()
        self.gate = torch.nn.Parameter(torch.randn(classes, 2))

    def forward(self, x, label):
        return x * (label @ self.gate)


@pytest.mark.parametrize("classes", [3, 4, 5])
def test_a_right_network_gets_its_points_with_any_number_of_classes(monkeypatch, classes):
    """The case draws about 200 points, which are not always a multiple of the classes."""
    module = importlib.import_module("mintad.course.checks.cases.interference")
    monkeypatch.setattr(module, "whole", lambda rng, low, high: classes if (low, high) == (3, 5) else low)
    assert judge(Here(Label), "02.ipynb", "new_model", "interference.new_model", seed=0).state == FULL


def test_a_network_is_trained_by_the_judge_so_that_the_sandbox_cannot_say_it_is_right(monkeypatch):
    task = ("02.ipynb", "new_model", "interference.new_model")
    assert judge(Here(Label), *task, seed=0).state == FULL
    forged = {"weights": [torch.zeros(2, 3)], "direct": True}
    monkeypatch.setattr(open_exercises, "networks", lambda *_: forged)
    answers = {
        "anything": lambda points, w: torch.rand_like(points) + 0 * w.sum(),
        "the points": lambda points, w: points + 0 * w.sum(),
        "a constant": lambda points, w: torch.rand(points.shape),
        "a text": lambda points, w: "solved",
    }
    for answer in answers.values():
        monkeypatch.setattr(
            open_exercises, "outputs", lambda f, k, d, points, label, w, answer=answer: answer(points, w)
        )
        assert judge(Here(Label), *task, seed=0).state == NONE


def test_answers_typed_in_for_the_notebooks_check_fail_the_hidden_cases():
    typed = {(1, 1, 5, 3): 15, (1, 2, 5, 3): 30, (15, 4, 196, 256): 3_010_560}
    task = ("05.ipynb", "pool_parameters", "queries.pool_parameters")
    verdict = judge(Here(lambda *sizes: typed.get(sizes, 0)), *task, seed=0)
    assert verdict.state == PARTIAL and "a hidden case (" in verdict.message
    assert judge(Here(lambda a, b, c, d: a * b * c * d), *task, seed=0).state == FULL
    assert judge(Here(lambda *sizes: 15), *task, seed=0).state == NONE


def test_a_result_that_cannot_be_judged_in_time_costs_its_author_alone(monkeypatch):
    monkeypatch.setattr("mintad.course.grade.judge.OWN_SECONDS", 0.2 - 8 * Here.seconds)

    class Slow(float):
        def __float__(self):
            time.sleep(30)

    verdict = judge(Here(lambda *_: Slow()), "05.ipynb", "pool_parameters", "queries.pool_parameters", seed=0)
    assert verdict.state == NONE and "gave up" in verdict.message


def test_the_same_seed_draws_the_same_cases():
    draw = hidden("features.nearest_score").draw
    first, again, other = (draw(np.random.default_rng(seed))[0] for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first[:1, :1], other[:1, :1])
