"""Let the disk be full, or report errors, in every phase of every command, and give the command again.

    OMP_NUM_THREADS=1 python benchmarks/robustness/full_disks.py --disks 100 --errors 100

The commands are train (features, training, checkpoints, evaluation, page), one more baseline with its page, evaluate,
predict, watch, report, pack and unpack of a shared model, a sweep of one run, and export. A trial of --disks works on a
small file system (tmpfs, which takes the right to mount), on which as much is free as a random share of what the
command needs. The trials of --errors take the commands in turn, each with fsync and then with rename: every call of it
fails from a random one on, with an I/O error or a full disk. The command must end with exit code 2 and one line that
names a file (a sweep may end with 1: its table says why the run failed), or, if all fitted, well. Then the disk is well
again, and the same command must end well and leave what it leaves undisturbed, bit for bit. Anything else is a failure,
which is listed with its seed; then the exit code is 1.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from damage import count, run_parts
from inside import NAMED, enough, exported_before, inside, prepare, reset, run, run_here
from tiny_run import COMMANDS, SHARES, state

from mintad.disk import UNFINISHED

SIZE = 64 << 20  # bytes of the small file system


def outcome(here: Path, name: str, expected: dict[str, object], code: int, said: str, fails: Counter[str]) -> str:
    """Judge how a command ended on a bad disk, and give it again on a good one."""
    failed = name == "sweep" and code == 1  # the run's own process has failed, and the sweep says so
    if (code not in (0, 2) and not failed) or (code == 2 and (not said or "\n" in said)):
        return f"exit code {code}: {said}"
    if code == 2:
        fails[re.sub(r"[0-9a-f]{8,}", "*", Path(said.split(": ")[1]).name)] += 1
        if not re.search(NAMED, said):
            return f"no name: {said}"
    with inside(here), exported_before(here.parent):
        again, message = run(COMMANDS[name])
    if again:
        return f"again {again}: {message}"
    if left := list(here.rglob(f"{UNFINISHED}*")):
        return f"left: {left[0]}"
    now = state(here)
    other = [file for file, content in expected.items() if now.get(file) != content]
    if other:
        return f"other: {other[0]}"
    return "unharmed" if code == 0 else "refused by name"


CALLS = ("fsync", "replace")


def errors(folder: Path, trials: range) -> list[str]:
    """Let calls of the operating system fail, of every command in turn."""
    pairs = list(itertools.product(COMMANDS, CALLS))
    wanted = [pairs[seed % len(pairs)] for seed in trials]
    last = max(tuple(COMMANDS).index(name) for name, _ in wanted)
    made: dict[str, dict[str, int]] = {}  # how many calls a command makes undisturbed

    def perform(name: str, here: Path) -> tuple[int, str]:
        with counting() as made[name]:
            return run_here(name, here)

    before, after = prepare(folder, tuple(COMMANDS)[: last + 1], perform)
    here, fails, turns = folder / "here", Counter(), iter(wanted)

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        (name, call), number = next(turns), int(rng.choice([errno.EIO, errno.ENOSPC]))
        reset(here, before[name])
        healthy = int(rng.integers(max(made[name][call], 1)))  # unpack renames nothing
        numbers, healthy_call = itertools.count(), getattr(os, call)

        def failing(*arguments: object, **options: object) -> None:
            if next(numbers) >= healthy:
                raise OSError(number, os.strerror(number))
            healthy_call(*arguments, **options)

        with inside(here), exported_before(folder), mock.patch.object(os, call, failing):
            code, said = run(COMMANDS[name])
        what = f"{name}, {os.strerror(number)} from call {healthy} of {call} on"
        return what, outcome(here, name, after[name], code, said, fails)

    failures = count("errors", trials, trial, slow=300.0)
    print("  refused at:", ", ".join(f"{file} {number}" for file, number in fails.most_common()))
    return failures


@contextlib.contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Count the `CALLS` in the block."""
    made = dict.fromkeys(CALLS, 0)

    def counted(call: str) -> Callable[..., None]:
        original = getattr(os, call)

        def work(*arguments: object, **options: object) -> None:
            made[call] += 1
            original(*arguments, **options)

        return work

    with mock.patch.multiple(os, **{call: counted(call) for call in CALLS}):
        yield made


def disks(folder: Path, trials: range) -> list[str]:
    """Fill a small file system."""
    names = enough(tuple(COMMANDS), trials)
    before, _ = prepare(folder, names)
    shutil.rmtree(folder / "here")
    here, fails = folder / "here", Counter()
    here.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", here], check=False).returncode:
        raise SystemExit("a small file system cannot be mounted here; --errors injects a full disk without it")
    needed: dict[str, int] = {}
    after: dict[str, dict[str, object]] = {}

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        shares = np.array(SHARES[: len(names)])
        name = str(rng.choice(names, p=shares / shares.sum()))
        reset(here, before[name])
        if name not in needed:
            free = shutil.disk_usage(here).free
            with inside(here), exported_before(folder):
                run(COMMANDS[name])
            needed[name], after[name] = max(free - shutil.disk_usage(here).free, 1 << 16), state(here)
            reset(here, before[name])
        left = int(rng.uniform(0, 1.2) * needed[name])
        fill(here / "filler", shutil.disk_usage(here).free - left)
        with inside(here), exported_before(folder):
            code, said = run(COMMANDS[name])
        (here / "filler").unlink()
        return f"{name}, {left:,} of {needed[name]:,} bytes free", outcome(here, name, after[name], code, said, fails)

    try:
        failures = count("disks", trials, trial, slow=300.0)
    finally:
        subprocess.run(["umount", here], check=False)
    print("  refused at:", ", ".join(f"{file} {number}" for file, number in fails.most_common()))
    return failures


def fill(file: Path, size: int) -> None:
    """Write a file of zeros."""
    with open(file, "wb") as opened:
        for start in range(0, max(size, 0), 1 << 20):
            opened.write(bytes(min(1 << 20, size - start)))


def main(arguments: list[str] | None = None) -> int:
    """Spoil disks."""
    return run_parts(__doc__, {"disks": disks, "errors": errors}, arguments)


if __name__ == "__main__":
    sys.exit(main())
