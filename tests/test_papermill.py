"""The instructor's path: a parameter of notebook 10 that papermill must refuse. `test_extension` runs the notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from mintad.course import notebook
from mintad.errors import ConfigError

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "10_unified_training.ipynb"


def test_a_misspelt_parameter_is_refused_before_anything_is_trained(monkeypatch):
    given = parameterize_notebook(load_notebook_node(str(NOTEBOOK)), {"sed": 1, "out_dir": "refused"})
    cells = [cell.source for cell in given.cells if cell.cell_type == "code"][:3]  # parameters, injected, setup
    assert "notebook.setup(" in cells[2] and "train_setting" not in "".join(cells)
    monkeypatch.setattr(notebook, "get_ipython", lambda: SimpleNamespace(user_ns={"In": ["", *cells]}))
    with pytest.raises(ConfigError, match="'sed'.*'seed'"):
        notebook.setup()


def test_the_shell_of_a_kernel_keeps_the_cell_that_was_injected(tmp_path, monkeypatch):
    """`setup` finds the sources in `In`; to see that they are there needs IPython's shell, and no kernel."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # the shell puts a module of its own there
    shell = InteractiveShell(ipython_dir=str(tmp_path), config=Config({"HistoryManager": {"enabled": False}}))
    for cell in ("seed: int = 0  # of weights", f"{notebook.INJECTED}\nsed = 1"):
        assert shell.run_cell(cell, store_history=True).success
    monkeypatch.setattr(notebook, "get_ipython", lambda: shell)
    with pytest.raises(ConfigError, match="'sed'.*'seed'"):
        notebook.setup()
