"""benchmarks/small_defects.py: what is measured once is not measured again."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest


@pytest.fixture
def benchmark(monkeypatch):
    """The benchmark as a module that trains nothing, and the numbers of tiles for which it would have."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    module, trained = importlib.import_module("small_defects"), []
    rows = pd.DataFrame({"category": ["gear"], "pixels": [4], "image_auroc": [0.5]})
    monkeypatch.setattr(module, "draw", lambda *_: Path())
    monkeypatch.setattr(module, "configuration", lambda data, tiles, *_: trained.append(tiles))
    monkeypatch.setattr(module, "train_run", lambda *_: SimpleNamespace(path=Path()))
    monkeypatch.setattr(module, "measure", lambda _: (rows, 0.1))
    return module, trained


def test_resume_begins_without_a_table_and_keeps_the_rows_of_one(benchmark, tmp_path: Path):
    module, trained = benchmark
    for tiles in ([1], [1, 2]):
        module.main(tmp_path / "table.csv", tiles, [0], 1, 1, 1, True)
    assert trained == [1, 2]
    assert pd.read_csv(tmp_path / "table.csv", comment="#")["tiles"].tolist() == [1, 2]
