"""An answer is one's own work: the wrapped reference, withheld functions and the checks' helpers are refused."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
import sys
from types import FunctionType

import numpy as np
import pytest
import torch
from check_builders import EXERCISES, RIGHT, each, failures, parts

from mintad.course.checks import CheckFailed, whole
from mintad.course.checks.cases import hidden
from mintad.course.checks.guard import Guard


def wrapped(reference):
    """The reference in what might hide it."""

    class Callable:
        run = staticmethod(reference)

        def __call__(self, *arguments):
            return self.run(*arguments)

    def swallowing(*arguments):
        try:
            return reference(*arguments)
        except BaseException:
            return None

    yield lambda *arguments: reference(*arguments)
    yield functools.partial(reference)
    yield functools.wraps(reference)(lambda *arguments: reference(*arguments))
    yield Callable()
    yield swallowing
    yield lambda *arguments: [*map(lambda _: reference(*arguments), [0])][0]
    if isinstance(reference, FunctionType):
        yield FunctionType(reference.__code__, reference.__globals__)
    else:
        yield type("Mine", (reference,), {})


@each
def test_the_wrapped_reference_is_refused(exercise):
    check, reference = parts(exercise)
    for hidden_reference in wrapped(reference):
        with pytest.raises(CheckFailed, match="this calls .*write it yourself"):
            check(hidden_reference, seed=1)


@pytest.mark.filterwarnings("ignore")  # NumPy's functions get tensors, and those of PyTorch arrays
@pytest.mark.parametrize("path", sorted({path for exercise in EXERCISES for path in hidden(exercise).withheld}))
def test_withheld_functions_of_libraries_are_noticed(path):
    function = pkgutil.resolve_name(path)
    method = vars(function)["forward"] if isinstance(function, type) else function
    numbers, several = np.arange(6), [[torch.ones(3, 4)] * n for n in range(9)]
    with Guard([function]).watching() as called:
        for given in ([numbers % 2, numbers], [numbers[:, None], numbers % 2], *several):
            for named in ({}, {"same_seeds": True}):
                if not called:  # the number of arguments has to be right, the call need not succeed
                    with contextlib.suppress(Exception):
                        method(*given, **named)
    assert called


@pytest.mark.filterwarnings("ignore")  # a helper divides by 0 on the numbers of another exercise
@each
def test_no_helper_of_the_checks_is_an_answer(exercise):
    own, name = importlib.import_module(f"mintad.course.checks.{exercise.split('.')[0]}"), exercise.split(".")[1]
    for module in (own, whole):
        for key, helper in list(vars(module).items()):
            written_here = inspect.isfunction(helper) and helper.__module__ == module.__name__
            if written_here and key not in (f"check_{name}", f"reference_{name}"):
                with pytest.raises(CheckFailed):
                    parts(exercise)[0](helper, seed=1)


def test_a_curve_of_scikit_learn_is_no_ones_own_work():
    metrics = importlib.import_module("sklearn.metrics")
    aurocs = [
        lambda s, y: metrics.auc(*metrics.roc_curve(y, s)[:2]),
        lambda s, y: np.trapezoid(*metrics.roc_curve(y, s)[1::-1]),
        lambda s, y: metrics.RocCurveDisplay.from_predictions(y, s).roc_auc,
        lambda s, y: importlib.import_module("scipy.stats").mannwhitneyu(s[y == 1], s[y == 0]).statistic,
    ]
    precision = [
        lambda s, y: -np.diff(metrics.precision_recall_curve(y, s)[1]) @ metrics.precision_recall_curve(y, s)[0][:-1]
    ]
    for exercise, answers in (("scoring.auroc", aurocs), ("scoring.average_precision", precision)):
        for answer in answers:
            assert all("write it yourself" in hint for hint in failures(exercise, answer, 1))


def test_a_profiler_of_ones_own_survives():
    mine = lambda *_: None  # noqa: E731
    sys.setprofile(mine)
    try:
        parts("queries.pull")[0](RIGHT["queries.pull"][0])
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)
