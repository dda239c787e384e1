"""The run directory: everything that one training leaves behind.

``config.json`` resolved configuration, ``versions.json``, ``classes.json``, ``log.txt``, ``history.csv``,
``checkpoints/``, and after evaluation ``metrics.json``, ``scores.csv``, ``maps.npy``, ``peers.csv`` (if asked for)
and ``report.html``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mintad.config import Config
from mintad.errors import MintadError, TrainingError
from mintad.training import Checkpoint, latest_checkpoint

FILES = (
    "versions.json",
    "classes.json",
    "metrics.json",
    "log.txt",
    "history.csv",
    "scores.csv",
    "maps.npy",
    "peers.csv",
    "report.html",
    "config.json",
)
"""Everything in a run directory beside checkpoints/; the configuration last, so that removing can be repeated."""
VERSIONED = ("mintad", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "accelerate")


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def read(self, name: str) -> Any:
        """A JSON file of the run.

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
        """Write a JSON file of the run atomically."""
        temporary = self.path / f".{name}.json.tmp"
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
        os.replace(temporary, self.path / f"{name}.json")

    def config(self) -> Config:
        """The configuration the run was started with."""
        return Config.from_dict(self.read("config"))

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint.

        Raises:
            TrainingError: there is none.
        """
        checkpoint = latest_checkpoint(self.path / "checkpoints")
        if checkpoint is None:
            raise TrainingError(f"{self.path} holds no checkpoint; run mintad train --out {self.path} first")
        return checkpoint

    @property
    def finished(self) -> bool:
        """Whether the run was trained to its end and evaluated."""
        return (self.path / "metrics.json").exists() and self.report.exists()


def open_run(path: str | Path, config: Config, *, beside_others: bool = False) -> Run:
    """A new run directory for `config`, or the unfinished one of the same configuration, to be resumed.

    Args:
        path: the directory.
        config: of the run.
        beside_others: allow foreign files in a new run's directory.

    Raises:
        TrainingError: the directory belongs to another configuration, or holds foreign files.
    """
    run = Run(Path(path))
    if (run.path / "config.json").exists():
        ours, theirs = _flat(config.to_dict()), _flat(run.config().to_dict())
        changed = [f"{key}: {theirs[key]!r} there, {ours[key]!r} now" for key in ours if ours[key] != theirs[key]]
        if changed:
            raise TrainingError(
                f"{run.path} holds a run of another configuration ({'; '.join(changed[:5])}). "
                "Choose another --out, or --overwrite to start afresh."
            )
        return run
    leftovers = {".config.json.tmp"}  # of a process killed just here
    foreign = {file.name for file in run.path.iterdir()} - leftovers if run.path.exists() else set()
    if foreign and not beside_others:
        raise TrainingError(f"{run.path} exists and is no run directory; choose another --out")
    run.path.mkdir(parents=True, exist_ok=True)
    run.write("config", config.to_dict())
    return run


def remove_run(path: str | Path) -> None:
    """Remove a run directory, if there is one; its files are known by name, anything else in it is left.

    Raises:
        TrainingError: the directory is none of a run.
    """
    run = Run(Path(path))
    if not run.path.exists():
        return
    try:
        run.config()
    except MintadError as error:
        raise TrainingError(f"{run.path} exists and is no run directory; choose another --out ({error})") from error
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    for name in FILES:
        (run.path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # files that are not ours keep the folder
        run.path.rmdir()


def versions() -> dict[str, str]:
    """Versions of Python, the packages that matter, and the machine."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "cores": str(os.cpu_count())}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


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
