"""Notebook 13: each family's idea in the plane, many methods on one image, one model a class against one for all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from mintad.baselines import BASELINES
from mintad.baselines.kmeans import KMeans
from mintad.baselines.nearest import NearestNeighbour
from mintad.baselines.padim import PaDiM
from mintad.config import preset
from mintad.course.checks import roads as checks
from mintad.course.lab import idea_planes, same_image, separate_unified, shipped
from mintad.course.lab.idea_planes import of_baseline, read_plane
from mintad.report import paper
from mintad.runs.shared import TrainedRun

POINTS, PRODUCT = idea_planes.two_products(0)
UNSEEN, _ = idea_planes.two_products(1)
TRAINED = {
    "flow": lambda **how: idea_planes.flow(POINTS, checks.reference_coupling, **how),
    "discriminator": lambda **how: idea_planes.discriminator(POINTS, checks.reference_simplenet_loss, **how),
    "distillation": lambda **how: idea_planes.distillation(POINTS, checks.reference_distillation, **how),
    "one class": lambda **how: idea_planes.one_class(POINTS, **how),
    "autoencoder": lambda **how: idea_planes.autoencoder(POINTS, width=1, **how),
    "codebook": lambda **how: idea_planes.codebook(POINTS, checks.reference_look_up, **how),
}


def test_one_gaussian_fills_the_gap_and_a_memory_does_not():
    made = {"padim": PaDiM((1, 1)), "nearest": NearestNeighbour((1, 1)), "kmeans": KMeans((1, 1), clusters=6)}
    gap = {name: read_plane(of_baseline(baseline, POINTS), UNSEEN, PRODUCT).gap for name, baseline in made.items()}
    assert gap["padim"] > 0.8 > 0.05 > gap["nearest"] and gap["padim"] > gap["kmeans"] > gap["nearest"]


def test_one_is_the_threshold_and_accepts_95_percent_of_normal_tokens():
    plane = read_plane(lambda x: x.norm(dim=1), UNSEEN, PRODUCT)
    threshold, median = UNSEEN.norm(dim=1).quantile(0.95), UNSEEN.norm(dim=1).median()
    corner = (2**0.5 * idea_planes.REACH - median) / (threshold - median)
    assert plane.score_HW.shape == (idea_planes.SIDE,) * 2 and plane.score_HW[0, 0] == pytest.approx(float(corner))
    assert plane.score_HW.min() < 1 and 0 < plane.beyond < 1


def test_the_model_of_one_product_is_judged_by_its_own_tokens():
    plane = read_plane(lambda x: x[:, 1], UNSEEN, PRODUCT, own=1)
    own = UNSEEN[PRODUCT == 1, 1]
    highest = (idea_planes.REACH - own.median()) / (own.quantile(0.95) - own.median())
    assert plane.score_HW[-1, 0] == pytest.approx(float(highest), rel=1e-4)


def test_row_zero_of_a_plane_lies_at_the_bottom():
    plane = read_plane(lambda x: x[:, 1], UNSEEN, PRODUCT)
    assert (np.diff(plane.score_HW[:, 0]) > 0).all() and np.ptp(plane.score_HW, axis=1).max() == pytest.approx(0)


def test_between_is_what_has_both_products_on_opposite_sides():
    first, second = torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    places = torch.tensor([[0.0, 0.0], [0.0, 0.2], [0.0, 0.9], [2.0, 0.0], [-2.0, 0.0]])
    assert idea_planes.between(places, first, second).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("name", TRAINED)
def test_a_score_is_finite_and_the_same_for_a_seed(name):
    first, again, other = (TRAINED[name](steps=5, seed=seed)(UNSEEN) for seed in (1, 1, 2))
    assert first.shape == (len(UNSEEN),) and torch.isfinite(first).all()
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("name", TRAINED)
def test_training_makes_normal_tokens_more_usual_than_far_ones(name):
    score = TRAINED[name](steps=120)
    far = torch.tensor([[-2.0, -2.0], [2.0, 2.0]])
    with torch.no_grad():
        assert score(far).min() > score(UNSEEN).quantile(0.9)


def test_the_students_function_is_the_one_that_trains():
    called = []

    def loss(*arguments):
        called.append(len(arguments))
        return checks.reference_simplenet_loss(*arguments)

    idea_planes.discriminator(POINTS, loss, steps=3)
    assert called == [5] * 3


@pytest.mark.parametrize("drop_unused", [False, True])
def test_unused_codes_are_dropped_if_asked_for(drop_unused):
    books = []

    def look_up(tokens, book):
        books.append(book.detach())
        return checks.reference_look_up(tokens, book)

    score = idea_planes.codebook(POINTS, look_up, codes=60, steps=60, drop_unused=drop_unused)
    score(POINTS)
    assert len(books[0]) == 60 and (len(books[-1]) < 60) == drop_unused


def test_a_drawing_says_how_much_of_the_gap_is_accepted():
    planes = {"a": idea_planes.Plane(np.zeros((4, 4)), gap=0.5, beyond=0.0)}
    figure = idea_planes.draw(planes, POINTS, PRODUCT, title="found")
    assert [note.text for note in figure.layout.annotations] == ["a: 50% of the gap"]


def test_few_images_are_taken_of_each_category_and_kind():
    kinds = [("train", "good", 0)] * 5 + [("test", "good", 0)] * 4 + [("test", "hole", 1)] * 4
    rows = [(category, *kind) for category in "ab" for kind in kinds]
    few = same_image.few_images(pd.DataFrame(rows, columns=["category", "split", "defect", "label"]), train=3, test=2)
    assert few.groupby(["category", "split", "defect"]).size().tolist() == [2, 2, 3] * 2
    assert few.index.tolist() == list(range(14))


def test_methods_see_every_image_and_are_drawn_beside_it(finished, monkeypatch):
    monkeypatch.setattr(same_image, "STEPS", 2)
    trained = TrainedRun.load(finished)
    prepared, config = trained.prepared, trained.config
    rows = prepared.test_rows
    shown = prepared.records.iloc[rows].reset_index(drop=True)
    seen = {name: same_image.see(name, prepared, config, rows) for name in ("padim", "uniad")}
    seen["mint_ad"] = same_image.see_trained(finished, shown["image"][::-1])
    for made in seen.values():
        assert len(made.maps) == len(made.scores) == len(rows) and np.isfinite(made.maps).all()
    assert seen["mint_ad"].scores.tolist() == finished.scores()["pred_score"].tolist()[::-1]
    seen["mint_ad"] = same_image.see_trained(finished, shown["image"])
    case = int(np.flatnonzero(shown["label"] == 1)[0])
    captions = [note.text for note in same_image.side_by_side(shown, seen, case, title="found").layout.annotations]
    own = (shown["category"] == shown["category"][case]) & (shown["label"] == 0)
    below = int((seen["padim"].scores[own.to_numpy()] < seen["padim"].scores[case]).sum())
    assert captions[0].startswith(shown["category"][case]) and f"PaDiM: {below} of {own.sum()}" in captions
    assert ("ground truth" in captions) == bool(shown["masks"][case])


def test_a_baseline_that_trains_is_trained_briefly():
    assert same_image.brief_options("simplenet")["steps"] < 1_000 and same_image.brief_options("padim") == {}
    method = BASELINES["omnial"](preset("paper").features, **same_image.brief_options("omnial"))
    assert method.setting.image_size < 100 and method.steps == same_image.STEPS


def test_a_trained_baseline_that_is_not_listed_is_brief_too(monkeypatch):
    monkeypatch.setattr(same_image, "BRIEFLY", {})
    assert same_image.brief_options("cfa") == {"steps": same_image.STEPS} and same_image.brief_options("kmeans") == {}


def settings_of(table, source, method):
    row = table[(table["source"] == source) & (table["method"] == method)]
    return row[["separate", "unified", "seeds"]].iloc[0].tolist() if len(row) else None


def test_the_papers_falls_are_those_of_its_table_1():
    table = separate_unified.separate_and_unified()
    for method, printed in {"SimpleNet": [0.994, 0.730], "CutPaste": [0.961, 0.775], "PaDiM": [0.958, 0.842]}.items():
        assert settings_of(table, separate_unified.PAPER, method)[:2] == printed
        assert printed[1] == paper.value(1, method, "mean", "image_auroc", "unified")
    assert table["source"].iloc[0] == separate_unified.PAPER


def test_ours_are_those_of_the_shipped_tables():
    table, known = separate_unified.separate_and_unified(), shipped.shipped_results("class_knowledge_intervals")
    value = known.set_index(["data", "method", "setting"])["image_auroc"]
    expected = [value["real-8", "padim", "told"], value["real-8", "padim", "blind"], 3]
    assert settings_of(table, "here: real-8", "PaDiM") == expected
    assert settings_of(table, "here: mini", "k-means")[2] == 1
    assert settings_of(table, "here: mini", "MINT-AD") is None  # "told" is not a model a class


HEADER = "# command: made by a test\nmethod,setting,seed,category,metric,value\n"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results that has no other methods yet."""
    for name in ("class_knowledge_intervals", "company_real", "table1_elpv", "table4_elpv"):
        (tmp_path / f"{name}.csv").write_bytes((shipped.RESULTS / f"{name}.csv").read_bytes())
    monkeypatch.setattr(shipped, "RESULTS", tmp_path)
    monkeypatch.setattr(separate_unified, "RESULTS", tmp_path)
    return tmp_path


def test_a_new_table_appears_and_a_missing_setting_is_left_open(results):
    rows = ["simplenet,separate,0,mean,image_auroc,0.9", "simplenet,unified,0,mean,image_auroc,0.7"]
    rows += ["simplenet,unified,1,mean,image_auroc,0.5", "cutpaste,unified,0,mean,image_auroc,0.6"]
    rows += ["simplenet,unified,0,mean,image_ap,0.1", "simplenet,unified,0,real8/a,image_auroc,0.1"]
    (results / "other_methods_real8.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    table = separate_unified.separate_and_unified()
    assert settings_of(table, "here: real-8", "SimpleNet") == [0.9, pytest.approx(0.6), 1]
    arrows = separate_unified.arrows(table)
    assert list(arrows)[:2] == [separate_unified.PAPER, "here: real-8"]
    name = separate_unified.title_of("cutpaste")
    assert arrows["here: real-8"][name] == (None, 0.6)


def test_of_two_rows_the_complete_one_with_more_seeds_is_kept(results):
    rows = ["padim,separate,0,mean,image_auroc,0.1", "padim,unified,0,mean,image_auroc,0.1"]
    (results / "other_methods_real8.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    assert settings_of(separate_unified.separate_and_unified(), "here: real-8", "PaDiM")[2] == 3


def table_of(values, method="simplenet"):
    """Return a table of results with `values`: (setting, seed) -> image AUROC of the categories a, b and c."""
    rows = [
        (method, *key, f"mini/{name}", "image_auroc", x)
        for key, of in values.items()
        for name, x in zip("abc", of, strict=True)
    ]
    rows += [(method, *key, "mean", "image_auroc", sum(of) / 3) for key, of in values.items()]
    return HEADER + pd.DataFrame(rows).to_csv(header=False, index=False)


def test_models_that_share_the_steps_come_before_those_that_have_all(results):
    every = {("unified", 0): (0.5, 0.6, 0.7), ("separate", 0): (0.9, 0.9, 0.9)}
    (results / "other_methods_mini.csv").write_text(table_of(every), encoding="utf-8")
    row = separate_unified.separate_and_unified().set_index(["source", "method"]).loc["here: mini", "SimpleNet"]
    assert (row["separate"], row["steps"]) == (pytest.approx(0.9), "all")
    (results / "shared_steps_mini.csv").write_text(table_of({("separate", 0): (0.6, 0.8, 1.0)}), encoding="utf-8")
    row = separate_unified.separate_and_unified().set_index(["source", "method"]).loc["here: mini", "SimpleNet"]
    assert (row["separate"], row["unified"], row["steps"]) == (pytest.approx(0.8), pytest.approx(0.6), "shared")
    assert row["low"] < -0.2 < row["high"] < 0  # the changes are -0.1, -0.2 and -0.3


def test_the_interval_is_over_the_seeds_that_both_have(results):
    every = {("unified", 0): (0.5, 0.6, 0.7), ("unified", 1): (0.0, 0.0, 0.0), ("separate", 0): (0.7, 0.8, 0.9)}
    (results / "other_methods_mini.csv").write_text(table_of(every), encoding="utf-8")
    row = separate_unified.separate_and_unified().set_index(["source", "method"]).loc["here: mini", "SimpleNet"]
    assert (row["low"], row["high"]) == (pytest.approx(-0.2), pytest.approx(-0.2))


def test_company_is_eight_categories_alone_and_together(results):
    table = separate_unified.separate_and_unified().set_index(["source", "method"])
    rows = shipped.shipped_results("company_real")
    rows = rows[(rows["method"] == "uniad") & (rows["metric"] == "image_auroc") & (rows["company"] == "8")]
    row = table.loc["here: real-8", "UniAD, recentred"]
    assert row["unified"] == pytest.approx(rows[rows["category"] == "mean"]["value"].mean(), abs=1e-5)
    assert row["low"] < row["unified"] - row["separate"] < row["high"] and row["steps"] == "shared"


def test_repairs_are_differences_with_their_intervals():
    told, head = separate_unified.repairs()
    table = shipped.shipped_results("class_knowledge_intervals").set_index(["data", "method", "setting"])
    gain = table.loc["real-8", "padim", "told - blind"]
    assert told["real-8"]["PaDiM"] == ([gain["image_auroc"]], gain["low"], gain["high"])
    assert head["real-8"]["PaDiM"] == table.loc["real-8", "padim", "head - blind"]["image_auroc"]
    assert not any("one scale" in name for name in told["ELPV"])
