"""The paired tests of a report: pairs are of categories, with the seeds together."""

from __future__ import annotations

import pytest
from report_builders import MVTEC, only_row, write_run

from mintad.report.pairs import pairs
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs


def test_pairs_are_of_categories_with_the_seeds_together(three_seeds):
    paired = only_row(
        pairs(select_runs(read_runs([three_seeds]), 1)), second="UniAD, unified"
    )  # Table 1 prints no pixel AP
    assert (paired.first, paired.categories, paired.won, paired.lost) == ("MINT-AD, unified", 15, 15, 0)
    assert paired.same_seeds and paired.difference == pytest.approx(0.05 - 0.007)
    assert paired.p_value == pytest.approx(2**-14) and paired.low < paired.difference < paired.high
    assert paired.high - paired.low < 0.01  # the seeds' common shift cancels


def test_table_3_is_paired_by_category(tmp_path):
    values = {f"mvtec/{n}": 0.9 for n in MVTEC} | {f"visa/{n}": 0.6 for n in range(12)}
    values |= {f"btad/{n}": 0.3 for n in range(3)}
    write_run(tmp_path / "a", values, data="merged")
    lower = {key: value - 0.1 - n / 1000 for n, (key, value) in enumerate(values.items())}
    write_run(tmp_path / "b", lower, data="merged", model__variant="uniad")
    paired = only_row(pairs(select_runs(read_runs([tmp_path]), 3)), metric="image_auroc")
    assert (paired.categories, paired.won) == (30, 30)
