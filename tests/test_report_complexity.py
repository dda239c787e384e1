"""The complexity table: measured times and counts beside the paper's, never of two machines."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from report_builders import only_row

from mintad.errors import DataError
from mintad.report.build import report
from mintad.report.layout import render_table
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs
from mintad.report.table_values import table_values


def test_complexity_beside_the_paper(tmp_path):
    file = tmp_path / "complexity.csv"
    rows = ["method,batch,metric,value,paper", "MINT-AD,64,seconds,9.5,0.194", "UniAD,1,macs_G,2.6,0.92"]
    file.write_text("\n".join(rows) + "\n")
    all_runs = read_runs([file])
    table = table_values(select_runs(all_runs, 6), all_runs.complexity)
    row = only_row(table, method="MINT-AD", setting="batch 64", metric="seconds")
    assert (row.measured, row.paper) == (9.5, 0.194) and pd.isna(row.difference)
    assert only_row(table, method="UniAD", setting="batch 1", metric="flops_G").measured == 2.6
    shown = render_table(select_runs(all_runs, 6), table)
    assert shown.rows[-1][0] == "MINT-AD" and shown.rows[-1][-1] == "9.5\npaper 0.194"
    file.write_text("# command: x\n# machine: y, 2 cores\n" + "\n".join(rows) + "\n")
    result = report([file], tmp_path / "out", tables=[6])
    assert "machine: y, 2 cores." in result.tables[0].notes and "command" not in " ".join(result.tables[0].notes)


def test_counts_without_seconds_join_those_with(tmp_path):
    head = "method,batch,metric,value,paper\n"
    (tmp_path / "complexity.csv").write_text(f"# machine: y\n# N = 15\n{head}UniAD,1,seconds,2.5,0.032\n")
    (tmp_path / "counts.csv").write_text(f"# machine: z\n# counted alone\n{head}DRAEM,1,macs_G,71.8,152.1\n")
    result = report([tmp_path / "complexity.csv", tmp_path / "counts.csv"], tmp_path / "out", tables=[6])
    values = pd.read_csv(tmp_path / "out" / "table_06.csv")
    assert only_row(values, method="DRAEM", setting="batch 1", metric="flops_G").measured == 71.8
    assert only_row(values, method="UniAD", setting="batch 1", metric="seconds").measured == 2.5
    draem = only_row(values, method="DRAEM", setting="batch 8", metric="seconds")
    assert pd.isna(draem.measured) and draem.status.startswith("not timed")
    assert result.tables[0].notes[-3:] == ["machine: y.", "N = 15.", "counted alone."]


def test_times_of_two_machines_are_refused(tmp_path):
    head, files = "method,batch,metric,value,paper\n", [tmp_path / "here.csv", tmp_path / "there.csv"]
    for file, seconds in zip(files, (2.5, 1.5), strict=True):
        file.write_text(f"# machine: {file.stem}\n{head}UniAD,1,seconds,{seconds},0.032\n")
    with pytest.raises(DataError, match="UniAD, batch 1, .*seconds.*here.csv.*there.csv"):
        read_runs(files)
    with pytest.raises(DataError, match="here.csv"):
        read_runs([files[0], files[0]])
    files[1].write_text(f"# machine: there\n{head}UniAD,8,seconds,1.5,0.032\n")
    assert read_runs(files).complexity["value"].tolist() == [2.5, 1.5]


def test_the_published_complexity_and_counts_are_read_together():
    folder = Path(__file__).parent.parent / "data" / "results"
    table = read_runs([folder / "complexity_cpu.csv", folder / "network_counts.csv"]).complexity
    assert {"UniAD", "DRAEM"} <= set(table["method"]) and table["file"].nunique() == 2
