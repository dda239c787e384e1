"""From a sweep's file to its runs: what is refused before anything starts, and names that stay."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import pytest
from sweep_builders import write_notebook, write_spec

from mintad.baselines import BASELINES
from mintad.cli import app
from mintad.config import is_published_uniad
from mintad.config.tree import UNIAD_RECIPE
from mintad.data import DATASETS
from mintad.errors import ConfigError
from mintad.features.backbone import timm_model
from mintad.features.weights import PACKAGES
from mintad.report import paper
from mintad.report.methods import table_row
from mintad.report.paper import VARIANTS
from mintad.runs.experiment import configure, read_names
from mintad.sweep import Status, load_spec, plan, read_status
from mintad.sweep.engine import planned_runs
from mintad.sweep.plan import TRAINING
from mintad.sweep.status import read_plan


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
        ({"grid": {"seed": list(range(200)), "rate": [n / 9 for n in range(100)]}}, "20,000"),
        ({"runs": [{}]}, "runs.0"),
        ({"notebook": "tinny.ipynb", "fixed": {"seed": 1}}, "tinny.ipynb"),
        ({"notebook": "none", "fixed": {"baselines": "padim, simplnet"}}, "'simplnet'.*'simplenet'"),
        (
            {"notebook": "none", "fixed": {"overrides": {"baselines.options.simplnet.steps": 3}}},
            "'simplnet'.*'simplenet'",
        ),
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


def test_a_damaged_file_is_refused(tmp_path, folder, make_pipe):
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
    with pytest.raises(ConfigError, match="named pipe"):
        load_spec(make_pipe(tmp_path / "pipe"))
    with pytest.raises(ConfigError, match="device"):
        planned(folder, notebook="/dev/zero", fixed={"seed": 1})
    (folder / "circle").symlink_to(folder / "circle")
    assert load_spec(write_spec(folder, out="circle", fixed={"seed": 1})).out == folder / "circle"


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
    assert len(planned(tmp_path, grid={"overrides": {"off": {"model.adapter": "random"}}})) == 1
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


@pytest.mark.parametrize("name", ["table5", "table5_mean", "table5_token"])
def test_table_5_turns_on_what_its_labels_say(name):
    for run in example(name):
        on = paper.switches(run.labels["overrides"])
        on["adapter"] = "learned" if on["adapter"] else "projection"
        given = {key: value for key, value in run.given["overrides"].items() if key.startswith("model.")}
        assert given == {f"model.{name}": value for name, value in on.items()}
    if name == "table5":
        assert {run.labels["overrides"] for run in example(name)} == set(paper.load(5)["setting"])


def config_of(run):
    names = ("preset", "data", "variant", "overrides", "seed")
    return configure(**{name: run.given[name] for name in names if name in run.given})


@pytest.mark.parametrize(("reading", "mse", "prior"), [("mean", "element", "element"), ("token", "token", "token")])
def test_readings_of_the_losses_differ_from_ours_in_nothing_else(reading, mse, prior):
    """Each row is one of Table 4 or 5, but for the reductions and, all-mean, the printed lambda_a."""
    ours = {(*row_of(run), run.given["data"], run.given["seed"]): config_of(run) for run in rows("table4", "table5")}
    found = rows(f"table4_{reading}", f"table5_{reading}")
    changes = {"train.mse_reduction": mse, "train.prior_reduction": prior}
    changes |= {"train.weight_ce": 1.0} if reading == "mean" else {}
    for run in found:
        assert config_of(run) == ours[(*row_of(run), run.given["data"], run.given["seed"])].override(**changes)
    missing = {row_of(run) for run in rows("table4", "table5")} - {row_of(run) for run in found}
    without_prior = {("uniad", ""), ("query_pool", ""), ("class_token", ""), ("text_prompt", ""), ("mlp_query", "")}
    settings = ("adapter", "adapter+class_loss", "adapter+class_loss+class_query")
    without_prior |= {("mint_ad", setting) for setting in settings}
    assert missing == {("mint_ad", "none")} | (without_prior if reading == "token" else set())


def rows(*names):
    return [run for name in names for run in example(name)]


def row_of(run):
    """Variant and Table 5's setting, '' for the full model, which both tables have."""
    label = run.labels.get("overrides", "")
    return run.given["variant"], "" if label == "adapter+class_loss+prior_loss+class_query" else label


def test_table_7_takes_the_root_before_the_mean():
    scoring = {(config_of(run).scoring.distance, config_of(run).scoring.image_score) for run in example("table7")}
    assert scoring == {("root", "mean")}


@pytest.mark.parametrize("name", ["table8", "table8_lite"])
def test_table_8_has_the_printed_backbones_with_uniads_stages_and_weights(name):
    settings = set()
    for run in example(name):
        config = config_of(run)
        row = table_row(8, run.given["variant"], "unified", config)
        assert row[1] == run.labels["overrides"]
        settings.add(row[1])
        resnet = row[1].startswith("resnet")
        assert config.features.reductions == ((4, 8, 16) if resnet else (2, 4, 8, 16))
        assert timm_model(config.features.backbone).endswith(".tv_in1k") == resnet
    offline = {architecture.removeprefix("tf_") for architecture in PACKAGES}
    if name == "table8":
        assert settings == set(paper.load(8)["setting"]) | offline
    else:
        assert settings == offline - {"efficientnet_lite0"}


def test_uniad_as_published_and_its_network_in_our_recipe():
    assert all(is_published_uniad(config_of(run)) for run in example("uniad_published"))
    uniad = [config_of(run) for run in rows("table1", "table4", "uniad_recipe") if run.given["variant"] == "uniad"]
    assert uniad and not any(map(is_published_uniad, uniad))
    recipe = {key: value for key, value in UNIAD_RECIPE.items() if key != "train.batch_size"}
    assert all(config == config.override(**recipe) for config in map(config_of, example("uniad_recipe")))


def test_table_4_has_all_its_models():
    runs = example("table4")
    assert {run.labels["variant"] for run in runs} == set(VARIANTS.values())


def test_company_has_every_baseline_as_one_for_all_and_as_one_a_class():
    runs = example("company")
    assert {name for run in runs for name in read_names(run.given.get("baselines", ""))} == set(BASELINES)
    sizes = {"mini": len(DATASETS["mini"].categories), "merged": 8}
    for run in runs:
        config, each = config_of(run), run.given.get("setting") == "separate"
        share = 1 / sizes[config.data.name] if each else 1
        assert config.baselines.length == pytest.approx(share, rel=1e-3) and config.baselines.setting == "lesson"
        assert config.train.steps == round(1600 * share), "as many steps together as the one for all"


def test_the_growing_sets_lie_inside_each_other():
    runs = example("class_growth")
    sets = {int(run.labels["categories"]): run.given["categories"].split(", ") for run in runs}
    assert sorted(sets) == [1, 2, 5, 10] == sorted(len(set(names)) for names in sets.values())
    assert all(sets[10][:n] == names for n, names in sets.items())


@pytest.mark.parametrize(
    "content", [b"[1]", b"null", b"\xff", b"[" * 9999, b'{"state": "done"}', b'{"state": "finished", "attempts": "x"}']
)
def test_a_damaged_state_means_that_the_run_is_run_again(tmp_path, content):
    (tmp_path / "status.json").write_bytes(content)
    (tmp_path / ".sweep").mkdir()
    (tmp_path / ".sweep/plan.json").write_bytes(content)
    assert read_status(tmp_path) == Status()
    assert read_plan(tmp_path) == {}
