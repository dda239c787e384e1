"""Notebooks executed as the site shows them."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from mintad.course.site.mode import RENDERER
from mintad.errors import MintadError


def executed(path: Path, *, timeout: int = 1800) -> nbformat.NotebookNode:
    """Execute a notebook in its folder and return it with its outputs; `timeout` is in seconds, for one cell.

    Raises:
        MintadError: a cell fails; the message names the notebook and the error.
    """
    notebook = nbformat.read(path, as_version=4)
    if all(cell.cell_type != "code" for cell in notebook.cells):
        return notebook  # and no kernel is started
    client = NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute(env=os.environ | {RENDERER: "pages"})
    except CellExecutionError as error:
        raise MintadError(f"{path} fails: {error}") from error
    return notebook
