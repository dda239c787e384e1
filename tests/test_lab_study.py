"""What notebook 12 takes from runs, and the figures of the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_builders import mvtec, write_run

from mintad.course.lab import study
from mintad.errors import DataError
from mintad.plots.comparison import dot_plot, null_histogram, step_plot
from mintad.report.figures import growth, table_dots
from mintad.report.runs import read_runs
from mintad.report.select_runs import select_runs
from mintad.report.table_values import table_values
from mintad.scoring import auroc

OURS, BASE = "Feature Prompt", "Vanilla UniAD"


def write_scores(folder, rng: np.random.Generator, shift: float, images: str = "image") -> pd.DataFrame:
    """Scores of 40 test images of two categories."""
    labels = np.tile([0, 1], 20)
    columns = dict.fromkeys(("defect", "masks", "prompt_class", "pred_class"), "")
    table = pd.DataFrame(
        {
            "dataset": "mvtec",
            "category": np.repeat(["bottle", "wood"], 20),
            "split": "test",
            "image": [f"{images}{n}.png" for n in range(40)],
            "label": labels,
            "pred_score": rng.normal(size=40) + shift * labels,
            **columns,
        }
    )
    table.to_csv(folder / "scores.csv", index=False)
    return table


@pytest.fixture
def two(tmp_path):
    """Both methods with seeds 0 and 1; scores of seed 0."""
    tables, rng = {}, np.random.default_rng(0)
    for method, variant, shift in ((OURS, "mint_ad", 2.0), (BASE, "uniad", 1.0)):
        for seed in (0, 1):
            changes = {"train__seed": seed, "model__variant": variant}
            folder = write_run(tmp_path / f"{variant}-{seed}", mvtec(0.8 + shift / 100 + seed / 50), **changes)
            if seed == 0:
                tables[method] = write_scores(folder, rng, shift)
    return tmp_path, tables


def test_means_and_categories(two):
    chosen = select_runs(study.runs_or_shared_models(str(two[0])), 4)
    means = study.means_by_seed(chosen)
    assert means[OURS] == pytest.approx([0.82, 0.84]) and means[BASE] == pytest.approx([0.81, 0.83])
    table = study.by_category(chosen)
    assert table.shape == (15, 2) and (table[OURS] - table[BASE]).to_numpy() == pytest.approx(0.01)


def test_the_bootstrap_takes_the_runs_of_the_least_common_seed(two):
    folder, tables = two
    chosen = select_runs(read_runs([folder]), 4)
    value, drawn = study.image_draws(chosen, (OURS, BASE), draws=50, seed=0)
    for method, table in tables.items():
        groups = [auroc(part["pred_score"], part["label"]) for _, part in table.groupby("category")]
        assert value[method] == pytest.approx(np.mean(groups)) and drawn[method].shape == (50,)
    write_scores(folder / "uniad-0", np.random.default_rng(1), 1.0, images="other")
    with pytest.raises(DataError, match="not tested on the same images"):
        study.image_draws(chosen, (OURS, BASE))
    (folder / "uniad-0" / "scores.csv").unlink()
    with pytest.raises(DataError, match="keeps no scores"):
        study.image_draws(chosen, (OURS, BASE))
    with pytest.raises(DataError, match="no seed in common"):
        study.image_draws(chosen, (OURS, "Query Pool"))


def test_the_dot_plot_has_runs_means_intervals_and_the_papers_numbers(two):
    chosen = select_runs(read_runs([two[0]]), 4)
    figure = table_dots(chosen, table_values(chosen))
    assert "Feature Prompt, 0.830" in figure.layout.title.text
    by_name = {trace.name: trace for trace in figure.data if trace.xaxis == "x"}
    assert sorted(by_name["a run"].x) == pytest.approx([0.81, 0.82, 0.83, 0.84])
    means = by_name["mean and interval"]
    assert list(means.y) == [BASE, OURS] and list(means.x) == pytest.approx([0.82, 0.83])  # the table's order
    assert list(means.error_x.array) == pytest.approx([12.706 * 0.01] * 2, rel=1e-3)  # Student's t, two runs
    assert dict(zip(by_name["the paper's"].y, by_name["the paper's"].x, strict=True))[OURS] == 0.986


def test_single_runs_are_not_drawn_twice():
    figure = dot_plot({"x": {"a": ([1.0], np.nan, np.nan)}}, title="t")
    assert [trace.name for trace in figure.data] == ["mean and interval"]
    assert figure.layout.xaxis.range == pytest.approx((0.95, 1.05))
    assert dot_plot({"x": {"a": ([np.nan], np.nan, np.nan)}}, title="t").layout.xaxis.range is None


def test_panels_are_named_above_and_nothing_is_clipped():
    dots = {"a": ([0.5, 0.9], 0.4, 1.0), "b": ([0.7], np.nan, np.nan)}
    figure = dot_plot({"x": dots, "y <z>": dots}, title="t", unit="mean", marks={"x": {"a": 0.2}}, mark_name="m")
    assert [note.text for note in figure.layout.annotations] == ["x", "y &lt;z&gt;"]
    assert figure.layout.xaxis.title.text == "mean"
    for axis, lowest in ((figure.layout.xaxis, 0.2), (figure.layout.xaxis2, 0.4)):
        low, high = axis.range
        assert lowest - 0.1 < low < lowest and 1.0 < high < 1.1


def test_steps_of_a_method_are_marks_on_its_row():
    nan = float("nan")
    panels = {
        "real": {"PaDiM": {"blind": (0.7, 0.6, 0.8), "told": (0.9, nan, nan)}, "x<y": {"told": (0.95, 0.9, 1.0)}},
        "drawn": {"x<y": {"blind": (0.5, 0.4, 0.6)}},
    }
    figure = step_plot(panels, title="t", unit="AUROC")
    marks = {(trace.xaxis, trace.name): trace for trace in figure.data if trace.mode == "markers"}
    assert set(marks) == {("x", "blind"), ("x", "told"), ("x2", "blind")}
    told = marks["x", "told"]
    assert list(told.x) == [0.9, 0.95] and [round(y) for y in told.y] == [0, 1]
    assert list(figure.layout.yaxis.ticktext) == ["PaDiM", "x&lt;y"]
    assert list(marks["x", "blind"].error_x.array) == pytest.approx([0.1])
    assert {trace.name: trace.showlegend for trace in marks.values() if trace.xaxis == "x"} == {
        "blind": True,
        "told": True,
    }


def test_growth_needs_runs_on_several_sets_of_categories(two, tmp_path):
    assert growth(read_runs([two[0]])) is None
    for variant, loss in (("mint_ad", 0.01), ("uniad", 0.02)):
        for k in (1, 3):
            values = dict(list(mvtec(0.9 - loss * k).items())[:k])
            changes = {"data__categories": tuple(values), "model__variant": variant}
            write_run(tmp_path / "growth" / f"{variant}-{k}", values, **changes)
    figure = growth(read_runs([tmp_path / "growth"]))
    assert figure.layout.title.text.endswith("MINT-AD -0.020, UniAD -0.040")
    assert [list(trace.customdata) for trace in figure.data] == [[1, 3]] * 4
    assert all(np.allclose(trace.x, [1, 3], atol=0.05) for trace in figure.data)
    assert not set(figure.data[0].x) & set(figure.data[1].x), "beside each other"


def test_the_null_histogram_counts():
    figure = null_histogram([0, 1, 1, 2], 2, title="t", unit="u")
    assert list(figure.data[0].x) == [0, 1, 2] and list(figure.data[0].y) == [0.25, 0.5, 0.25]
