"""What categories lose in company."""

from __future__ import annotations

import pandas as pd
import pytest

from mintad.course.lab.company import changes_in_company

LEVEL = {"a": 0.9, "b": 0.8}


def rows(seed: int, company: str, categories: str, lost: float) -> list[dict]:
    common = {"company": company, "variant": "mint_ad", "method": "padim", "seed": seed, "metric": "image_auroc"}
    values = {name: LEVEL[name] + 0.01 * seed - lost for name in categories}
    values["mean"] = 0.0
    return [common | {"category": name, "value": value} for name, value in values.items()]


def tables(lost: float, seeds=(0, 1)) -> pd.DataFrame:
    found = []
    for seed in seeds:
        found += [*rows(seed, "1, a", "a", 0), *rows(seed, "1, b", "b", 0), *rows(seed, "2", "ab", lost)]
    return pd.DataFrame(found)


def test_the_change_is_that_of_the_same_categories_and_seeds():
    curves = changes_in_company(tables(0.05))
    assert list(curves) == ["PaDiM"] and curves["PaDiM"][1][0] == 0
    assert curves["PaDiM"][2] == pytest.approx((-0.05, -0.05, -0.05))


def test_a_missing_category_or_seed_is_refused():
    table = tables(0.05)
    for missing in (
        (table["company"] == "2") & (table["category"] == "b"),
        (table["company"] == "2") & (table["seed"] == 1),
    ):
        with pytest.raises(ValueError):
            changes_in_company(table[~missing])
