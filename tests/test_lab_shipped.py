"""Results that notebooks read from the repository."""

import pytest

from mintad.course.lab.shipped import RESULTS, shipped_results
from mintad.errors import DataError


def test_tables_are_read_without_their_comments():
    table = shipped_results("table4_mini")
    assert {"method", "seed", "category", "metric", "value"} <= set(table.columns)
    assert (RESULTS / "table4_mini.csv").read_text(encoding="utf-8").startswith("#")


def test_a_missing_table_is_named():
    with pytest.raises(DataError, match=r"nothing\.csv"):
        shipped_results("nothing")
