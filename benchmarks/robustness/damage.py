"""Damage files and make disks fail, at random, and count what becomes of it: images, cached features, checkpoints.

    OMP_NUM_THREADS=1 python benchmarks/robustness/damage.py --images 1000 --cache 150 --checkpoints 200 --errors 100

Every trial starts from sound files, of which one is damaged: a flipped bit, a part cut off or overwritten, an empty or
missing file, or, for images, the content of another format under this name. The outcomes that count as good:

* images: refused with a message that names the file, or read as RGB (formats without a checksum cannot tell);
* cache: the features are those without the damage, bit for bit, and if a shard was dropped, this was said;
* checkpoints: refused with a message that names the file, or resumed to the same weights, bit for bit;
* errors: the disk reports an error, or is full, from a random call of fsync or rename on, which ends the training; then
  the disk is well again, and the training resumes to the same weights, bit for bit.

Anything else is a failure, which is listed with its seed; then the exit code is 1. `seconds` is the slowest trial,
`MiB` the peak of the process so far.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mintad.config import TrainConfig, preset
from mintad.data.images import read_image
from mintad.errors import MintadError
from mintad.features.backbone import build_backbone
from mintad.features.extract import extract
from mintad.features.table import FeatureTable
from mintad.model import build_model
from mintad.training import train

SLOW = 10.0  # seconds
GOOD = ("refused by name", "read", "computed anew", "unharmed", "same weights")
TRAIN = TrainConfig(epochs=None, steps=8, batch_size=8, checkpoint_every=5, log_every=2, device="cpu")
MODEL = dataclasses.replace(preset("small").model, width=16, heads=2, ffn_dim=32)


def damage(file: Path, rng: np.random.Generator) -> str:
    """Damage one file in a random way, and say how."""
    content = bytearray(file.read_bytes())
    kind = str(rng.choice(["bit", "bit", "bit", "cut", "overwritten", "empty", "gone", "repeated"]))
    place = int(rng.integers(len(content)))
    if kind == "bit":
        content[place] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del content[place:]
    elif kind == "overwritten":
        length = min(int(rng.integers(1, 64)), len(content) - place)
        content[place : place + length] = rng.bytes(length)
    elif kind == "empty":
        content.clear()
    elif kind == "repeated":
        content += content[place:] or b"\0"
    file.write_bytes(content)
    if kind == "gone":
        file.unlink()
    return f"{kind} in {file.name}"


def count(
    name: str, trials: range, trial: Callable[[np.random.Generator], tuple[str, str]], *, slow: float = SLOW
) -> list[str]:
    """Run `trial` with every seed; it returns what was damaged, and the outcome. Print counts, and return failures."""
    outcomes, slowest, failures = Counter(), 0.0, []
    for seed in trials:
        began, what = time.perf_counter(), ""
        try:
            what, outcome = trial(np.random.default_rng(seed))
        except Exception as error:  # whatever it is, it is what this script looks for
            outcome = f"traceback: {type(error).__name__}: {error}"
        seconds = time.perf_counter() - began
        slowest = max(slowest, seconds)
        if outcome not in GOOD or seconds > slow:
            failures.append(f"{name}, seed {seed}, {what}: {outcome}, {seconds:.1f} s")
        outcomes[outcome.partition(":")[0]] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    print(f"{name}: {len(trials)} tried: {counts}; seconds {slowest:.1f}, MiB {peak:.0f}", flush=True)
    return failures


def images(folder: Path, trials: range) -> list[str]:
    """Damage images of every format, and read them."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (96, 80, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (96, 80), dtype=np.uint16))
    pictures = {".png": picture, ".jpg": picture, ".bmp": picture, ".tif": picture, ".webp": picture, ".gif": picture}
    pictures |= {".ppm": picture, ".jp2": picture, ".PNG": deep, ".TIF": deep, ".pgm": picture.convert("L")}
    stored = {suffix: _encoded(image, suffix) for suffix, image in pictures.items()}
    others = [_encoded(picture, suffix) for suffix in (".ico", ".tga", ".pcx", ".sgi", ".dds", ".pdf")]
    others += [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"<svg/>", b"\x80\x04N.", b"PK\x03\x04"]

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        suffix = str(rng.choice(list(stored)))
        file = folder / f"image{suffix}"
        foreign = rng.random() < 0.1
        file.write_bytes(others[rng.integers(len(others))] if foreign else stored[suffix])
        what = f"another format as {file.name}" if foreign else damage(file, rng)
        try:
            mode = read_image(file).mode
        except MintadError as error:
            return what, "refused by name" if str(file) in str(error) else f"no name: {error}"
        return what, "read" if mode == "RGB" and not foreign else f"read as {mode}"

    return count("images", trials, trial)


def _encoded(image: Image.Image, suffix: str) -> bytes:
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()[suffix.lower()])
    return file.getvalue()


def cache(folder: Path, trials: range) -> list[str]:
    """Damage a file of a feature cache, and extract."""
    backbone = build_backbone("efficientnet_lite0", weights="random", image_size=32, grid=2, reductions=(2, 4))
    rng, paths = np.random.default_rng(0), [folder / f"{n}.png" for n in range(6)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    records = pd.DataFrame({"image": [str(path) for path in paths]})

    def features() -> torch.Tensor:
        return extract(records, backbone, cache_dir=folder / "cache", progress=False, workers=1).gather(
            range(len(paths))
        )

    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logging.getLogger("mintad").addHandler(handler)
    expected = features()
    shutil.copytree(folder / "cache", folder / "sound")

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        shutil.rmtree(folder / "cache")
        shutil.copytree(folder / "sound", folder / "cache")
        heard.clear()
        files = sorted(file for file in (folder / "cache").rglob("*") if file.is_file())
        before = {file.name for file in files}
        what = damage(files[rng.integers(len(files))], rng)
        if not torch.equal(features(), expected):
            return what, "other features"
        fresh = {file.name for file in (folder / "cache").rglob("shard-*")} - before
        gone = what.startswith("gone")  # nothing is left to be called damaged
        return what, "unharmed" if not fresh else "computed anew" if heard or gone else "computed anew in silence"

    failures = count("cache", trials, trial)
    logging.getLogger("mintad").removeHandler(handler)
    return failures


def train_in(run: Path, stop: int = TRAIN.steps + 1) -> list[torch.Tensor]:
    """Train a small model in a run directory, or resume it, and return its weights; interrupt it at a step."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 12)
    features = FeatureTable.from_tensor(torch.from_numpy(rng.normal(size=(24, 16, 12)).astype(np.float32)))
    torch.manual_seed(0)
    model = build_model(MODEL, channels=12, grid=(4, 4), classes=2)

    def interrupt(done: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    identity = {"classes": ["a", "b"], "train.seed": TRAIN.seed}
    options = {"progress": False, "after_step": interrupt, "identity": identity}
    train(model, features, np.arange(24), labels, TRAIN, run, **options)
    return list(model.state_dict().values())


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> str:
    """Say whether two lists of weights are the same."""
    equal = all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    return "same weights" if equal else "other weights"


def checkpoints(folder: Path, trials: range) -> list[str]:
    """Damage a file of an interrupted run, or rename a checkpoint, and resume."""
    expected = train_in(folder / "straight")
    try:
        train_in(folder / "sound", stop=6)
    except KeyboardInterrupt:
        pass

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder / "sound", run)
        files = sorted(file for file in run.rglob("*") if file.is_file())
        file = files[rng.integers(len(files))]
        if rng.random() < 0.1:
            (checkpoint,) = run.glob("checkpoints/step-*")
            checkpoint.rename(checkpoint.with_name(f"step-{rng.integers(1, 9):08d}"))
            what = "renamed"
        else:
            what = damage(file, rng)
        try:
            weights = train_in(run)
        except MintadError as error:
            return what, "refused by name" if str(run) in str(error) else f"no name: {error}"
        return what, same(weights, expected)

    return count("checkpoints", trials, trial)


def errors(folder: Path, trials: range) -> list[str]:
    """Let the disk fail in a training, and resume it when the disk is well again."""
    expected = train_in(folder / "straight")

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        run, name, number = folder / "run", str(rng.choice(["fsync", "replace"])), int(rng.choice([5, 28]))
        healthy = int(rng.integers(14 if name == "fsync" else 2))  # that many calls does a whole training make
        shutil.rmtree(run, ignore_errors=True)
        calls, call = itertools.count(), getattr(os, name)

        def failing(*arguments: object) -> None:
            if next(calls) >= healthy:
                raise OSError(number, os.strerror(number))
            call(*arguments)

        setattr(os, name, failing)
        what = f"{os.strerror(number)} from call {healthy} of {name} on"
        try:
            train_in(run)
            return what, "passed over"
        except OSError:
            pass
        finally:
            setattr(os, name, call)
        return what, same(train_in(run), expected)

    return count("errors", trials, trial)


def run_parts(
    about: str, parts: dict[str, Callable[[Path, range], list[str]]], arguments: list[str] | None = None
) -> int:
    """Run the trials that the command line asks for, of each part `--NAME TRIALS`, and return the exit code.

    A part is given its trials' seeds, from `--first-seed` on, so that another call can try other cases.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    for name in parts:
        parser.add_argument(f"--{name}", type=int, default=0, metavar="TRIALS")
    parser.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="of the trials; 0 if left out")
    chosen = vars(parser.parse_args(arguments))
    first = chosen["first_seed"]
    failures: list[str] = []
    for name, part in parts.items():
        if chosen[name]:
            with tempfile.TemporaryDirectory() as folder:
                failures += part(Path(folder), range(first, first + chosen[name]))
    print(*(f"FAILED {failure}" for failure in failures), sep="\n", end="")
    return bool(failures)


def main(arguments: list[str] | None = None) -> int:
    """Damage files and disks."""
    parts = {"images": images, "cache": cache, "checkpoints": checkpoints, "errors": errors}
    return run_parts(__doc__, parts, arguments)


if __name__ == "__main__":
    logging.getLogger("mintad").addHandler(logging.NullHandler())  # thousands of warnings are meant to be counted
    sys.exit(main())
