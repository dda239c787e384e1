"""How long `mintad course grade` takes: made-up submissions of three notebooks, of ten kinds.

python benchmarks/grade_time.py --submissions 20 --workers 2 --out runs/grade_time

Kinds: right (six in twenty), wrong, empty, crashing, endless loop, memory hog, writing outside, changed checks,
hard-coded answers, and a submission whose notebooks are no notebooks. Prints a line per kind, and the time for 200 of
them. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

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


def main() -> None:
    """Make the submissions, grade them, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/grade_time"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    twenty = [kind for kind, times in KINDS.items() for _ in range(times)]
    for n in range(options.submissions):
        kind = twenty[n % len(twenty)]
        folder = options.out / "in" / f"{n:03d} {kind}"
        for name in NOTEBOOKS:
            file = hand_in(folder, name, answers_of(kind, name, options.out.resolve()))
            if kind == "broken":
                file.write_text(file.read_text(encoding="utf-8")[:500], encoding="utf-8")
    began = time.perf_counter()
    folders = sorted((options.out / "in").iterdir())
    grades = grade(folders, options.out / "graded", workers=options.workers, seconds=options.timeout, seed=0)
    seconds = time.perf_counter() - began
    records = {folder.name: json.loads((options.out / f"graded/{WORK}/student-{folder.name}.json").read_text())
               for folder in folders}  # fmt: skip
    print(f"{'kind':<12} {'n':>3} {'points':>12} {'seconds each':>13} {'of processor':>13}")
    for kind in KINDS:
        own = [name for name in records if name[4:] == kind]
        if own:
            spent, used = (sum(records[name][key] for name in own) / len(own) for key in ("seconds", "processor"))
            got = sorted({f"{grades.totals[name][0]:g} of {grades.totals[name][1]:g}" for name in own})
            print(f"{kind:<12} {len(own):>3} {', '.join(got):>12} {spent:>13.1f} {used:>13.1f}")
    used = sum(record["processor"] for record in records.values())
    isolated = all(record["isolated"] for record in records.values())
    print(f"{len(folders)} submissions, {options.workers} workers: {seconds:.0f} s, {used:.0f} s of processor time")
    scale = 200 / len(folders) / 60
    print(
        f"for 200: {seconds * scale:.0f} min as here, {used * scale / 2:.0f} min on two cores with nothing else to do"
    )
    print(f"isolated by namespaces: {'yes' if isolated else 'NO'}; load of the machine: {os.getloadavg()[0]:.1f}")
    outside = Path("/usr/mintad-was-here").exists() or (options.out / "was-here").exists()
    print(f"written outside a submission's folder: {'YES' if outside else 'nothing'}")


if __name__ == "__main__":
    main()
