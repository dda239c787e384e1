"""Checks of the notebooks' exercises, one module per notebook.

For each exercise a module holds ``check_NAME(fn)``, which tests the student's function, and ``reference_NAME``, which
is tested instead until the exercise is solved. A check prints one line when it passes. Otherwise it raises
`CheckFailed` with a hint about the first fault.
"""

from mintad.course.checks.grading import CheckFailed

__all__ = ["CheckFailed"]
