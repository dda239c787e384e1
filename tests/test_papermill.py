"""The instructor's path: a parameter of notebook 10 that papermill must refuse. `test_extension` runs the notebook."""

from __future__ import annotations

from pathlib import Path

import papermill
import pytest
from sweep_builders import quick_imports

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "10_unified_training.ipynb"


def test_a_misspelt_parameter_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))
    parameters, output = {"sed": 1, "out_dir": "refused"}, tmp_path / "refused.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="'sed'.*'seed'"):
        papermill.execute_notebook(str(NOTEBOOK), str(output), parameters, cwd=str(tmp_path), progress_bar=False)
    assert not (tmp_path / "runs").exists()
