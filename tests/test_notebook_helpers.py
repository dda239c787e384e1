"""What notebooks stand on: parameters, folders, panels, pages."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import ipywidgets
import nbformat
import plotly.graph_objects as go
import pytest
import torch

from mintad import plots
from mintad.config import preset
from mintad.course import notebook, pages, shared_models
from mintad.course.widgets import panel
from mintad.errors import ConfigError, MintadError
from mintad.model import VARIANTS
from mintad.runs import shared
from mintad.runs.shared import shared_model

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
    with pytest.raises(ConfigError, match="no parameter 'pre_set'. Did you mean 'preset'"):
        notebook.refuse_unknown_parameters(["", PARAMETERS, '# Parameters\npre_set = "fast"\n'])


def test_runs_lie_where_the_variable_says_or_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv(notebook.RUNS, str(tmp_path))
    assert shared.runs_dir() == tmp_path
    monkeypatch.delenv(notebook.RUNS)
    monkeypatch.chdir(tmp_path)
    assert shared.runs_dir().name == "runs" and tmp_path not in shared.runs_dir().parents


def test_run_directories_differ_by_configuration_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(notebook.RUNS, str(tmp_path))
    lesson = preset("lesson")
    assert shared.shared_model_dir(lesson) == shared.shared_model_dir(preset("lesson"))
    assert shared.shared_model_dir(lesson) != shared.shared_model_dir(lesson.override(**{"train.seed": 1}))


def test_lessons_are_trained_once_and_a_failure_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINTAD_RUNS", str(tmp_path))
    monkeypatch.setattr(shared_models, "_train", fake_training)
    monkeypatch.setattr(shared_models, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    assert set(shared_models.SHARED_MODELS) > set(VARIANTS) and all(
        map(shared_models.shared_model_config, shared_models.SHARED_MODELS)
    )
    assert shared_models.main(["uniad", "mint_ad"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["mint_ad trained", "uniad trained"]
    assert shared_models.main(["query_pool", "uniad"]) == 1
    assert "failed: query_pool: no weights" in capsys.readouterr().err
    assert shared_models.main(["unaid"]) == 2
    assert "Did you mean 'uniad'" in capsys.readouterr().err


def fake_training(variant, preset_name, threads):
    if variant == "query_pool":
        raise MintadError("no weights")
    return f"{variant} trained"


def test_a_lesson_leaves_random_numbers_alone_whether_it_is_trained_or_loaded(monkeypatch):
    monkeypatch.setattr(shared, "_shared_model", lambda config, baselines: torch.manual_seed(3))
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    shared_model(preset("lesson"))
    assert torch.equal(torch.rand(2), wanted)


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
    with pytest.raises(ValueError, match="1 to 3"):
        panel(lambda: go.Figure())
    with pytest.raises(ValueError, match="1 to 3"):
        panel(lambda **_: go.Figure(), a=[1], b=[1], c=[1], d=[1])
    with pytest.raises(ValueError, match="'a' has no values"):
        panel(lambda a: go.Figure(), a=[])


def test_formulas_become_mathml_and_code_stays():
    text = pages.formulas("The loss $x^2$ and `a$b$`, costs 5$ and $$\\frac{a}{b}$$ end")
    assert text.count("<math") == 2 and "`a$b$`" in text and "costs 5$ and" in text
    assert re.search(r'display="block".*<mfrac>', text)


@pytest.fixture
def small_series(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# 01 · First\n\n$x$ and [second](02_second.ipynb)"),
        nbformat.v4.new_code_cell("from mintad import notebook, plots\nnotebook.setup()"),
        nbformat.v4.new_code_cell('plots.bars({"a": 1.0, "b": 2.0}, title="Found", unit="m")'),
        nbformat.v4.new_code_cell("from mintad.course.widgets import panel\npanel(lambda a: None, a=[1, 2])"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_first.ipynb")
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('raise ValueError("a broken cell")')])
    nbformat.write(broken, tmp_path / "02_second.ipynb")
    return tmp_path


def test_pages_carry_figures_and_need_no_network(small_series, tmp_path):
    page = pages.build(small_series, tmp_path / "site", names=["01"])[0].read_text()
    assert "plotly-graph-div" in page and 'src="plotly.min.js"' in page and "<math" in page
    assert "02_second.html" in page and "Sliders work in the live notebook" in page
    assert not re.findall(r'(?:src|href)="https?://', page)
    assert (tmp_path / "site/plotly.min.js").stat().st_size > 1e6
    assert "01 · First" in (tmp_path / "site/index.html").read_text()


def test_a_failing_notebook_is_named(small_series, tmp_path, capsys):
    with pytest.raises(MintadError, match="02_second.ipynb fails.*"):
        pages.build(small_series, tmp_path / "site", names=["02"])
    assert pages.main([str(small_series), str(tmp_path / "site"), "07"]) == 2
    assert "begins with 07" in capsys.readouterr().err


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
    began = time.perf_counter()
    made = figure()
    assert isinstance(made, go.Figure) and made.layout.title.text == "t"
    assert len(made.to_json()) < 50_000 and time.perf_counter() - began < 5


def test_maps_share_one_scale_and_show_row_0_on_top():
    figure = plots.maps({"a": torch.zeros(3, 3), "b": torch.full((3, 3), 7.0)})
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 7)
    assert figure.layout.yaxis.autorange == figure.layout.yaxis2.autorange == "reversed"
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.maps({})
