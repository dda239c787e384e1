"""The command line, the same as ``mintad`` and ``python -m mintad``: its commands, and how they end on a terminal."""

from mintad.cli.commands import app, main

__all__ = ["app", "main"]
