"""ELPV: 2,624 electroluminescence images of solar cells, 300 x 300 grey, from 44 modules; no masks.

The pip package `elpv-dataset` contains the images (CC BY-NC-SA 4.0); see `data/README.md` for the papers to cite.
Each cell has a probability of a defect, as judged by experts: 0, 1/3, 2/3 or 1. Here 0 is normal and 1
anomalous; the grades in between are doubtful by construction and left out unless asked for.

The owners publish no split for anomaly detection. In ours, 70 % of each category's normal cells are for training; the
rest and all anomalous cells are for testing. The split follows from a hash of a cell's name and the seed, so it
depends neither on the order of files nor on the version of a random generator. Choose settings on
`grades='development'`: with the same `seed` and `train_share` it contains none of these test cells.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from mintad.data.dataset import Dataset
from mintad.data.listing import list_folder
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS
from mintad.data.tree import Row, Scan, absolute, build_records
from mintad.errors import ConfigError, DataError, nearest

Grades = Literal["exclude", "normal", "anomalous", "nearest", "development"]
CATEGORIES = ("mono", "poly")
_DEFECTS = {1 / 3: "grade_0.33", 2 / 3: "grade_0.67", 1.0: "defective"}


def load_elpv(
    root: str | Path | None = None, *, grades: Grades = "exclude", train_share: float = 0.7, seed: int = 0
) -> pd.DataFrame:
    """Load the record table of ELPV.

    Args:
        root: folder with labels.csv and images/; None for the one inside the installed package.
        grades: what to do with the grades 1/3 and 2/3: left out, both normal (they then also train), both
            anomalous, or "nearest" (1/3 normal, 2/3 anomalous). "development" serves to choose settings without
            using a test cell: the training cells are split once more, and the grades in between are the anomalies.
        train_share: share of each category's normal cells that train.
        seed: of the split.

    Raises:
        DataError: the package is not installed, or its files are not as they must be.
        ConfigError: an option has a value that is not allowed.
    """
    if grades not in get_args(Grades):
        raise ConfigError(f"elpv: unknown grades '{grades}'." + nearest(str(grades), get_args(Grades)))
    if not 0 < train_share < 1:
        raise ConfigError(f"elpv: train_share must lie between 0 and 1, not {train_share}")
    folder = installed() if root is None else absolute(root)
    return build_records(scan_elpv(folder, grades=grades, train_share=train_share, seed=seed), folder)


def scan_elpv(folder: Path, *, grades: Grades = "exclude", train_share: float = 0.7, seed: int = 0) -> Scan:
    """Scan ELPV below an absolute path; see `load_elpv`."""
    cells, problems = _read_labels(folder)
    doubtful = sum(0 < probability < 1 for _, probability, _ in cells)
    if doubtful and grades == "exclude":
        problem = f"{doubtful} cells with a defect probability of 1/3 or 2/3 are left out"
        problems.append(Problem("note", str(folder), problem, "the option 'grades' includes them"))
    rows: list[Row] = []
    for category in CATEGORIES:
        labels = {
            name: label for name, p, kind in cells if kind == category and (label := _label(p, grades)) is not None
        }
        normal = sorted((name for name in labels if not labels[name]), key=lambda name: _draw(seed, name))
        if grades == "development":
            normal = normal[: _share(train_share, len(normal))]
            kept = set(normal)
            labels = {name: label for name, label in labels.items() if label or name in kept}
        train = set(normal[: _share(train_share, len(normal))])
        rows += [
            {
                "dataset": "elpv",
                "category": category,
                "split": "train" if name in train else "test",
                "label": labels[name],
                "defect": _DEFECTS[p] if labels[name] else GOOD,
                "image": str(folder / name),
            }
            for name, p, _ in cells
            if name in labels
        ]
    return rows, problems


def installed() -> Path:
    """Find the folder of the data inside the package `elpv-dataset`, without importing it.

    Raises:
        DataError: the package is not installed.
    """
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the data set 'elpv' is not installed",
            fix="run 'python -m pip install elpv-dataset', or give data.root as the folder that holds its labels.csv "
            "and images/",
        )
    return absolute(next(iter(spec.submodule_search_locations))) / "data"


def _read_labels(folder: Path) -> tuple[list[tuple[str, float, str]], list[Problem]]:
    """Read (image, probability, category) of every cell: three columns separated by blanks, no heading."""
    path = folder / "labels.csv"
    if not path.is_file():
        return [], [error(path, "no such file", "data.root must be the folder with labels.csv and images/")]
    present = {f"images/{name}" for name in list_folder(folder / "images").images}
    cells, problems, seen = [], [], set()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        cell = _parse(line)
        if cell is None:
            problems.append(_broken(path, number, f"cannot read '{line.strip()[:80]}'"))
        elif cell[0] in seen:
            problems.append(_broken(path, number, f"{cell[0]} is listed twice"))
        elif cell[0] not in present:
            problems.append(error(folder / cell[0], "missing, but listed in labels.csv", _REINSTALL))
        else:
            seen.add(cell[0])
            cells.append(cell)
    if not cells and not problems:
        problems.append(error(path, "no cells listed", _REINSTALL))
    return cells, problems


_REINSTALL = "run 'python -m pip install --force-reinstall --no-deps elpv-dataset'"


def _parse(line: str) -> tuple[str, float, str] | None:
    try:
        name, probability, kind = line.split()
        exact = min((0.0, *_DEFECTS), key=lambda grade: abs(grade - float(probability)))
        fits = abs(exact - float(probability)) < 0.01 and kind in CATEGORIES
        return (name, exact, kind) if fits else None
    except ValueError:
        return None


def _broken(path: Path, number: int, problem: str) -> Problem:
    fix = "a line reads 'images/cell0001.png 1.0 mono', with 0, 1/3, 2/3 or 1 and mono or poly; " + _REINSTALL
    return error(f"{path}, line {number}", problem, fix)


def _share(share: float, count: int) -> int:
    return int(share * count + 0.5)


def _label(probability: float, grades: Grades) -> int | None:
    """Return 0, 1, or None for a cell that is left out."""
    if grades == "development":
        return None if probability == 1 else int(probability > 0)
    if probability in (0.0, 1.0):
        return int(probability)
    return {"exclude": None, "normal": 0, "anomalous": 1, "nearest": round(probability)}[grades]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{Path(name).name}".encode()).digest()


def looks_like_elpv(root: Path) -> bool:
    """Whether `root` holds ELPV's table of labels."""
    return (root / "labels.csv").is_file()


DATASETS.add(
    "elpv",
    Dataset(
        name="elpv",
        title="ELPV",
        load=load_elpv,
        scan=scan_elpv,
        looks_like=looks_like_elpv,
        categories=CATEGORIES,
    ),
)
