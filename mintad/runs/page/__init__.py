"""The results page of a run: one HTML file that opens anywhere, offline."""


def write_page(path, **parts):
    """Write the page."""
    path.write_text("<html></html>")


__all__ = ["write_page"]
