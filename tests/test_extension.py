"""One metric, one baseline, one data set and one model variant from a module outside the package, everywhere at once:
the command line's help, a run with its page, a report, and notebook 10."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from sweep_builders import quick_imports
from synthetic import SMALL

from mintad.baselines import BASELINES
from mintad.data.mini import MiniParameters, make_mini
from mintad.errors import ConfigError
from mintad.registry import PLUGINS, load_plugins
from mintad.runs.directory import Run

MODULE = '''
from functools import partial

from mintad.baselines.base import Baseline, baseline
from mintad.data import DATASETS, Dataset
from mintad.data.folder import load_folder
from mintad.model.uniad import UniAD
from mintad.model.variants import variant
from mintad.scoring import metric


@metric("image_gap", "gap of the means", level="image")
def gap(scores):
    means = scores.groupby("label")["pred_score"].mean()
    return float(means[1] - means[0]) if len(means) == 2 else None


@baseline("mean_distance")
class MeanDistance(Baseline):
    """Distance of every token to the mean normal token at its position."""

    title = "Mean distance"

    def fit(self, features, rows):
        self.mean_LF = features.gather(rows).mean(dim=0)
        return self

    def anomaly_map(self, feat_BLF, labels=None):
        return (feat_BLF - self.mean_LF).norm(dim=-1).unflatten(1, self.grid)


@variant("plain_uniad")
class PlainUniAD(UniAD):
    """UniAD under another name."""


DATASETS.add("plates", Dataset(name="plates", title="Steel plates", load=partial(load_folder, dataset="plates")))
'''
NAMES = ("image_gap", "mean_distance", "plain_uniad", "plates")
DRIVER = """
import sys
from typer.testing import CliRunner
from mintad.cli import app

def run(*arguments):
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output

root, overrides = sys.argv[1], sys.argv[2:]
help_text = run("train", "--help")
assert "plates" in help_text and "mean_distance" in help_text
listed = run("list")
assert all(name in listed for name in ("image_gap", "mean_distance", "plain_uniad", "plates"))
run("train", "--data", "plates", "--root", root, "--baselines", "mean_distance", "--out", "run", "--quiet", *overrides)
run("report", "run", "--out", "report", "--table", "1", "--table", "4")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data, and the module's folder on the path of every process that starts."""
    parameters = MiniParameters(categories=("mesh", "capsule"), n_train=8, n_test_good=3, n_test_defect=1, size=64)
    make_mini(tmp_path / "parts", parameters)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "factory_plugin.py").write_text(MODULE, encoding="utf-8")
    path = os.pathsep.join([quick_imports(tmp_path / "quick"), str(tmp_path / "modules")])
    values = {"PYTHONPATH": path, "MINTAD_PLUGINS": "factory_plugin", "COLUMNS": "200"}
    values |= {"MINTAD_CACHE": str(tmp_path / "cache"), "MINTAD_RUNS": str(tmp_path / "runs")}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def check(run: Run) -> None:
    results = run.results()
    assert list(results["method"].unique()) == [
        "plain_uniad+gaussian",
        "plain_uniad",
        "plain_uniad+both",
        "mean_distance",
    ]
    assert "image_gap" in set(results["metric"])
    assert all(name.startswith("plates/") for name in results["category"] if name not in ("mean", "pooled"))
    page = run.page.read_text(encoding="utf-8")
    assert "gap of the means" in page and "Mean distance" in page


def test_parts_from_outside_are_found_by_commands_runs_and_reports(place: Path):
    changes = SMALL | {"train.steps": 6, "train.log_every": 3, "model.variant": "plain_uniad"}
    settings = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-c", DRIVER, str(place / "parts"), *settings]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    check(Run(place / "run"))
    metrics = (place / "report" / "every_metric.csv").read_text(encoding="utf-8")
    page = (place / "report" / "index.html").read_text(encoding="utf-8")
    assert "image_gap" in metrics and "gap of the means" in page
    assert "Mean distance" in page and "plain_uniad" in page and "Steel plates" in page


def test_parts_from_outside_are_found_by_notebook_10_and_papermill_meets_its_run_directory(place: Path):
    """One model per category, with other parameters; with the series, the notebook is run with one model for all."""
    notebook = Path(__file__).resolve().parents[1] / "notebooks" / "10_unified_training.ipynb"
    out = place / "runs" / "outside"
    out.mkdir(parents=True)
    parameters = {"data": "plates", "root": "parts", "variant": "plain_uniad", "baselines": "mean_distance"}
    parameters |= {"preset": "fast", "overrides": json.dumps(SMALL | {"train.steps": 6, "train.log_every": 3})}
    parameters |= {"setting": "separate", "seed": 1, "out_dir": out.name}
    papermill.execute_notebook(
        str(notebook), str(out / "notebook.ipynb"), parameters, cwd=str(place), progress_bar=False
    )
    run, (train, data) = Run(out), (Run(out).config().train, Run(out).config().data)
    check(run)
    assert run.finished and (train.seed, train.steps) == (1, 6)
    assert Path(data.root) == place / "parts", "a relative root is found from the working directory"
    cells = nbformat.read(out / "notebook.ipynb", as_version=4).cells
    text = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))
    assert "outside: 2 model(s), 16 test images" in text and text.count("✓") >= 4
    assert [path.name for path in (place / "runs").iterdir() if path.is_dir()] == [out.name]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("def", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("from mintad.baselines import BASELINES\nBASELINES.add('padim', object())", "ValueError"),
        ("import no_such_library", "ModuleNotFoundError"),
    ],
)
def test_a_plug_in_that_fails_is_named_every_time(code, kind, tmp_path, monkeypatch):
    (tmp_path / "failing_plugin.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert "padim" in BASELINES
    monkeypatch.setenv(PLUGINS, "failing_plugin")
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"'failing_plugin'.*{kind}") as caught:
            load_plugins()
        assert type(caught.value.__cause__).__name__ == kind and not caught.value.fix


@pytest.mark.parametrize("name", ["no_such_plugin", "no_such_package.plugin"])
def test_a_plug_in_that_is_not_found_must_be_put_on_the_path(name, monkeypatch):
    monkeypatch.setenv(PLUGINS, name)
    with pytest.raises(ConfigError, match=f"'{name}'") as caught:
        load_plugins()
    assert "PYTHONPATH" in caught.value.fix


def test_a_plug_in_has_no_relative_name(monkeypatch):
    monkeypatch.setenv(PLUGINS, ".relative")
    with pytest.raises(ConfigError, match="'.relative'"):
        load_plugins()
