"""How long `mintad course grade` takes: made-up submissions of three notebooks, of ten kinds.

    python benchmarks/grade_time.py data/results/grade_time.csv

Kinds: right (six in twenty), wrong, empty, crashing, endless loop, memory hog, writing outside, changed checks,
hard-coded answers, and a submission whose notebooks are no notebooks. A row per kind has means over its submissions;
the last row has the seconds from the first to the last of all, and the processor's in sum. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
from provenance import write

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from grade_builders import hand_in, path_of, solutions  # noqa: E402

from mintad.course.grade.engine import WORK, grade  # noqa: E402

NOTEBOOKS = "03", "05", "06"
KINDS = {
    "right": 6,
    "wrong": 4,
    "empty": 2,
    "crashing": 1,
    "endless": 1,
    "memory": 1,
    "writing": 1,
    "checks": 2,
    "typed in": 1,
    "broken": 1,
}
CODE = {
    "crashing": "{name} = lambda *a: __import__('ctypes').string_at(0)",
    "memory": "{name} = lambda *a: bytearray(64 << 30)",
    "writing": "{name} = lambda *a: open('/usr/mintad-was-here', 'w') and open('{out}/was-here', 'w')",
    "checks": "checks.check_{name} = print\n{name} = lambda *a: checks.reference_{name}(*a)",
    "typed in": "def {name}(*a):\n    return 0.75",
    "wrong": "def {name}(*a):\n    return a[0] * 1.5",
}


def answers_of(kind: str, name: str, out: Path) -> dict[str, str]:
    """Return what a student of this kind writes into the cells of a notebook."""
    right = solutions(path_of(name))
    if kind == "endless":  # in one exercise; the others are right
        return right | {next(iter(right)): f"def {next(iter(right))}(*a):\n    while True:\n        pass"}
    if kind == "typed in" and "pool_parameters" in right:  # passes the notebook's check, and nothing else
        known = {(1, 1, 5, 3): 15, (1, 2, 5, 3): 30, (15, 4, 196, 256): 3_010_560}
        return {"pool_parameters": f"pool_parameters = lambda *a: {known}.get(a, 0)"}
    if kind in CODE:
        return {exercise: CODE[kind].format(name=exercise, out=out) for exercise in right}
    return right if kind == "right" else {}


def make_submissions(count: int, folder: Path, out: Path) -> list[Path]:
    """Write `count` submissions into folders below `folder`, named after their number and kind, and return these."""
    twenty = [kind for kind, times in KINDS.items() for _ in range(times)]
    for n in range(count):
        kind = twenty[n % len(twenty)]
        for name in NOTEBOOKS:
            file = hand_in(folder / f"{n:03d} {kind}", name, answers_of(kind, name, out))
            if kind == "broken":
                file.write_text(file.read_text(encoding="utf-8")[:500], encoding="utf-8")
    return sorted(folder.iterdir())


def main() -> None:
    """Make the submissions, grade them, and write what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--work", type=Path, default=Path("runs/grade_time"), help="folder for the submissions")
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    folders = make_submissions(options.submissions, options.work / "in", options.work.resolve())
    began = time.perf_counter()
    grades = grade(folders, options.work / "graded", workers=options.workers, seconds=options.timeout, seed=0)
    seconds = time.perf_counter() - began
    records = [json.loads((options.work / f"graded/{WORK}/student-{f.name}.json").read_text()) for f in folders]
    rows = []
    for folder, record in zip(folders, records, strict=True):
        got, most = grades.totals[folder.name]
        spent = {"seconds": record["seconds"], "processor_seconds": record["processor"]}
        rows.append({"kind": folder.name[4:], "points": got, "out_of": most, **spent})
    table = pd.DataFrame(rows).groupby("kind", sort=False)
    table = table.agg(
        n=("points", "size"), **{name: (name, "mean") for name in rows[0] if name != "kind"}
    ).reset_index()
    used = sum(record["processor"] for record in records)
    whole = {"kind": "all", "n": len(folders), "seconds": seconds, "processor_seconds": used}
    table = pd.concat([table, pd.DataFrame([whole])], ignore_index=True)
    write(options.csv, table.round(1))
    print(table.round(1).to_string(index=False))
    print(f"isolated by namespaces: {'yes' if all(record['isolated'] for record in records) else 'NO'}")
    outside = Path("/usr/mintad-was-here").exists() or (options.work / "was-here").exists()
    print(f"written outside a submission's folder: {'YES' if outside else 'nothing'}")


if __name__ == "__main__":
    main()
