"""The run directory: everything that one training leaves behind, in the files that `mintad.runs.files` names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mintad.config import Config
from mintad.disk import digest, refuse_special, write
from mintad.errors import ConfigError, MintadError, TrainingError
from mintad.lock import exclusive_lock
from mintad.runs.damage import advice, read_array
from mintad.runs.files import BEFORE, CATEGORIES, DIGESTS, LOCK, MADE, PAGE, PHOTOGRAPHS, PRODUCTS, REGION, RESULTS
from mintad.scoring.decisions import Decisions
from mintad.scoring.known_products import KnownProducts
from mintad.scoring.metrics import RESULT_COLUMNS
from mintad.scoring.sharp_prior import split_method
from mintad.scoring.threshold import Threshold
from mintad.training import Checkpoint, latest_checkpoint

log = logging.getLogger(__name__)
_missed: set[Path] = set()  # of which this process has said that they are missing


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path

    @property
    def page(self) -> Path:
        """The results page."""
        return self.path / PAGE

    def read(self, name: str) -> Any:
        """Read a JSON file of the run; raise MintadError if it is missing or damaged."""
        file = self.path / f"{name}.json"
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            if name != "config" and self.finished:
                raise MintadError("is missing", path=file, fix=advice(self.path, name)) from None
            raise MintadError(f"{file} is missing: this is not a finished run directory of mintad train") from None
        except (ValueError, RecursionError) as error:
            raise MintadError(f"is damaged: {error}", path=file, fix=advice(self.path, name)) from error
        kind = list if name == "classes" else dict
        if not isinstance(value, kind) and not (name == "threshold" and value is None):
            problem = f"is damaged: it must hold {'a list' if kind is list else 'a mapping'}"
            raise MintadError(problem, path=file, fix=advice(self.path, name))
        return value

    def require_scoring(self) -> None:
        """Raise MintadError if the configuration scores otherwise than when the results were written."""
        written = self.digests().get("scoring")
        if written not in (None, scoring_digest(self.config())):
            problem, fix = (
                "scoring is not what the results were made with",
                f"mintad evaluate {self.path} makes them anew",
            )
            raise MintadError(problem, path=self.path / "config.json", fix=fix)

    def digests(self) -> dict[str, Any]:
        """Return what ``digests.json`` holds of the result files; nothing of a folder with a table alone (a report's).

        Where a run has lost the file, which would let damage pass, a warning names it.
        """
        file = self.path / DIGESTS
        if file.exists():
            return self.read(Path(DIGESTS).stem)
        if self.finished and (self.path / PHOTOGRAPHS).exists() and file not in _missed:  # which came after it
            _missed.add(file)
            text = "%s is missing, so that damage of the results is not noticed; mintad evaluate %s writes it anew"
            log.warning(text, file, self.path)
        return {}

    @property
    def region(self) -> bool:
        """Whether the results are of a region of interest alone, see `mintad.runs.region`."""
        return REGION in self.digests()

    def _sound(self, name: str) -> Path:
        """Return the path of a result file that is as it was written, where there are digests."""
        file, digests = self.path / name, self.digests()
        if digests and (not file.is_file() or digest(file) != digests.get(name)):
            fix = f"mintad evaluate {self.path} writes it anew"
            raise MintadError("is damaged: it is not what was written", path=file, fix=fix)
        return file

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file of the run atomically."""
        write(self.path / f"{name}.json", json.dumps(value, indent=1))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a CSV file of the run atomically."""
        write(self.path / f"{name}.csv", table.to_csv(index=False))

    def config(self) -> Config:
        """Return the configuration that the run was started with; raise ConfigError where it is none.

        Every command asks for it first, so a pipe or a device in the directory is refused here.
        """
        self.require_name()
        refuse_special(*self.path.glob("*"), *self.path.glob("checkpoints/*/*"))
        try:
            return Config.from_dict(self.read("config"))
        except ConfigError as error:
            problem = f"{self.path / 'config.json'}, of mintad {self._version()}: {error}"
            fix = "use the version that made the run, or train anew into another --out"
            raise ConfigError(problem, fix=fix) from error

    def require_name(self) -> None:
        """Raise MintadError for a name that is no UTF-8, under which safetensors reads no file."""
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise MintadError("its name is not UTF-8", path=self.path, fix="rename the folder") from None

    def _version(self) -> str:
        with contextlib.suppress(MintadError):
            return str(self.read("versions").get("mintad", "unknown"))
        return "unknown"

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint; raise TrainingError if there is none."""
        checkpoint = latest_checkpoint(self.path / "checkpoints")
        if checkpoint is None and self.finished and (self.path / CATEGORIES).exists():
            one = next((self.path / CATEGORIES).iterdir(), self.path / CATEGORIES)
            fix = f"name one of them, for example {one}"
            raise TrainingError("this is a separate training, with a model for each category", path=self.path, fix=fix)
        if checkpoint is None:
            raise TrainingError("there is no checkpoint", path=self.path, fix=self._how_to_finish())
        return checkpoint

    def _how_to_finish(self) -> str:
        if (self.path / CATEGORIES).exists():
            return "it is a separate training, which the call that began it finishes (notebook 10, setting 'separate')"
        if self.finished:
            return f"restore it, or train anew: the same mintad train --out {self.path} with --overwrite"
        return f"mintad train --out {self.path} finishes it"

    def scores(self) -> pd.DataFrame:
        """Return the scored test rows, as they were when written."""
        texts = ("dataset", "category", "split", "defect", "image", "masks", "prompt_class", "pred_class")
        texts += ("hash", "masks_hash")  # of the files, see `mintad.runs.changes`
        scores = pd.read_csv(self._sound("scores.csv"), keep_default_na=False, dtype=dict.fromkeys(texts, str))
        return scores.assign(masks=scores["masks"].map(_read_masks))

    def maps(self) -> np.ndarray:
        """Return the anomaly maps (N, H, W) of the scored test rows; raise MintadError if the file is damaged."""
        file = self._sound("maps.npy")
        try:
            return read_array(file)
        except (ValueError, EOFError) as error:
            fix = f"mintad evaluate {self.path} writes it anew"
            raise MintadError(f"is damaged: {error}", path=file, fix=fix) from error

    def results(self) -> pd.DataFrame:
        """Return every number of the run: columns `mintad.scoring.metrics.RESULT_COLUMNS`, the model's rows first.

        Raises:
            MintadError: the run is unfinished or damaged.
        """
        file = self.path / RESULTS
        if not self.finished:
            problem = f"the run is not finished, {RESULTS} is missing"
            raise MintadError(problem, path=self.path, fix=self._how_to_finish())
        try:
            table = pd.read_csv(
                self._sound(RESULTS), dtype=dict.fromkeys(("method", "setting", "category", "metric"), str)
            )
            return table[list(RESULT_COLUMNS)].astype({"seed": int, "value": float})
        except (KeyError, ValueError) as error:
            raise MintadError(f"{file} is damaged ({error}); mintad evaluate {self.path} writes it anew") from error

    def made_defects(self) -> pd.DataFrame | None:
        """Return what `mintad.runs.made` found; None for a run whose categories all have anomalous test images."""
        return pd.read_csv(self._sound(MADE), keep_default_na=False) if (self.path / MADE).exists() else None

    def baselines(self) -> list[str]:
        """Return the names of the baselines that the run was compared with, in their order."""
        if self.finished:
            methods = self.results()["method"]
        else:
            former = self.path / BEFORE
            methods = pd.read_csv(former)["method"] if former.exists() else pd.Series(dtype=str)
        variant = self.config().model.variant
        return [name for name in methods.unique() if split_method(name)[0] != variant]

    def decisions(self) -> Decisions | None:
        """Return the rules by which the run decides; None where no images were held out, and for separate models.

        Raises:
            MintadError: ``threshold.json`` is missing, damaged, or of an older version.
        """
        content = self.read("threshold")
        if content is None and self.digests().get("decided"):
            fix = f"mintad evaluate {self.path} fits it anew"
            raise MintadError("the thresholds are gone", path=self.path / "threshold.json", fix=fix)
        try:
            return None if content is None else Decisions.from_json(content)
        except (KeyError, TypeError, ValueError) as error:
            fix = f"mintad evaluate {self.path} fits it anew"
            raise MintadError(f"cannot be used: {error}", path=self.path / "threshold.json", fix=fix) from error

    def threshold(self) -> Threshold | None:
        """Return the one threshold that is fitted to the held-out images of all classes; for None see `decisions`."""
        decisions = self.decisions()
        return decisions and decisions.pooled()

    def known_products(self, decisions: Decisions) -> KnownProducts:
        """Return what the products look like; raise MintadError if they are not those that `decisions` belong to."""
        known = KnownProducts.load(self.path / PRODUCTS)
        if known.digest() != decisions.products:
            problem, fix = "does not belong to threshold.json", f"mintad evaluate {self.path} writes both anew"
            raise MintadError(problem, path=self.path / PRODUCTS, fix=fix)
        return known

    def photographs(self) -> dict[str, Any]:
        """Return what the training images are like, see `mintad.data.photographs`; empty where none are noted."""
        return {} if PHOTOGRAPHS not in self.digests() else self.read(Path(self._sound(PHOTOGRAPHS)).stem)

    def discard_results(self) -> None:
        """Remove the results, so that a crash from here on leaves an unfinished run and no mixture of old and new."""
        for name in (RESULTS, MADE, REGION):
            (self.path / name).unlink(missing_ok=True)

    def training_images(self) -> pd.DataFrame:
        """Return the training and held-out images that were recorded, see `mintad.runs.prepare.image_list`.

        Raises:
            MintadError: the file is missing or damaged.
        """
        file = self.path / "images.csv"
        try:
            return pd.read_csv(file, keep_default_na=False, dtype=str)[["image", "category", "role", "hash"]]
        except (OSError, ValueError, KeyError) as error:
            fix = "restore it from a copy, or train anew into another --out"
            raise MintadError(f"is damaged: {' '.join(str(error).split())}", path=file, fix=fix) from error

    def seconds(self) -> dict[str, float]:
        """Return the seconds spent on features and training, and on the last evaluation and fit of each baseline."""
        return self.read("seconds") if (self.path / "seconds.json").exists() else {}

    def note_seconds(self, name: str, seconds: float) -> None:
        """Record the seconds of one piece of work."""
        self.write("seconds", self.seconds() | {name: round(seconds, 3)})

    @contextlib.contextmanager
    def timing(self, name: str, *, add: bool = False) -> Iterator[None]:
        """Record the seconds that the block takes, interrupted or not; `add` them to those recorded before."""
        before = self.seconds().get(name, 0.0) if add else 0.0
        began = time.perf_counter()
        try:
            yield
        finally:
            self.note_seconds(name, before + time.perf_counter() - began)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of the directory while the block runs; raise TrainingError if one works in it."""
        busy = f"another process is working in {self.path}; wait for it to end, or choose another --out"
        return exclusive_lock(self.path / LOCK, TrainingError(busy))

    @property
    def begun(self) -> bool:
        """Whether there is anything that a configuration has made: a checkpoint, results, or separate models."""
        made = (CATEGORIES, RESULTS)
        return any((self.path / name).exists() for name in made) or any((self.path / "checkpoints").glob("step-*"))

    @property
    def finished(self) -> bool:
        """Whether the run was trained to its end and evaluated."""
        return (self.path / RESULTS).exists()


def scoring_digest(config: Config) -> str:
    """Return a digest of what decides how a run is scored."""
    return hashlib.sha256(json.dumps(config.to_dict()["scoring"], sort_keys=True).encode()).hexdigest()


def _read_masks(text: str) -> tuple[str, ...]:
    """Return the files of an image's masks."""
    return tuple(json.loads(text)) if text else ()
