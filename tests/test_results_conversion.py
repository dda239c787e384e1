"""The kept results were converted without a change of any number: every row is restored and compared by digest."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BEFORE = json.loads((ROOT / "tests" / "results_before.json").read_text(encoding="utf-8"))
"""File -> number and digest of its rows before the conversion; without the files that were measured anew since."""


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("convert_results")
    sys.path.pop(0)


def digest(rows) -> str:
    lines = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_every_value_is_the_one_before_the_conversion(script, name):
    _, rows = script.read(ROOT / "data" / "results" / name)
    if "variant" in rows[0] and "method" in rows[0]:
        restored = [script.restore_sweep(row) for row in rows]
    elif "setting" in rows[0] and "method" in rows[0]:
        restored = [script.restore_compare(row) for row in rows]
    elif name == "elpv_intervals.csv":
        restored = [row | {"metric": "I-AUROC"} for row in rows]
    else:
        names = {new: old for old, new in script.OTHER_METRICS.items() if old != "I-AUROC"}
        keys = {new: old for old, new in script.KEYS.items()}
        restored = [
            {column: script.renamed_keys(cell, keys) for column, cell in row.items()}
            | {"metric": names.get(row["metric"], row["metric"])}
            for row in rows
        ]
    assert len(rows) == BEFORE[name]["rows"] and digest(restored) == BEFORE[name]["sha256"]


def test_a_converted_file_is_left_alone(script, tmp_path, monkeypatch):
    old = "# command: x\nmethod,seed,category,metric,value\npadim_separate,0,mean,class_accuracy,0.5\n"
    file = tmp_path / "old.csv"
    file.write_text(old, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["convert_results.py", str(file)])
    script.main()
    converted = file.read_text(encoding="utf-8")
    assert converted == (
        "# command: x\nmethod,setting,seed,category,metric,value\npadim,separate,0,pooled,class_accuracy,0.5\n"
    )
    script.main()
    assert file.read_text(encoding="utf-8") == converted
