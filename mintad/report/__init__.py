"""Measured beside printed: a run's results, or many runs' as Tables 1 to 10 of the paper (`mintad report`)."""

from mintad.course.lab.one_run import results_table

__all__ = ["results_table"]
