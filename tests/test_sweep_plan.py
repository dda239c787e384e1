"""From a sweep's file to its runs: what is refused before anything starts, and names that stay."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import pytest
from sweep_builders import write_notebook, write_spec

from mintad.cli import app
from mintad.errors import ConfigError
from mintad.report import paper
from mintad.report.paper import VARIANTS
from mintad.sweep import load_spec, plan
from mintad.sweep.engine import planned_runs
from mintad.sweep.plan import TRAINING


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep {braces}")  # papermill fills in braces
    write_notebook(folder)
    return folder


def planned(folder, **values):
    return plan(load_spec(write_spec(folder, **values)))


def test_every_combination_and_the_listed_runs(folder):
    fixed = {"rate": 0.5, "overrides": {"a.b": 1}}
    grid = {"seed": [0, 1], "overrides": {"on": {"c.d": True}, "off": {"c.d": False}}}
    runs = planned(folder, fixed=fixed, grid=grid, runs=[{"variant": "b"}, {"seed": 5, "rate": 1}])
    assert len(runs) == 6
    given = [run.given for run in runs]
    for seed, value in itertools.product((0, 1), (True, False)):
        assert {"rate": 0.5, "seed": seed, "overrides": {"a.b": 1, "c.d": value}} in given
    assert {"rate": 0.5, "variant": "b", "overrides": {"a.b": 1}} in given
    assert {"rate": 1, "seed": 5, "overrides": {"a.b": 1}} in given
    assert {run.labels.get("overrides") for run in runs} == {"on", "off", None}
    first = next(run for run in runs if run.labels == {"seed": "1", "overrides": "off"})
    assert first.name.startswith("overrides=off,seed=1-") and first.parameters["variant"] == "a"
    assert "out_dir" not in first.parameters


def test_an_axis_may_set_several_parameters(folder):
    growth = {1: {"variant": "b", "overrides": {"x": 1}}, 2: {"variant": "a"}}
    runs = planned(folder, fixed={"overrides": {"y": 2}}, grid={"growth": growth, "seed": [3]})
    assert [run.labels for run in runs] == [{"growth": "1", "seed": "3"}, {"growth": "2", "seed": "3"}]
    assert runs[0].given == {"overrides": {"x": 1, "y": 2}, "variant": "b", "seed": 3}


def test_names_are_unique_and_do_not_follow_the_order(folder):
    runs = planned(folder, grid={"seed": [0, 1], "overrides": [{"a": 1, "b": 2}, {}]}, fixed={"rate": 0.2})
    reordered = planned(folder, fixed={"rate": 0.2}, grid={"overrides": [{}, {"b": 2, "a": 1}], "seed": [1, 0]})
    assert len({run.name for run in runs}) == 4 and {run.name for run in runs} == {run.name for run in reordered}
    long = planned(folder, grid={"overrides": [{"k": "x" * 300 + letter} for letter in "ab"]})
    assert len({run.name for run in long}) == 2 and max(len(run.name) for run in long) < 120


def test_the_same_run_is_found_again(folder, tmp_path):
    """Written-out defaults, and axes that were fixed before, make no other run."""
    before = planned(folder, fixed={"variant": "b"}, grid={"seed": [0]})[0]
    (tmp_path / before.name).mkdir()
    path = write_spec(folder, grid={"seed": [0, 1], "variant": ["b"]}, fixed={"rate": 0.1})
    names = [run.name for run in planned_runs(load_spec(path, out=tmp_path))]
    assert before.name in names and len(names) == 2
    assert len(planned(folder, grid={"seed": [0, 0]}, runs=[{"seed": 0}])) == 1


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"gird": {"seed": [0]}}, "'gird'.*'grid'"),
        ({"grid": {"sed": [0]}}, "grid.*'sed'.*'seed'"),
        ({"fixed": {"varriant": "a"}}, "fixed.*'varriant'.*'variant'"),
        ({"runs": [{"seed": 0}, {"sede": 0}]}, "run 2.*'sede'.*'seed'"),
        ({"grid": {"overides": {"on": {"model.x": 1}}}}, "'model.x'.*'overrides'"),
        ({"grid": {"sed": {"on": 1}}}, "'sed'.*'seed'"),
        ({"fixed": {"out_dir": "x"}}, "out_dir"),
        ({"grid": {"seed": 3}}, "grid.seed"),
        ({"grid": {"seed": []}}, "grid.seed"),
        ({"grid": {"seed": ["0"]}}, "seed.*int.*'0'"),
        ({"grid": {"seed": [True]}}, "seed.*int.*True"),
        ({"grid": [1]}, "grid"),
        ({"fixed": {"rate": "fast"}}, "rate.*float.*'fast'"),
        ({"fixed": {"rate": float("nan")}}, "rate"),
        ({"grid": {"seed": [1], "b": {"x": {"seed": 2}}}}, "seed"),
        ({"fixed": {"overrides": "{a: 1}"}, "grid": {"overrides": {"x": {"b": 1}}}}, "overrides"),
        ({"name": 3}, "name"),
        ({"out": ""}, "out"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"threads": 0}, "threads"),
        ({"gpu": 1}, "gpu"),
        ({"runs": {"seed": 1}}, "runs"),
        ({"runs": [{}]}, "runs.0"),
        ({"notebook": "tinny.ipynb", "fixed": {"seed": 1}}, "tinny.ipynb"),
    ],
)
def test_a_mistake_is_refused_in_one_line_that_names_it(folder, values, names):
    with pytest.raises(ConfigError, match=names) as refused:
        planned(folder, **values)
    assert "\n" not in str(refused.value)


def test_numbers_are_read_as_everywhere_else(folder):
    path = write_spec(folder, fixed={"rate": 0.5})
    path.write_text(path.read_text().replace("0.5", "1e-4"))
    assert [run.given for run in plan(load_spec(path))] == [{"rate": 1e-4}]


def test_a_damaged_file_is_refused(tmp_path):
    for text, message in (
        ("grid: {seed: [0]\n", "spec.yaml"),
        ("grid: 1\ngrid: 2\n", "'grid'.*line 2"),
        ("[1]", "spec.yaml"),
    ):
        (tmp_path / "spec.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_spec(tmp_path / "spec.yaml")
    with pytest.raises(ConfigError, match="none.yaml"):
        load_spec(tmp_path / "none.yaml")


def test_paths_start_at_the_file(folder, tmp_path, monkeypatch):
    path = write_spec(folder, fixed={"seed": 1})
    monkeypatch.chdir(tmp_path)
    assert load_spec(path).out == folder / "out" and load_spec(path).notebook == folder / "tiny.ipynb"
    assert load_spec(path, out="here").out == tmp_path / "here"


def test_dry_run_lists_and_leaves_nothing(folder):
    from typer.testing import CliRunner

    path = write_spec(folder, grid={"seed": [0, 1]}, out="elsewhere")
    done = CliRunner().invoke(app, ["sweep", str(path), "--dry-run"])
    assert done.exit_code == 0 and "waiting     seed=1-" in done.output and "2 runs" in done.output
    assert not (folder / "elsewhere").exists()


def test_a_training_is_checked_before_it_starts(tmp_path):
    """A notebook with the parameters of `mintad.runs.experiment.configure`: keys of overrides are known beforehand."""
    import nbformat

    names = {"preset": "lesson", "data": "mini", "root": "", "categories": "", "variant": "mint_ad", "device": "cpu"}
    lines = [f"{name}: str = {value!r}  # text" for name, value in names.items()]
    cell = nbformat.v4.new_code_cell("\n".join([*lines, "seed: int = 0  # n", "overrides: dict = {}  # keys"]))
    cell.metadata["tags"] = ["parameters", TRAINING]
    metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), tmp_path / "tiny.ipynb")
    assert len(planned(tmp_path, grid={"overrides": {"off": {"model.adapter": False}}})) == 1
    with pytest.raises(ConfigError, match="'model.adpter'.*'model.adapter'"):
        planned(tmp_path, grid={"overrides": {"off": {"model.adpter": False}}})
    with pytest.raises(ConfigError, match="'unaid'.*'uniad'"):
        planned(tmp_path, grid={"variant": ["uniad", "unaid"]})


def test_parameters_travel_as_they_are(folder):
    """What a job says survives JSON, by which it reaches its process."""
    from mintad.sweep.engine import jobs_of
    from mintad.sweep.status import WORK
    from mintad.sweep.worker import Job

    spec = load_spec(write_spec(folder, fixed={"rate": 1.5e-7, "overrides": {"a": [1, None, True, "x"]}}))
    (spec.out / WORK).mkdir(parents=True, exist_ok=True)
    job = jobs_of(spec, plan(spec))[0]
    assert Job(**json.loads(json.dumps(asdict(job)))) == job


EXAMPLES = sorted((Path(__file__).parents[1] / "benchmarks" / "sweeps").glob("*.yaml"))


@lru_cache
def example(name):
    return plan(load_spec(next(path for path in EXAMPLES if path.stem == name)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_runnable(path):
    """Against notebook 10 and the configuration; and the file says how many trainings it means."""
    assert f"# {len(example(path.stem))} trainings" in path.read_text()
    assert "/runs/" in load_spec(path).out.as_posix()


def test_table_5_turns_on_what_its_labels_say():
    runs = example("table5")
    for run in runs:
        on = paper.switches(run.labels["overrides"])
        assert run.given["overrides"] == {f"model.{name}": value for name, value in on.items()}
    assert {run.labels["overrides"] for run in runs} == set(paper.load(5)["setting"])


def test_table_4_has_all_its_models():
    runs = example("table4")
    assert {run.labels["variant"] for run in runs} == set(VARIANTS.values())


def test_the_growing_sets_lie_inside_each_other():
    runs = example("class_growth")
    sets = {int(run.labels["categories"]): run.given["categories"].split(", ") for run in runs}
    assert sorted(sets) == [1, 2, 5, 10] == sorted(len(set(names)) for names in sets.values())
    assert all(sets[10][:n] == names for n, names in sets.items())
