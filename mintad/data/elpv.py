"""ELPV: 2,624 electroluminescence images of solar cells, 300 x 300 grey, from 44 modules; no masks.

The pip package `elpv-dataset` contains the images (CC BY-NC-SA 4.0); see `data/README.md` for the papers to cite.
Experts gave each cell a probability of a defect: 0 (normal here), 1/3, 2/3 (doubtful, left out unless asked for) or 1.

The owners publish no split for anomaly detection. In ours, 70 % of each category's normal cells are for training, the
rest and all anomalous cells for testing, by a hash of a cell's name and the seed: it depends on no random generator.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Literal

import pandas as pd

from mintad.data.dataset import Dataset
from mintad.data.problems import Problem, error
from mintad.data.records import GOOD
from mintad.data.registry import DATASETS
from mintad.data.tree import Row, Scan, absolute, build_records, list_folder
from mintad.errors import ConfigError, DataError, nearest

Grades = Literal["exclude", "normal", "anomalous", "nearest", "development"]
_LABELS: dict[str, tuple[int | None, ...]] = {
    "exclude": (0, None, None, 1),
    "normal": (0, 0, 0, 1),
    "anomalous": (0, 1, 1, 1),
    "nearest": (0, 0, 1, 1),
    "development": (0, 1, 1, None),
}
"""The label of a cell by the thirds of its defect probability; None leaves it out."""
_DEFECTS = (GOOD, "grade_0.33", "grade_0.67", "defective")
_LINE = r"^\s*(?P<image>\S+)\s+(?P<probability>\S+)\s+(?P<category>mono|poly)\s*$"
_REINSTALL = "run 'python -m pip install --force-reinstall --no-deps elpv-dataset'"


def load_elpv(
    root: str | Path | None = None, *, grades: Grades = "exclude", train_share: float = 0.7, seed: int = 0
) -> pd.DataFrame:
    """Load the record table of ELPV.

    Args:
        root: folder with labels.csv and images/; None for the one inside the installed package.
        grades: what becomes of the grades 1/3 and 2/3: left out, both normal (they then also train), both anomalous,
            or "nearest" (1/3 normal, 2/3 anomalous). "development" is for choosing settings without a test cell of the
            same seed and share: it splits the training cells again and takes the grades in between as anomalies.
        train_share: share of each category's normal cells that train.
        seed: of the split.

    Raises:
        DataError: the package is not installed, or its files are not as they must be.
        ConfigError: an option has a value that is not allowed.
    """
    if grades not in _LABELS:
        raise ConfigError(f"elpv: unknown grades '{grades}'." + nearest(str(grades), _LABELS))
    if not 0 < train_share < 1:
        raise ConfigError(f"elpv: train_share must lie between 0 and 1, not {train_share}")
    folder = installed() if root is None else absolute(root)
    return build_records(scan_elpv(folder, grades=grades, train_share=train_share, seed=seed), folder)


def scan_elpv(folder: Path, *, grades: Grades = "exclude", train_share: float = 0.7, seed: int = 0) -> Scan:
    """Scan ELPV below an absolute path; see `load_elpv`."""
    cells, problems = _read_labels(folder)
    doubtful = cells["thirds"].isin([1, 2]).sum()
    if doubtful and grades == "exclude":
        problem = f"{doubtful} cells with a defect probability of 1/3 or 2/3 are left out"
        problems.append(Problem("note", str(folder), problem, "the option 'grades' includes them"))

    def draw(image: str) -> bytes:
        return hashlib.sha256(f"{seed}/{Path(image).name}".encode()).digest()

    rows: list[Row] = []
    for category, part in cells.groupby("category"):
        labels = {cell.image: _LABELS[grades][cell.thirds] for cell in part.itertuples()}
        normal = sorted((image for image, label in labels.items() if label == 0), key=draw)
        train = normal[: int(train_share * len(normal) + 0.5)]
        if grades == "development":
            labels |= {image: None for image in normal[len(train) :]}  # these are test cells otherwise
            train = train[: int(train_share * len(train) + 0.5)]
        rows += [
            {
                "dataset": "elpv",
                "category": category,
                "split": "train" if cell.image in train else "test",
                "label": labels[cell.image],
                "defect": _DEFECTS[cell.thirds] if labels[cell.image] else GOOD,
                "image": str(folder / cell.image),
            }
            for cell in part.itertuples()
            if labels[cell.image] is not None
        ]
    return rows, problems


def installed() -> Path:
    """Find the folder of the data inside the package `elpv-dataset` without importing it; a DataError if missing."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        fix = "run 'python -m pip install elpv-dataset', or give data.root as the folder of its labels.csv and images/"
        raise DataError("the data set 'elpv' is not installed", fix=fix)
    return absolute(next(iter(spec.submodule_search_locations))) / "data"


def _read_labels(folder: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read image, category and thirds (0 to 3, of the defect probability) of every cell whose line is right."""
    path = folder / "labels.csv"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = pd.Series(text.splitlines(), dtype=str).str.strip()
    cells = lines[lines != ""].str.extract(_LINE)
    thirds = 3 * pd.to_numeric(cells["probability"], errors="coerce")
    cells["thirds"] = thirds.round().where(((thirds - thirds.round()).abs() < 0.03) & thirds.round().between(0, 3))
    problems: list[Problem] = []
    files = {f"images/{name}" for name in list_folder(folder / "images").images}
    faulty = cells.isna().any(axis=1) | cells["image"].duplicated() | ~cells["image"].isin(files)
    for cell in cells[faulty].itertuples():
        if pd.notna(cell.image) and cell.image not in files:
            problems.append(error(folder / cell.image, "missing, but listed in labels.csv", _REINSTALL))
        else:
            problem = f"broken, or its image is listed twice: '{lines[cell.Index][:80]}'"
            fix = f"a line reads 'images/cell0001.png 1.0 mono', with 0, 1/3, 2/3 or 1 and mono or poly; {_REINSTALL}"
            problems.append(error(f"{path}, line {cell.Index + 1}", problem, fix))
    if not path.is_file():
        problems = [error(path, "no such file", "data.root must be the folder with labels.csv and images/")]
    elif cells.empty:
        problems = [error(path, "no cells listed", _REINSTALL)]
    return cells[~faulty].astype({"thirds": int}), problems


def looks_like_elpv(root: Path) -> bool:
    """Whether `root` holds ELPV's table of labels."""
    return (root / "labels.csv").is_file()


ELPV = Dataset(
    name="elpv", title="ELPV", load=load_elpv, scan=scan_elpv, looks_like=looks_like_elpv, categories=("mono", "poly")
)
DATASETS.add("elpv", ELPV)
