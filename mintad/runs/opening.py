"""Making, opening and refusing run directories, and the log that is written while one is open."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from mintad.config import Config
from mintad.disk import UNFINISHED, own_file, remove
from mintad.errors import ConfigError, DataError, MintadError, TrainingError, WeightsError
from mintad.runs.baselines import differently_made
from mintad.runs.directory import Run
from mintad.runs.files import EXECUTED, LOCK, OWN_FILES, PARAMETERS, STATUS

LEFTOVERS = {LOCK, EXECUTED, PARAMETERS, STATUS}
"""Files that a directory without a run may hold, besides unfinished ones: of a process killed early, of papermill, of a
sweep."""
VERSIONED = ("mintad", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "accelerate")


@contextlib.contextmanager
def open_run(path: str | Path, config: Config, *, overwrite: bool = False) -> Iterator[Run]:
    """Make a run directory, or open the one that the same configuration has there; it is locked while the block runs.

    With `overwrite`, a run that is already there is removed. A directory in which no training has begun takes any
    configuration, and a new one is removed again if the block finds fault with the configuration or the data.

    Raises:
        TrainingError: the directory belongs to another configuration or process, or holds foreign files.
    """
    run = Run(Path(path))
    run.require_name()
    _refuse_foreign(run, overwrite)
    new = not run.path.exists()
    run.path.mkdir(parents=True, exist_ok=True)
    with run.locked():
        for file in run.path.glob(f"{UNFINISHED}*"):
            remove(file)  # of processes that were killed
        if overwrite:  # by name, anything else is left; config.json last, so that this can be interrupted and repeated
            remove(run.path / "checkpoints")
            run.discard_results()
            for name in OWN_FILES:
                (run.path / name).unlink(missing_ok=True)
        changes = _changes(run, config)
        if changes and run.begun:
            problem = f"the run has another configuration ({'; '.join(changes[:5])})"
            fix = "choose another --out, or --overwrite to start afresh"
            if all(change.startswith("data.root: ") for change in changes) and run.finished:
                fix += f"; if the same images lie there now, mintad evaluate {run.path} --root takes them"
            raise TrainingError(problem, path=run.path, fix=fix)
        if changes:  # what was recorded is of the other configuration
            for name in OWN_FILES:
                (run.path / name).unlink(missing_ok=True)
        if not (run.path / "config.json").exists() or run.config() != config:  # other baselines than so far
            run.write("config", config.to_dict())
        try:
            yield run
        except (ConfigError, DataError, WeightsError):
            if new and not run.begun:
                _remove_new(run)
            raise


def _changes(run: Run, config: Config) -> list[str]:
    """Return in what a configuration differs from that of a directory; nothing where there is none.

    How baselines are made may differ unless results of theirs are there: the model does not depend on it.
    """
    if not (run.path / "config.json").exists():
        return []
    recorded = run.config()
    if recorded.baselines != config.baselines and not differently_made(run.baselines(), recorded, config):
        recorded = dataclasses.replace(recorded, baselines=config.baselines)
    before, now = recorded.flat(), config.flat()
    return [f"{key}: {before[key]!r} there, {now[key]!r} now" for key in now if before[key] != now[key]]


def _remove_new(run: Run) -> None:
    """Remove a directory that this process made and began nothing in; what others put there stays."""
    for name in (*OWN_FILES, LOCK):
        (run.path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        run.path.rmdir()


def _refuse_foreign(run: Run, overwrite: bool) -> None:
    """Refuse a directory with files that are no run's, before anything is written or removed."""
    foreign = TrainingError("this is not a run directory", path=run.path, fix="choose another --out")
    names = {file.name for file in run.path.iterdir()} if run.path.exists() else set()
    if "config.json" not in names:
        if any(name not in LEFTOVERS and not name.startswith(UNFINISHED) for name in names):
            raise foreign
    elif overwrite or not run.begun:
        try:
            run.config()
        except MintadError as error:
            raise foreign from error
        if not {"data", "model", "train"} <= run.read("config").keys():  # of another program
            raise foreign


@contextlib.contextmanager
def log_to(run: Run) -> Iterator[None]:
    """Copy the package's log to ``log.txt`` while the block runs; an error is logged there and raised."""
    own_file(run.path / "log.txt")
    handler = logging.FileHandler(run.path / "log.txt", encoding="utf-8")
    handler.handleError = lambda record: None  # a disk that is full is reported by what must be written
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("mintad")
    previous = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"  # into the file alone: the caller shows the error to the user
        handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), None))
        raise
    finally:
        logger.setLevel(previous)
        logger.removeHandler(handler)
        handler.close()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, and facts about the machine."""
    numbers = {"python": platform.python_version(), "platform": platform.platform(), "cores": str(os.cpu_count())}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            numbers[name] = importlib.metadata.version(name)
    if torch.cuda.is_available():
        numbers["gpu"] = torch.cuda.get_device_name()
    return numbers
