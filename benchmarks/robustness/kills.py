"""Kill commands at random moments (SIGKILL), give them again, and compare with what they give undisturbed.

    OMP_NUM_THREADS=1 python benchmarks/robustness/kills.py --kills 100

A trial draws one of the commands train, evaluate, predict and report, and a moment between its start and the time that
it takes undisturbed. After the kill nothing of it may be alive, and the same command must end well and leave what the
undisturbed one left: weights, scores, maps, results, predictions and tables, bit for bit, and no unfinished file.
Anything else is a failure, which is listed with its seed; then the exit code is 1.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from damage import count, run_parts
from safetensors.numpy import load_file

from mintad.disk import UNFINISHED

SETTINGS = (
    "data.options={categories: [mesh, gear], n_train: 12, n_test_good: 3, n_test_defect: 1, size: 64}",
    *("features.image_size=64", "features.grid=4", "features.weights=random", "model.pool=1", "model.width=16"),
    *("model.heads=2", "model.ffn_dim=32", "train.steps=60", "train.checkpoint_every=10", "train.device=cpu"),
)
COMMANDS = {
    "train": ["train", "--data", "mini", "--out", "run", "--quiet", *(f"--set={setting}" for setting in SETTINGS)],
    "evaluate": ["evaluate", "run", "--baselines", "padim", "--quiet"],
    "predict": ["predict", "run", "pictures", "--out", "predictions", "--quiet"],
    "report": ["report", "run", "--out", "report"],
}
COMPARED = ("*.safetensors", "scores.csv", "maps.npy", "results.csv", "predictions.csv", "*.tex", "*.zip")


def start(name: str, folder: Path) -> subprocess.Popen:
    """Start a command in a folder that has its own caches."""
    own = {"HOME": str(folder), "MINTAD_CACHE": str(folder / "cache"), "XDG_DATA_HOME": str(folder / "data")}
    command = [sys.executable, "-m", "mintad", *COMMANDS[name]]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=os.environ | own, start_new_session=True, **quiet)


def state(folder: Path) -> dict[str, object]:
    """Return every file of `COMPARED` and its content: tensors without their metadata, tables without seconds."""
    files = [file for pattern in COMPARED for file in folder.rglob(pattern) if "cache" not in file.parts]
    return {str(file.relative_to(folder)): content(file) for file in files}


def content(file: Path) -> object:
    """Return what must be the same in a file."""
    if file.suffix == ".safetensors":
        return {name: tensor.tobytes() for name, tensor in load_file(file).items()}
    if file.name == "predictions.csv":
        return pd.read_csv(file).drop(columns="seconds").to_csv()
    return file.read_bytes()


def kills(root: Path, trials: range) -> list[str]:
    """Kill commands and give them again."""
    before, after, seconds = {}, {}, {}
    here = root / "here"  # always the same folder, because files name it
    here.mkdir()
    for name in COMMANDS:
        before[name] = Path(shutil.copytree(here, root / f"before-{name}"))
        began = time.perf_counter()
        process = start(name, here)
        message = process.communicate()[1].decode()
        if process.returncode:
            raise SystemExit(f"{name} fails undisturbed: {message}")
        seconds[name], after[name] = time.perf_counter() - began, state(here)
        if name == "train":
            images = sorted(here.rglob("test/*/*.png"))
            shutil.copytree(images[0].parent, here / "pictures")

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        name = list(COMMANDS)[rng.choice(len(COMMANDS), p=(0.55, 0.15, 0.2, 0.1))]
        moment = float(rng.uniform(0, seconds[name]))
        shutil.rmtree(here)
        shutil.copytree(before[name], here)
        process = start(name, here)
        time.sleep(moment)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        what = f"{name} killed after {moment:.1f} of {seconds[name]:.1f} s"
        _, alive = psutil.wait_procs(children, timeout=5)
        if alive:
            return what, f"alive: {len(alive)} processes"
        again = start(name, here)
        message = again.communicate()[1].decode()
        if again.returncode:
            return what, f"fails: {message}"
        if list(here.rglob(f"{UNFINISHED}*")):
            return what, "left: an unfinished file"
        now = state(here)
        other = [file for file, content in after[name].items() if now.get(file) != content]
        return what, f"other: {other[0]}" if other else "unharmed"

    return count("kills", trials, trial, slow=180.0)  # a command and a half, on a busy machine


def main(arguments: list[str] | None = None) -> int:
    """Kill commands."""
    return run_parts(__doc__, {"kills": kills}, arguments)


if __name__ == "__main__":
    sys.exit(main())
