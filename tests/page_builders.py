"""Made-up scores of a small data set, the results page of them, and the parts of a page that tests look at."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mintad import plots, scoring
from mintad.data.images import read_mask, resize_mask
from mintad.runs.page import results_page
from mintad.scoring.conformal import Calibration
from mintad.scoring.decisions import Decisions

HOSTILE = "<img onerror=alert(1) src=x>.png"
VOID = {"meta", "img", "br", "link", "input", "hr"}
GRID = 6


class Page(HTMLParser):
    """The parts of a page that the tests look at; fails on tags that do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}  # caption to rows of cells
        self.texts: dict[str, list[str]] = {}  # tag to texts
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "table":
            self.rows, self.tables[""] = [], []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "caption":
            self.tables.pop("")
            self.tables[self.texts["caption"][-1]] = self.rows

    def handle_data(self, data):
        for tag in set(self.open) - {"html", "head", "body"}:  # they hold plotly's 5 MB
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def make_scores(folder: Path, *, masked: bool, categories: tuple[str, ...] = ("nut", "bolt")) -> pd.DataFrame:
    """Six normal and six anomalous images per category with their scores; one file has a hostile name."""
    rng = np.random.default_rng(0)
    rows = []
    for category in categories:
        (folder / category).mkdir(parents=True)
        for n in range(12):
            name = HOSTILE if (category, n) == (categories[0], 0) else f"{category}_{n:02d}.png"
            image, mask = folder / category / name, folder / category / f"mask_{n}.png"
            Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(image)
            anomalous = int(n >= 6)
            if masked and anomalous:
                pixels = np.zeros((40, 60), np.uint8)
                pixels[10:20, 10:30] = 255
                Image.fromarray(pixels).save(mask)
            key = f"toy/{category}"
            rows.append(
                {
                    "dataset": "toy",
                    "category": category,
                    "split": "test",
                    "label": anomalous,
                    "defect": ("good", "dent & hole")[anomalous],
                    "image": str(image),
                    "masks": (str(mask),) if masked and anomalous else (),
                    "prompt_class": key,
                    # the hostile file is the highest normal: it must be shown
                    "pred_score": 3.25 if name == HOSTILE else rng.normal() + anomalous,
                    "pred_class": "toy/bolt" if n == 3 else key,
                }
            )
    return pd.DataFrame(rows)


def decisions(bolt: int = 20, nut: int = 20) -> Decisions:
    """Rules of two classes with n held-out scores each, all 0.5."""
    names = ["toy/bolt"] * bolt + ["toy/nut"] * nut
    scores, distances = Calibration([0.5] * len(names), names), Calibration([1.0] * len(names), [""] * len(names))
    return Decisions(scores, distances, ("toy/bolt", "toy/nut"), 0.95)


def make_results(scores: pd.DataFrame, maps: np.ndarray) -> pd.DataFrame:
    """A run's tidy table: its own model with every metric, and a baseline with the paper's two."""
    masked = scores["masks"].map(len).any()
    pixels = [
        (f"{row.dataset}/{row.category}", plots.resize_map(grid, (30, 30)), mask_of(row))
        for row, grid in zip(scores.itertuples(), maps, strict=True)
        if masked
    ]
    own = scoring.measure(scores, pixels).assign(method="mint_ad")
    baseline = own[own["metric"].isin(["image_auroc", "pixel_ap"])].assign(method="padim")
    baseline["value"] = baseline["value"] - 0.125
    return pd.concat([own, baseline], ignore_index=True).assign(setting="unified", seed=0)


def write(path: Path, scores: pd.DataFrame, **changed) -> tuple[Page, pd.DataFrame]:
    """A page with everything on it, and the results behind it."""
    maps = np.random.default_rng(1).random((len(scores), GRID, GRID)).astype(np.float32)
    steps = np.arange(1, 1001)
    filled = {
        "scores": scores,
        "grid_maps": maps,
        "results": make_results(scores, maps),
        "history": pd.DataFrame({"step": steps, "mse": 1 / steps, "ce": 2 / steps, "prior": 0.0, "accuracy": 1.0}),
        "config": {"train": {"steps": 1000, "note": "</pre><script>alert(1)</script>"}},
        "decisions": decisions(),
        "title": "toy <b>run</b>",
        "versions": {"python": "3.11"},
    } | changed
    if filled["decisions"]:
        decided = filled["decisions"].of(scores["pred_score"], scores["pred_class"], np.zeros(len(scores)))
        filled["scores"] = pd.concat([scores.reset_index(drop=True), decided], axis=1)
    path.write_text(results_page(**filled), encoding="utf-8")
    return Page(path), filled["results"]


def mask_of(row) -> np.ndarray:
    return resize_mask(read_mask(row.masks), (30, 30)) if row.masks else np.zeros((30, 30), bool)


def table_with(page: Page, *first_heads: str) -> list[list[str]]:
    """The table whose head begins like this."""
    return next(rows for rows in page.tables.values() if tuple(rows[0][: len(first_heads)]) == first_heads)


def tiles_of(page: Page) -> dict[str, str]:
    """Name of each headline number -> the number as written; each stands in a tile of bold number and name."""
    values = page.texts["b"]
    return dict(zip(page.texts["span"][: len(values)], values, strict=True))
