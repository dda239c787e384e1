"""The results page of a run: one HTML file that opens anywhere, offline."""

from mintad.runs.page.page import results_page

__all__ = ["results_page"]
