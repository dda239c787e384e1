"""Checks of the notebooks' exercises, one module a notebook.

A module holds, for each exercise, ``check_NAME(fn)``, which takes the student's function and tests one property, and
``reference_NAME``, which stands in until the exercise is solved. A check prints one line when it passes and raises
`CheckFailed` with a hint when it does not.
"""

from mintad.course.checks.grading import CheckFailed

__all__ = ["CheckFailed"]
