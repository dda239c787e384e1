"""The results page of a run: one HTML file that opens anywhere, offline."""

from mintad.runs.page.page import write_page

__all__ = ["write_page"]
