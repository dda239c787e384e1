"""The helpers of notebooks: parameters, shared models, panels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import ipywidgets
import plotly.graph_objects as go
import pytest
import torch
from typer.testing import CliRunner

from mintad import plots
from mintad.cli import app
from mintad.config import preset
from mintad.course import notebook, shared_models
from mintad.course.widgets import panel
from mintad.errors import ConfigError, MintadError
from mintad.lock import exclusive_lock
from mintad.model import VARIANTS
from mintad.registry import PLUGINS
from mintad.runs import fingerprint, shared
from mintad.runs.fingerprint import PACKAGE, SOURCES, code_fingerprint

PARAMETERS = 'seed: int = 0  # of weights\npreset: str = "lesson"  # configuration'


def test_setup_seeds_and_says_one_line(capsys):
    device = notebook.setup(seed=3, device="cpu")
    drawn = torch.rand(2)
    notebook.setup(seed=3, device="cpu")
    assert torch.equal(torch.rand(2), drawn) and device.type == "cpu"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "seed 3" in lines[0] and torch.__version__ in lines[0]


def test_setup_refuses_unknown_devices():
    with pytest.raises(ConfigError, match="device"):
        notebook.setup(device="gpu")


@pytest.mark.parametrize("injected", ["# Parameters\nseed = 1\n", '# Parameters\nseed = 1\npreset = "fast"\n'])
def test_known_parameters_pass(injected):
    notebook.refuse_unknown_parameters(["", PARAMETERS, injected, "import torch"])
    notebook.refuse_unknown_parameters(["", PARAMETERS, "import torch"])


def test_misspelt_parameters_are_refused():
    with pytest.raises(ConfigError, match="'pre_set'.*'preset'"):
        notebook.refuse_unknown_parameters(["", PARAMETERS, '# Parameters\npre_set = "fast"\n'])


def test_runs_lie_where_the_variable_says_or_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv(shared.RUNS, str(tmp_path))
    assert shared.runs_dir() == tmp_path
    monkeypatch.delenv(shared.RUNS)
    monkeypatch.chdir(tmp_path)
    assert shared.runs_dir().name == "runs" and tmp_path not in shared.runs_dir().parents


def test_shared_models_are_named_by_configuration_and_code(tmp_path, monkeypatch):
    monkeypatch.setenv(shared.RUNS, str(tmp_path))
    lesson = preset("lesson")
    before = shared.shared_model_dir(lesson)
    assert before == shared.shared_model_dir(preset("lesson")) and before.parent == tmp_path
    assert before != shared.shared_model_dir(lesson.override(**{"train.seed": 1}))
    monkeypatch.setattr(shared, "code_fingerprint", lambda: "of other code")
    assert before != shared.shared_model_dir(lesson)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("RATE = 1", "RATE = 2", False),
        ("return RATE", "return -RATE", False),
        ('"""Old."""', '"""New."""', True),
        ("    # a comment", "\n    # another", True),
        ("def rate", "def speed", False),
    ],
)
def test_the_fingerprint_follows_the_code_and_not_the_prose(tmp_path, old, new, same):
    source = 'RATE = 1\n"""Old."""\n\ndef rate():\n    """Old."""\n    # a comment\n    return RATE\n'
    fingerprints = []
    for name, text in ("before", source), ("after", source.replace(old, new)):
        for path in SOURCES:
            file = tmp_path / name / path if path.endswith(".py") else tmp_path / name / path / "module.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text if path == "model" else source)
        fingerprints.append(code_fingerprint(tmp_path / name))
    assert (fingerprints[0] == fingerprints[1]) == same


@pytest.mark.parametrize(
    ("plugins", "changed"),
    [
        ("plugin_file", "plugin_file.py"),
        (" plugin_file, plugin_package", "plugin_package/parts/rates.py"),
        ("plugin_package.rates", "plugin_package/parts/rates.py"),
    ],
)
def test_the_fingerprint_follows_plug_ins_in_every_process(tmp_path, monkeypatch, plugins, changed):
    for name in "plugin_file.py", "plugin_package/__init__.py", "plugin_package/rates.py", changed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    bare = code_fingerprint()
    monkeypatch.setenv(PLUGINS, plugins)
    fingerprint._fingerprint.cache_clear()
    before = code_fingerprint()
    assert before != bare and before == code_fingerprint()
    (tmp_path / changed).write_text("RATE = 2\n")
    assert before == code_fingerprint()  # this process may have imported the old code
    fingerprint._fingerprint.cache_clear()
    assert before != code_fingerprint()
    fingerprint._fingerprint.cache_clear()


@pytest.mark.parametrize("plugins", ["no_such_plugin", "no_such_package.plugin", ".relative"])
def test_a_plug_in_that_is_not_there_has_no_fingerprint(monkeypatch, plugins):
    monkeypatch.setenv(PLUGINS, plugins)
    with pytest.raises(ConfigError, match=plugins):
        code_fingerprint()


def test_the_fingerprint_reads_what_decides_a_run_and_nothing_that_only_shows_it():
    assert all((PACKAGE / source).exists() for source in SOURCES)
    for file in "baselines/padim.py", "data/images.py", "data/records.py", "data/mvtec.py", "scoring/metrics.py":
        assert file.startswith(tuple(f"{source}/" for source in SOURCES))
    for folder in "course", "report", "plots", "runs/page", "sweep":
        assert not f"{folder}/".startswith(tuple(f"{source}/" for source in SOURCES)) and folder not in SOURCES


def test_shared_models_are_trained_side_by_side_and_a_failure_is_named(monkeypatch):
    prepared = []
    monkeypatch.setattr(shared_models, "_train", fake_training)
    monkeypatch.setattr(shared_models, "prepare_data", prepared.append)
    monkeypatch.setattr(shared_models, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(jobs))
    assert set(shared_models.SHARED_MODELS) > set(VARIANTS)
    result = CliRunner().invoke(app, ["notebooks", "train"])
    assert result.exit_code == 1 and "failed: query_pool: no weights" in result.output
    trained = {*shared_models.SHARED_MODELS} - {"query_pool", "mlp_query"}
    assert all(f"{name} trained" in result.output for name in trained)
    assert "mlp_query" not in result.output
    assert prepared == [preset("lesson")], "images and features are made before the processes start, not by each"
    result = CliRunner().invoke(app, ["notebooks", "train", "uniad", "mint_ad"])
    assert result.exit_code == 0 and sorted(result.output.splitlines()) == ["mint_ad trained", "uniad trained"]


def fake_training(name, config, threads):
    if name == "query_pool":
        raise MintadError("no weights")
    return f"{name} trained"


@pytest.fixture
def stubbed(tmp_path, monkeypatch):
    """Replace training by a stub; return the baselines of each of its calls."""
    monkeypatch.setenv(shared.RUNS, str(tmp_path))
    calls = []

    def train(config, out, *, baseline_names, progress):
        torch.manual_seed(3)
        calls.append(baseline_names)
        out.mkdir(exist_ok=True)
        (out / "done").touch()
        return shared.Run(out)

    monkeypatch.setattr(shared, "train_run", train)
    monkeypatch.setattr(shared.Run, "finished", property(lambda run: (run.path / "done").exists()))
    return calls


def test_a_shared_model_is_trained_once_and_leaves_random_numbers_alone(stubbed):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    run = shared.train_shared(preset("lesson"))
    assert shared.train_shared(preset("lesson")).path == run.path and stubbed == [()]
    assert torch.equal(torch.rand(2), expected)
    shared.train_shared(preset("lesson"), baselines=["padim"])
    assert stubbed == [(), ("padim",)], "a finished run gets the baselines that it lacks"


@pytest.mark.parametrize("lock", [lambda path: path.with_suffix(".lock"), lambda path: path / ".lock"])
def test_a_shared_model_waits_for_the_process_that_trains_it(stubbed, capsys, lock):
    """A notebook holds the lock beside the run directory, `mintad train --out` the one inside."""
    run = shared.Run(shared.shared_model_dir(preset("lesson")))
    run.path.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with exclusive_lock(lock(run.path), MintadError("busy")):
            future = pool.submit(shared.train_shared, preset("lesson"))
            with pytest.raises(TimeoutError):
                future.result(0.3)
            assert capsys.readouterr().out.count("waiting for another process") == 1
            shared.train_run(None, run.path, baseline_names="other", progress=False)
        assert future.result(10).path == run.path and stubbed == ["other"]


def test_a_panel_draws_when_a_control_moves():
    asked = []

    def draw(noise, width, filled):
        asked.append((noise, width, filled))
        return go.Figure()

    box = panel(draw, noise=[0.1, 0.2], width=["narrow", "wide"], filled=True)
    slider, dropdown, check = box.children[0].children
    assert not asked, "the static figure above the panel is the default"
    assert isinstance(slider, ipywidgets.SelectionSlider) and slider.continuous_update is False
    slider.value, dropdown.value, check.value = 0.2, "wide", False
    assert asked == [(0.2, "narrow", True), (0.2, "wide", True), (0.2, "wide", False)]


def test_panels_have_one_to_three_controls_with_values():
    with pytest.raises(ValueError, match="not 0"):
        panel(lambda: go.Figure())
    with pytest.raises(ValueError, match="not 4"):
        panel(lambda **_: go.Figure(), a=[1], b=[1], c=[1], d=[1])
    with pytest.raises(ValueError, match="'a'"):
        panel(lambda a: go.Figure(), a=[])


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.gallery({"a": torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()}, title="t"),
        lambda: plots.maps({"a": torch.rand(4, 4), "b": torch.rand(4, 4)}, title="t"),
        lambda: plots.curves([0, 1], {"x": [0, 1]}, title="t", x_title="step", y_title="loss"),
        lambda: plots.bars({"a": (1.0, 0.5, 1.5)}, title="t", unit="u"),
        lambda: plots.embedding(torch.rand(6, 2), ["a", "b"] * 3, [0, 0, 0, 1, 1, 1], title="t"),
    ],
)
def test_teaching_figures_are_titled_and_small(figure):
    made = figure()
    assert isinstance(made, go.Figure) and made.layout.title.text == "t"
    assert len(made.to_json()) < 50_000


def test_maps_share_one_scale_and_show_row_0_on_top():
    figure = plots.maps({"a": torch.zeros(3, 3), "b": torch.full((3, 3), 7.0)})
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 7)
    assert figure.layout.yaxis.autorange == figure.layout.yaxis2.autorange == "reversed"
    with pytest.raises(ValueError):
        plots.maps({})
