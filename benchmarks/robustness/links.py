"""Plant links and pipes where commands write, and look whether anything outside changes.

    OMP_NUM_THREADS=1 python benchmarks/robustness/links.py --links 150

A trial draws a command (train, one more baseline with its page, evaluate, predict, watch, report, export) and a place
where it writes: something in the run directory, the feature cache, the predictions or the report, or the exported
model. It puts there a symbolic link to a file or folder outside, or to nothing, a hard link to a file outside, or a
named pipe. (The folder that --out names may itself be a link: that is for the user to say.) The command must then end
well or be refused in one line with exit code 2, and what is outside must be, byte for byte, what it was. Anything else
is a failure, which is listed with its seed; then the exit code is 1.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from damage import count, run_parts
from inside import NAMED, enough, exported_before, inside, prepare, reset, run
from tiny_run import COMMANDS

NAMES = ("train", "evaluate", "page", "predict", "watch", "report", "export")
SHARES = (0.2, 0.2, 0.15, 0.15, 0.1, 0.15, 0.05)  # of the trials; an export takes long
KINDS = ("link to a file", "link to a folder", "link to nothing", "hard link", "pipe")
PLACES = ("run/", "cache/features", "predictions/", "watched/", "report/", "model.onnx")


def snapshot(folder: Path) -> dict[str, object]:
    """Return every name in a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def plant(place: Path, kind: str, outside: Path) -> None:
    """Put a link or pipe in the place of a file or folder."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "hard link":
        os.link(outside / "file", place)
    else:
        target = {"file": outside / "file", "folder": outside / "folder"}.get(kind.split()[-1], outside / "new")
        place.symlink_to(target)


def links(folder: Path, trials: range) -> list[str]:
    """Plant links and give commands."""
    names = enough(NAMES, trials)
    before, _ = prepare(folder, names)
    here, outside = folder / "here", folder / "outside"
    (outside / "folder").mkdir(parents=True)
    for name in ("file", "folder/file", "folder/config.json", "folder/predictions.jsonl"):
        (outside / name).write_text("precious\n")
    written = sorted(str(path.relative_to(here)) for path in here.rglob("*"))
    written = [path for path in written if path.startswith(PLACES)]
    shares = np.array(SHARES[: len(names)]) / sum(SHARES[: len(names)])
    expected = snapshot(outside)

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        name, kind = str(rng.choice(names, p=shares)), str(rng.choice(KINDS))
        where = {"predict": "predictions", "watch": "watched", "report": "report", "export": "model.onnx"}.get(name)
        roots = (where,) if where and rng.random() < 0.8 else ("run", "cache")
        places = [path for path in written if path.startswith(roots)]
        folders = sorted({place.split("/")[0] for place in places})
        groups = [[path for path in places if path.split("/")[0] == top] for top in folders]  # a cache has many files
        group = groups[rng.integers(len(groups))]
        place = group[rng.integers(len(group))]
        reset(here, before[name])
        plant(here / place, kind, outside)
        what = f"{kind} as {place}, {name}"
        with inside(here), exported_before(folder):
            code, said = run(COMMANDS[name])
        now = snapshot(outside)
        if now != expected:
            changed = sorted(path for path in now.keys() | expected.keys() if now.get(path) != expected.get(path))
            shutil.rmtree(outside)
            outside.mkdir()
            for path, content in sorted(expected.items()):
                (outside / path).mkdir(parents=True) if content is None else (outside / path).write_bytes(content)
            return what, f"outside changed: {', '.join(changed)}"
        if code == 0:
            return what, "unharmed"
        if code == 2 and said and "\n" not in said:
            return what, "refused by name" if re.search(NAMED, said) else f"no name: {said}"
        return what, f"exit code {code}: {said}"

    return count("links", trials, trial, slow=60.0)


def main(arguments: list[str] | None = None) -> int:
    """Plant links."""
    return run_parts(__doc__, {"links": links}, arguments)


if __name__ == "__main__":
    sys.exit(main())
