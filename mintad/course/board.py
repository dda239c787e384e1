"""A board of the class's variants: a folder with one CSV file for each student, and what makes a comparison fair.

The folder may be shared, or the files collected: every student writes one's own. A run that is posted stays, so that
everybody sees among how many the best was chosen.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mintad.disk import expanded, open_file, write
from mintad.errors import ConfigError, DataError
from mintad.model.variants import VARIANTS
from mintad.runs.directory import Run
from mintad.runs.shared import runs_dir
from mintad.scoring import value_of
from mintad.training.checkpoint import WEIGHTS

log = logging.getLogger(__name__)

COLUMNS = {
    "student": str, "variant": str, "seed": int, "image_auroc": float, "pixel_ap": float, "parameters": int,
    "steps": int, "told_the_class": bool, "recipe": str, "images": str,
}  # fmt: skip
"""What a posted run says. `recipe` and `images` are digests: equal ones mean the same training and the same images."""
PACKAGE = "(the package)"
"""In place of a student's name, the rows that the others are compared with."""
KEY = ["variant", "seed", "recipe", "images"]
"""Columns that tell a run from the others of a student; a run that is posted again is the same."""
NOT_THE_RECIPE = ("model.", "train.seed", "train.device", "data.root", "baselines.")
"""Keys, or their beginnings, that variants and machines may differ in."""


def board_folder(folder: str | Path = "") -> Path:
    """Return the folder of the board; without a name ``board`` below the folder of all runs."""
    return expanded(folder) if str(folder) else runs_dir() / "board"


def post(run: Run, student: str, folder: str | Path = "") -> None:
    """Add a finished run to the student's file on the board; the package's own run stands there once a seed.

    Raises:
        ConfigError: the name cannot be a file's, or the run's variant is not registered.
        DataError: the student's file is damaged, or cannot be written.
        MintadError: the run is not finished, or damaged.
    """
    if student != PACKAGE and not re.fullmatch(r"\w[\w .-]{0,60}", student):
        raise ConfigError(f"'{student}' cannot be a name on the board", fix="use letters, digits, spaces, . and -")
    file = board_folder(folder) / f"{student}.csv"
    rows = _read(file) if file.exists() else pd.DataFrame(columns=list(COLUMNS))
    new = pd.DataFrame([entry(run, student)], columns=list(COLUMNS))
    same = (rows[KEY].astype(str) == new[KEY].iloc[0].astype(str)).all(axis=1)
    if student == PACKAGE and same.any():
        return
    table = new if rows.empty else pd.concat([rows, new], ignore_index=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, table.to_csv(index=False))
    except OSError as error:
        problem = f"the board cannot be written ({error.strerror})"
        raise DataError(problem, path=file, fix="choose a folder that you may write to") from error


def entry(run: Run, student: str) -> dict[str, object]:
    """Return what a finished run says on the board, by the names of `COLUMNS`."""
    config, results, variant = run.config(), run.results(), run.config().model.variant
    recipe = {key: str(value) for key, value in config.flat().items() if not key.startswith(NOT_THE_RECIPE)}
    images = sorted([*run.training_images()["hash"], *run.scores()["hash"]])
    weights = run.checkpoint().tensors(WEIGHTS).items()
    learned = [tensor.numel() for name, tensor in weights if not name.startswith(("standardise.", "recentre."))]
    ap = value_of(results, "pixel_ap")
    return {
        "student": student,
        "variant": variant,
        "seed": config.train.seed,
        "image_auroc": value_of(results, "image_auroc"),
        "pixel_ap": float("nan") if ap is None else ap,
        "parameters": sum(learned),
        "steps": config.train.steps,
        "told_the_class": bool(VARIANTS[variant].needs_labels),
        "recipe": _digest(json.dumps(recipe, sort_keys=True)),
        "images": _digest("\n".join(images)),
    }


def read_board(folder: str | Path = "") -> pd.DataFrame:
    """Read all posted runs, with columns `COLUMNS`.

    A damaged file is left out with a warning that names it: one student's slip must not take the board from a class.

    Raises:
        DataError: the folder holds no CSV, or none that can be read.
    """
    folder = board_folder(folder)
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise DataError("nobody has posted a run here", path=folder, fix="notebook 10, section 8, posts one")
    tables, problem = [], None
    for file in files:
        try:
            tables.append(_read(file))
        except DataError as error:
            problem = error
            log.warning("left out: %s", error)
    if problem and not tables:
        raise problem
    return pd.concat(tables, ignore_index=True)


def standings(posted: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every variant of every student, best first; the last run of a seed counts.

    Columns: student, variant, seeds, image AUROC and pixel AP (means over seeds), std of the AUROC, parameters, steps,
    runs (how many the student has posted in all), and fair, which is "yes" or says what keeps the variant from being
    compared with the package's rows, or with the largest group if there are none.
    """
    last = posted.drop_duplicates(["student", *KEY], keep="last")
    own = last[last["student"] == PACKAGE] if (last["student"] == PACKAGE).any() else last
    right = {key: own[key].mode().iloc[0] for key in ("recipe", "images", "steps")}
    seeds = set(own.loc[own["recipe"] == right["recipe"], "seed"])
    rows = []
    for (student, variant, _, _), runs in last.groupby(["student", "variant", "recipe", "images"], sort=False):
        rows.append(
            {
                "student": student,
                "variant": variant,
                "seeds": ", ".join(map(str, sorted(runs["seed"]))),
                "image AUROC": runs["image_auroc"].mean(),
                "std": runs["image_auroc"].std(ddof=1),
                "pixel AP": runs["pixel_ap"].mean(),
                "parameters": runs["parameters"].max(),
                "steps": runs["steps"].max(),
                "runs": int((posted["student"] == student).sum()),
                "fair": "; ".join(_reasons(runs, right, seeds)) or "yes",
            }
        )
    return pd.DataFrame(rows).sort_values("image AUROC", ascending=False, ignore_index=True)


def _reasons(runs: pd.DataFrame, right: dict[str, object], seeds: Iterable[int]) -> list[str]:
    first, own = runs.iloc[0], set(runs["seed"])
    missing = sorted(set(seeds) - own)
    reasons = {
        "other images": first["images"] != right["images"],
        f"{first['steps']} steps, not {right['steps']}": first["steps"] != right["steps"],
        "another recipe": first["recipe"] != right["recipe"] and first["steps"] == right["steps"],
        "told the class": bool(first["told_the_class"]),
        f"seed {', '.join(map(str, missing))} missing": bool(missing),
        "one seed": len(own) == 1 and not missing,
    }
    return [text for text, holds in reasons.items() if holds]


def _read(file: Path) -> pd.DataFrame:
    """Read a student's file; the name in it is the file's, so that nobody posts in another's."""
    fix = "remove the file, or the lines that are not runs"
    try:
        with open_file(file) as opened:
            texts = {name: str for name, kind in COLUMNS.items() if kind is str}  # a digest may look like a number
            table = pd.read_csv(io.BytesIO(opened.read()), dtype=texts)
        table = table[list(COLUMNS)].astype(COLUMNS)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"this is not a file of the board ({error})", path=file, fix=fix) from error
    if not table["image_auroc"].between(0, 1).all():
        raise DataError("an image AUROC is not between 0 and 1", path=file, fix=fix)
    return table.assign(student=file.stem)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
