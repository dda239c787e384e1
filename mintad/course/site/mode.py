"""How a notebook's kernel knows that it runs for the site."""

from __future__ import annotations

import os

RENDERER = "MINTAD_RENDERER"
"""Environment variable: plotly's renderer of a notebook; 'pages' while the site is made."""


def for_pages() -> bool:
    """Return whether this notebook runs to become a page, where no kernel answers and no reader has a progress."""
    return os.environ.get(RENDERER) == "pages"
