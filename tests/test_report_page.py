"""`mintad report` as a whole: the page, the LaTeX and CSV files, and that names in them are no markup."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from report_builders import mvtec, only_row, write_run
from typer.testing import CliRunner

from mintad.baselines import BASELINES
from mintad.cli import app
from mintad.errors import ConfigError
from mintad.report import paper
from mintad.report.build import report
from mintad.report.methods import table_row
from mintad.runs.files import RESULTS
from mintad.scoring.metrics import METRICS, metric


def test_the_report_of_the_command_line(three_seeds, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    write_run(three_seeds / "half", {}, finished=False)
    result = CliRunner().invoke(app, ["report", str(three_seeds), "--out", str(out), "--table", "1", "--table", "4"])
    assert result.exit_code == 0, result.output
    assert "6 runs" in result.output and "1, 4" in result.output
    page = (out / "index.html").read_text()
    assert "http" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL) and "half" in page
    assert "Table 4" in page and "Table 5" not in page and "Wilcoxon" in page
    assert sorted(p.name for p in out.iterdir()) == [
        "every_metric.csv", "index.html", "paired_tests.csv", "table_01.csv", "table_01.tex", "table_04.csv",
        "table_04.tex",
    ]  # fmt: skip
    assert len(pd.read_csv(out / "table_01.csv")) == len(paper.load(1))


def test_metrics_baselines_and_variants_from_outside_the_package_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    metric("image_gap", "score <gap>", level="image")(lambda scores: 0.0)
    monkeypatch.setattr(BASELINES, "_entries", {**BASELINES, "median": type("Median", (), {"title": "Median <map>"})})
    folder = write_run(tmp_path / "runs" / "a", mvtec(0.9), baselines={"median": mvtec(0.7)})
    results = pd.read_csv(folder / RESULTS)
    results.loc[len(results)] = ["mint_ad", "unified", 0, "mean", "image_gap", 0.625]
    results.to_csv(folder / RESULTS, index=False)
    result = report([tmp_path / "runs"], tmp_path / "out", tables=[1])
    page = result.page.read_text()
    assert "score &lt;gap&gt;" in page and "Median &lt;map&gt;" in page and "<gap>" not in page
    row = only_row(pd.read_csv(tmp_path / "out" / "every_metric.csv"), metric="image_gap")
    assert (row.method, row.measured, row.seeds) == ("MINT-AD", 0.625, 1)
    assert only_row(
        pd.read_csv(tmp_path / "out" / "table_01.csv"), method="Median <map>", category="mean"
    ).measured == pytest.approx(0.7)
    monkeypatch.setattr("mintad.report.methods.BUILT", {"mine": object})
    assert table_row(4, "mine", "unified", None) == ("mine", "not in the paper")
    assert table_row(4, "mine", "separate", None) is None and table_row(1, "mine", "unified", None) is None


def test_latex_is_balanced_and_escaped(three_seeds, tmp_path_factory):
    result = report([three_seeds], tmp_path_factory.mktemp("out"))
    for file in result.page.parent.glob("*.tex"):
        text = file.read_text()
        begins, ends = re.findall(r"\\begin\{(\w+)\}", text), re.findall(r"\\end\{(\w+)\}", text)
        assert sorted(begins) == sorted(ends) and text.count("{") == text.count("}")
        assert text.isascii() and not re.search(r"(?<!\\)[_%#]", text)
        columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
        body = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert body and all(line.count(" & ") == columns - 1 for line in body)


def test_an_unknown_table_is_refused(three_seeds, tmp_path):
    with pytest.raises(ConfigError, match="11"):
        report([three_seeds], tmp_path / "out", tables=[11])


def test_names_of_runs_are_no_markup(tmp_path):
    write_run(tmp_path / "runs" / "<b>x", mvtec(0.9))
    write_run(tmp_path / "runs" / "<i>y", {}, finished=False)
    page = report([tmp_path / "runs"], tmp_path / "out", tables=[1]).page.read_text()
    assert "&lt;b&gt;x" in page and "&lt;i&gt;y" in page and "<b>x" not in page and "<i>y" not in page
