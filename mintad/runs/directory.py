"""The run directory: everything that one training leaves behind.

``config.json`` resolved configuration, ``versions.json``, ``classes.json``, ``images.csv`` (which images trained and
which were held out), ``seconds.json``, ``log.txt``, ``history.csv``, ``checkpoints/``, and after evaluation
``scores.csv``, ``maps.npy``, ``threshold.json``, the page ``results.html``, and last ``results.csv``: every number of
the model and of the baselines, one row each (`mintad.scoring.metrics.RESULT_COLUMNS`). A process that works in the
directory holds the lock on the empty file ``.lock``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.errors import DataError, MintadError, TrainingError
from mintad.lock import exclusive_lock
from mintad.runs.files import EXECUTED, PARAMETERS, STATUS
from mintad.runs.page import write_page
from mintad.scoring.metrics import RESULT_COLUMNS
from mintad.scoring.threshold import Threshold
from mintad.training import Checkpoint, latest_checkpoint

RESULTS, PAGE = "results.csv", "results.html"
FILES = (
    "versions.json",
    "classes.json",
    "images.csv",
    "seconds.json",
    RESULTS,
    "log.txt",
    "history.csv",
    "scores.csv",
    "maps.npy",
    "threshold.json",
    PAGE,
    "config.json",
)
"""What a run directory holds beside checkpoints/ and the lock; the configuration last, so that removing can be
repeated."""
OLD_RESULTS = "metrics.json"
"""What versions before 0.2 wrote for `RESULTS`."""
LOCK = ".lock"
VERSIONED = ("mintad", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "accelerate")


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path

    @property
    def page(self) -> Path:
        """The results page."""
        return self.path / PAGE

    def read(self, name: str) -> Any:
        """Read a JSON file of the run.

        Raises:
            MintadError: it is missing or damaged.
        """
        file = self.path / f"{name}.json"
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MintadError(
                f"{file} is missing: {self.path} is not a finished run directory of mintad train"
            ) from None
        except json.JSONDecodeError as error:
            raise MintadError(f"{file} is damaged: {error}") from error

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file of the run atomically. JSON has no NaN: what is not a finite number becomes null."""
        self._publish(f"{name}.json", json.dumps(_finite(value), indent=1, allow_nan=False))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a CSV file of the run atomically."""
        self._publish(f"{name}.csv", table.to_csv(index=False))

    def _publish(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, self.path / name)

    def config(self) -> Config:
        """Return the configuration that the run was started with."""
        return Config.from_dict(self.read("config"))

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint.

        Raises:
            TrainingError: there is none.
        """
        checkpoint = latest_checkpoint(self.path / "checkpoints")
        if checkpoint is None:
            raise TrainingError(f"{self.path} holds no checkpoint; run mintad train --out {self.path} first")
        return checkpoint

    def scores(self) -> pd.DataFrame:
        """Return the scored test rows, as they were when written."""
        texts = dict.fromkeys(("dataset", "category", "split", "defect", "image", "masks", "prompt_class"), str)
        scores = pd.read_csv(self.path / "scores.csv", keep_default_na=False, dtype=texts | {"pred_class": str})
        return scores.assign(masks=[tuple(masks.split(";")) if masks else () for masks in scores["masks"]])

    def results(self) -> pd.DataFrame:
        """Return every number of the run: columns `mintad.scoring.metrics.RESULT_COLUMNS`, the model's rows first.

        Raises:
            MintadError: the run is not finished, is damaged, or was written by an older version; the message says how
                to convert it.
        """
        file = self.path / RESULTS
        if not file.exists():
            old = (self.path / OLD_RESULTS).exists()
            fix = (
                f"mintad evaluate {self.path} writes its results in today's format"
                if old
                else (f"mintad train --out {self.path} finishes it")
            )
            raise MintadError(
                f"{file} is missing: the run {'is of an older version' if old else 'is not finished'}; {fix}"
            )
        try:
            table = pd.read_csv(file, dtype=dict.fromkeys(("method", "setting", "category", "metric"), str))
            return table[list(RESULT_COLUMNS)].astype({"seed": int, "value": float})
        except (KeyError, ValueError) as error:
            raise MintadError(f"{file} is damaged ({error}); mintad evaluate {self.path} writes it anew") from error

    def baselines(self) -> list[str]:
        """Return the names of the baselines among the results of a finished run, in their order."""
        methods = self.results()["method"].unique() if (self.path / RESULTS).exists() else ()
        return [name for name in methods if name in BASELINES]

    def threshold(self) -> Threshold | None:
        """Return the decision threshold; None where no images were held out, and for separate models, which have one
        each.

        Raises:
            MintadError: the run is not evaluated, or the file is damaged.
        """
        values = self.read("threshold")
        try:
            return None if values is None else Threshold(**values)
        except TypeError as error:
            raise MintadError(f"{self.path / 'threshold.json'} is damaged: {error}") from error

    def discard_results(self) -> None:
        """Remove the results: a crash from here on leaves an unfinished run and no mixture of old and new."""
        for name in (RESULTS, OLD_RESULTS):
            (self.path / name).unlink(missing_ok=True)

    def save_results(
        self,
        results: pd.DataFrame,
        scores: pd.DataFrame,
        maps_nHW: np.ndarray,
        threshold: Threshold | None,
        *,
        title: str,
    ) -> None:
        """Write all results of a run: scores, maps, threshold, page, and last the table that makes it a finished run.

        Args:
            results: columns `mintad.scoring.metrics.RESULT_COLUMNS`.
            scores: test rows of the record table with pred_score and pred_class.
            maps_nHW: anomaly maps in the same order.
            threshold: of the decision; None without one.
            title: of the page.
        """
        self.write_table("scores", scores.assign(masks=scores["masks"].map(";".join)))
        np.save(self.path / "maps.npy", maps_nHW)
        self.write("threshold", None if threshold is None else asdict(threshold))
        history = self.path / "history.csv"
        write_page(
            self.page,
            scores=scores,
            grid_maps=maps_nHW,
            results=results,
            history=pd.read_csv(history) if history.exists() else None,
            config=self.config().to_dict(),
            threshold=threshold,
            title=title,
            versions=self.read("versions"),
        )
        self.write_table("results", results)

    def record_training_images(self, images: pd.DataFrame) -> None:
        """Record the images that train and those held out, or compare them with the recorded ones.

        Args:
            images: columns image, category, role ('train' or 'holdout') and hash of the content.

        Raises:
            DataError: they are not those that the run began with; the message names what differs.
        """
        file = self.path / "images.csv"
        if not file.exists():
            self.write_table("images", images)
            return
        changes = _differences(pd.read_csv(file, keep_default_na=False, dtype=str), images)
        if changes:
            raise DataError(
                f"the training images are not those that {self.path} was trained on: {'; '.join(changes)}. "
                "Restore them, or train anew into another --out."
            )

    def seconds(self) -> dict[str, float]:
        """Return the seconds spent on features, training, evaluation and each baseline, summed over interruptions; an
        evaluation is the last one."""
        return self.read("seconds") if (self.path / "seconds.json").exists() else {}

    def note_seconds(self, name: str, seconds: float) -> None:
        """Keep the seconds of one piece of work."""
        self.write("seconds", self.seconds() | {name: round(seconds, 3)})

    @contextlib.contextmanager
    def timing(self, name: str, *, add: bool = False) -> Iterator[None]:
        """Keep the seconds that the block takes, interrupted or not; `add` them to those already there."""
        before = self.seconds().get(name, 0.0) if add else 0.0
        began = time.perf_counter()
        try:
            yield
        finally:
            self.note_seconds(name, before + time.perf_counter() - began)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of the directory while the block runs; what a dead process held is free.

        Raises:
            TrainingError: another process works in it.
        """
        busy = f"another process is working in {self.path}; wait for it to end, or choose another --out"
        return exclusive_lock(self.path / LOCK, TrainingError(busy))

    @property
    def finished(self) -> bool:
        """Whether the run was trained to its end and evaluated."""
        return (self.path / RESULTS).exists()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _differences(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """What became of the images, one text a kind of change, each with the first image of its kind."""
    before, now = (table.set_index(["category", "image"]) for table in (before, now))
    both = before.index.intersection(now.index)
    known = (before.loc[both, "hash"] != "") & (now.loc[both, "hash"] != "")
    changed = {
        "gone": before.index.difference(now.index),
        "new": now.index.difference(before.index),
        "with another content": both[(known & (before.loc[both, "hash"] != now.loc[both, "hash"])).to_numpy()],
    }
    if not any(map(len, changed.values())):  # else the other list was split otherwise, which says nothing
        moved = (before.loc[both, "role"] != now.loc[both, "role"]).to_numpy()
        changed["moved between training and hold-out"] = both[moved]
    return [f"{len(keys)} {kind} (first: {keys[0][1]} of {keys[0][0]})" for kind, keys in changed.items() if len(keys)]


@contextlib.contextmanager
def open_run(path: str | Path, config: Config, *, overwrite: bool = False) -> Iterator[Run]:
    """Make a run directory for `config`, or open the one that the same configuration has there; locked while the block
    runs.

    Args:
        path: the directory.
        config: of the run.
        overwrite: remove a run that is already there.

    Raises:
        TrainingError: the directory belongs to another configuration or process, or holds foreign files.
    """
    run = Run(Path(path))
    _refuse_foreign(run, overwrite)
    run.path.mkdir(parents=True, exist_ok=True)
    with run.locked():
        if overwrite:
            _remove(run)
        if (run.path / "config.json").exists():
            _refuse_another(run, config)
        else:
            run.write("config", config.to_dict())
        yield run


def _refuse_foreign(run: Run, overwrite: bool) -> None:
    """Before anything is written or removed: the directory is missing, empty, or that of a run."""
    if (run.path / "config.json").exists():
        if overwrite:
            try:
                run.config()
            except MintadError as error:
                text = f"{run.path} exists and is no run directory; choose another --out ({error})"
                raise TrainingError(text) from error
        return
    leftovers = {
        ".config.json.tmp",
        LOCK,
        EXECUTED,
        PARAMETERS,
        STATUS,
    }  # of a process killed just before, papermill, a sweep
    if run.path.exists() and {file.name for file in run.path.iterdir()} - leftovers:
        raise TrainingError(f"{run.path} exists and is no run directory; choose another --out")


def _refuse_another(run: Run, config: Config) -> None:
    ours, theirs = _flat(config.to_dict()), _flat(run.config().to_dict())
    changed = [f"{key}: {theirs[key]!r} there, {ours[key]!r} now" for key in ours if ours[key] != theirs[key]]
    if changed:
        raise TrainingError(
            f"{run.path} holds a run of another configuration ({'; '.join(changed[:5])}). "
            "Choose another --out, or --overwrite to start afresh."
        )


def _remove(run: Run) -> None:
    """Remove what a run wrote; its files are known by name, anything else in the directory is left."""
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    for name in FILES:
        (run.path / name).unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Return the versions of Python, of the packages that matter, and the machine."""
    numbers = {"python": platform.python_version(), "platform": platform.platform(), "cores": str(os.cpu_count())}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            numbers[name] = importlib.metadata.version(name)
    if torch.cuda.is_available():
        numbers["gpu"] = torch.cuda.get_device_name()
    return numbers


@contextlib.contextmanager
def log_to(run: Run) -> Iterator[None]:
    """Copy the package's log to ``log.txt`` while the block runs."""
    handler = logging.FileHandler(run.path / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("mintad")
    previous = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except Exception as error:
        text = (type(error).__name__, error)  # into the file alone: the caller shows the error to the user
        handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, "%s: %s", text, None))
        raise
    finally:
        logger.setLevel(previous)
        logger.removeHandler(handler)
        handler.close()


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    return {f"{part}.{key}": _plain(value) for part, values in tree.items() for key, value in values.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
