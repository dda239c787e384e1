"""The verdict on the paper's claims is computed from the shipped results, and agrees with the tables they came from."""

from __future__ import annotations

import numpy as np
import pytest

from mintad.course.lab import claims, verdict
from mintad.course.lab.shipped import shipped_results
from mintad.report import paper


@pytest.fixture(scope="module")
def effects():
    return verdict.effects()


def test_every_claim_is_tested_and_can_be_overturned(effects):
    assert set(effects["claim"]) == {claim.name for claim in claims.CLAIMS}
    assert len({claim.name for claim in claims.CLAIMS}) == len(claims.CLAIMS) == len(verdict.claims())
    assert effects[["difference", "low", "high", "printed"]].notna().all(axis=None)
    assert (effects["low"] <= effects["difference"]).all() and (effects["difference"] <= effects["high"]).all()
    assert all(claim.change for claim in claims.CLAIMS)


def test_a_difference_is_that_of_the_means_in_the_file(effects):
    rows = shipped_results("table4_mini").query("category == 'mean' and metric == 'image_auroc'")
    means = rows.groupby("variant")["value"].mean()
    found = effects.query("claim == 'better than UniAD' and data == 'mini'").iloc[0]
    assert found["difference"] == pytest.approx(means["mint_ad"] - means["uniad"], abs=2e-5)
    assert found["seeds"] == 3 and found["std_categories"] > found["std_seeds"] > 0


def test_printed_differences_are_the_papers(effects):
    printed = effects.drop_duplicates("claim").set_index("claim")["printed"]
    table = paper.load(1).query("category == 'mean' and method == 'PaDiM'").set_index("setting")["value"]
    assert printed["interference"] == pytest.approx(table["separate"] - table["unified"])
    assert printed["many classes"] == pytest.approx((0.949 - 0.923) - (0.986 - 0.965))


def test_best_of_all_is_tested_against_the_best_published_method_that_was_measured_without_a_class():
    rows = shipped_results("class_knowledge").query("category == 'mean' and metric == 'image_auroc'")
    rows = rows[(rows["setting"] == "blind") & ~rows["method"].str.startswith(("sharp_prior", "mint_ad"))]
    (claim,) = (c for c in claims.CLAIMS if c.name == "best of all")
    for test in claim.tests:
        means = rows[rows["data"] == test.data].groupby("method")["value"].mean()
        assert test.second is not None and test.second[1]["method"] == means.idxmax()
    printed = paper.load(1).query("category == 'mean' and setting == 'unified'").set_index("method")["value"]
    others = printed.drop("MINT-AD")
    assert verdict._difference(claim) == pytest.approx(printed["MINT-AD"] - others.max())


def test_interference_keeps_every_data_set_and_method_that_has_an_interval(effects):
    chosen = effects[effects["claim"] == "interference"]
    assert set(chosen["data"]) == {"real-8", "mini", "ELPV"} and chosen["what"].str.contains("told").sum() == 12


def test_in_company_a_method_is_compared_with_itself_alone(effects):
    rows = shipped_results("company_real").query("category not in ('mean', 'pooled') and metric == 'image_auroc'")

    def mean(method, company):
        chosen = rows[(rows["method"] == method) & (rows["variant"] == method) & rows["company"].str.match(company)]
        assert len(chosen) % 8 == 0
        return chosen["value"].mean()

    change = {name: mean(name, "8") - mean(name, "1,") for name in ("mint_ad", "uniad")}
    found = effects.set_index("what")["difference"]
    uniad = found["UniAD's network, recentred, one model a class minus one for all"]
    assert uniad == pytest.approx(-change["uniad"], abs=1e-9)
    lead = found["lead among 8, recentred, minus lead alone"]
    assert lead == pytest.approx(change["mint_ad"] - change["uniad"], abs=1e-9)


def test_rows_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"table4_mini\.csv has no rows"):
        verdict._select("table4_mini", {"variant": "nobody"})


def test_the_four_cells_are_the_tables_of_both_masks():
    cells = verdict.mask_and_model()
    assert list(cells.index) == ["UniAD", "MINT-AD"] and list(cells.columns) == ["mask", "no mask"]
    assert np.isfinite(cells.to_numpy()).all()
    assert cells.loc["UniAD", "mask"] == cells.to_numpy().min()


def test_the_last_table_has_a_row_for_each_claim_and_the_verdicts_of_its_tests(effects):
    given = ["open"] * len(effects)
    given[0] = "supported"
    table = verdict.by_claim(effects, given)
    assert len(table) == len(claims.CLAIMS)
    assert table["here"][0] == "real-8: supported; real-8: open; mini: open; ELPV: open"
    assert "supported" not in table["here"][1]


def test_the_figure_has_a_row_for_each_test_and_the_papers_mark_once_a_claim(effects):
    figure = verdict.forest(effects, smallest=0.01, title="")
    (measured,), (marks,) = ([t for t in figure.data if name in (t.name or "")] for name in ("mean and", "paper"))
    assert len(measured.y) == len(effects) and len(marks.y) == len(claims.CLAIMS)
