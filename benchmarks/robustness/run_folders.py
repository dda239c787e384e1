"""Damage run directories and configurations at random, and count what becomes of them.

    OMP_NUM_THREADS=1 python benchmarks/robustness/run_folders.py --runs 200 --configurations 300

As in `damage.py`, whose way of counting this is, a failure is whatever is not one of these:

* runs: one file of a finished run is damaged, replaced by a folder or by foreign JSON, or renamed. Predictions, results
  and scores are then refused with a message that names the run, or they are those of the sound run;
* configurations: a file made of valid and hostile pieces is refused in one line of at most 2,000 letters, or accepted,
  and then its model is built.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from damage import count, damage, run_parts
from PIL import Image

from mintad.config import Config, load_config, preset
from mintad.errors import MintadError
from mintad.model import build_model
from mintad.runs.directory import Run
from mintad.runs.predict import Predictor
from mintad.runs.train import train_run

FOREIGN = (
    b"[1]",
    b"null",
    b'"x"',
    b"{}",
    b"[" * 9999,
    b'{"value": "x", "n": [], "steps": null}',
    b"\xff\xfe\x00",
    b"a,b\n1\n",
)
"""What another program may have left under a file's name."""
PIECES = (
    *("width: 64", "width: 1e9", "width: -2", "width: [1]", "width: &a [*a]", "heads: 7", "heads: 4", "variant: uniad"),
    *("variant: 5", "variant: nope", "encoder_layers: 10000000", "encoder_layers: 2", "inr: {layers: 99999999}"),
    *("inr: {hidden: 16}", "inr: 7", "jitter: null", "options: {1: 2}", "options: {hidden: 8}", "width: 64, width: 32"),
    *("neighbour_mask: -1", "neighbour_mask: 99", "dropout: .nan", "adapter: on", "class_loss: yes", "ffn_dim: 1:30"),
    *(
        "prompt_mapper: {gain: .inf}",
        "pool: 0",
        "'\\e[31m': 1",
        "? [a]: b",
        "!!python/object:os.system x: 1",
        "width: " + "[" * 3000,
    ),
)
"""Entries of the section `model`."""


def finished_run(folder: Path) -> Run:
    """Train a very small model on drawn pictures, in seconds."""
    changes = {
        "data.options": {
            "categories": ["mesh", "capsule"],
            "n_train": 8,
            "n_test_good": 2,
            "n_test_defect": 1,
            "size": 64,
        },
        **{"features.image_size": 64, "features.grid": 4, "features.weights": "random", "model.width": 16},
        **{"model.ffn_dim": 32, "model.heads": 2, "train.steps": 4, "train.batch_size": 8, "train.device": "cpu"},
    }
    config = preset("fast").override(**{"data.name": "mini", **changes})
    return train_run(config, folder / "sound", progress=False)


def answers(run: Run, pictures: list[Image.Image]) -> tuple:
    """Return everything that a run answers."""
    predictor = Predictor(run.path, device="cpu")
    scores, maps, names = predictor(pictures)
    tables = [run.results().to_csv(), run.scores().to_csv()]
    rules = json.dumps(predictor.decisions.to_json())
    return rules, scores.tobytes(), maps.tobytes(), tuple(names), predictor.map_range, *tables


def runs(folder: Path, trials: range) -> list[str]:
    """Damage a file of a finished run, and ask the run."""
    run = finished_run(folder)
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2)]
    sound = answers(run, pictures)

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        copy = Run(folder / "run")
        shutil.rmtree(copy.path, ignore_errors=True)
        shutil.copytree(run.path, copy.path)
        files = sorted(file for file in copy.path.rglob("*") if file.is_file() and file.stat().st_size)
        file, kind = files[rng.integers(len(files))], rng.random()
        if kind < 0.6:
            what = damage(file, rng)
        elif kind < 0.8:
            what = f"foreign content in {file.name}"
            file.write_bytes(FOREIGN[rng.integers(len(FOREIGN))])
        elif kind < 0.9:
            what = f"a folder instead of {file.name}"
            file.unlink()
            file.mkdir()
        else:
            what = f"{file.name} renamed"
            file.rename(file.with_name(f"x{file.name}"))
        try:
            after = answers(copy, pictures)
        except (MintadError, OSError) as error:
            return what, "refused by name" if str(copy.path) in str(error) else f"no name: {error}"
        return what, "unharmed" if after == sound else "other answers"

    return count("runs", trials, trial)


def configurations(folder: Path, trials: range) -> list[str]:
    """Write a configuration of random pieces, read it, and build its model."""

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        pieces = list(rng.choice(PIECES, size=rng.integers(1, 4), replace=False))
        file = folder / "run.yaml"
        file.write_text("model: {" + ", ".join(pieces) + "}\n")
        try:
            config: Config = load_config(file, base=preset("small"))
            with torch.no_grad():
                build_model(config.model, channels=8, grid=(7, 7), classes=2)
        except MintadError as error:
            text = str(error)
            return str(pieces)[:200], "refused by name" if "\n" not in text and len(text) < 2000 else f"long: {text}"
        return str(pieces)[:200], "read"

    return count("configurations", trials, trial)


def main(arguments: list[str] | None = None) -> int:
    """Damage run directories and configurations."""
    return run_parts(__doc__, {"runs": runs, "configurations": configurations}, arguments)


if __name__ == "__main__":
    sys.exit(main())
