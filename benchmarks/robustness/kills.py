"""Kill commands at random moments (SIGKILL), give them again, and compare with what they give undisturbed.

    OMP_NUM_THREADS=1 python benchmarks/robustness/kills.py --kills 100

A trial draws a command and a moment between its start and the time that it takes undisturbed. The commands are train,
evaluate, one more baseline with its page, predict, watch, report, pack and unpack of a shared model, a sweep of one
run, and export (of which PyTorch's own part, a minute, is left out). After the kill nothing of it may be alive, and the
same command must end well and leave what the undisturbed one left: weights, scores, maps, results, predictions, tables
and archives, bit for bit, and no unfinished file. Anything else is a failure, which is listed with its seed; then the
exit code is 1.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from damage import count, run_parts
from inside import enough, prepare, reset
from tiny_run import COMMANDS, SHARES, state

from mintad.disk import UNFINISHED

ALONE = "import sys; from pathlib import Path; from inside import alone; alone(sys.argv[1], Path(sys.argv[2]))"


def start(name: str, folder: Path) -> subprocess.Popen:
    """Start a command in a process of its own."""
    command = [sys.executable, "-c", ALONE, name, str(folder)]
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=here, start_new_session=True, **quiet)


def kills(root: Path, trials: range) -> list[str]:
    """Kill commands and give them again."""
    seconds = {}

    def perform(name: str, folder: Path) -> tuple[int, str]:
        began = time.perf_counter()
        process = start(name, folder)
        message = process.communicate()[1].decode()
        seconds[name] = time.perf_counter() - began
        return process.returncode, message

    names = enough(tuple(COMMANDS), trials)
    before, after = prepare(root, names, perform)
    shares, here = np.array(SHARES[: len(names)]), root / "here"  # always the same folder, because files name it

    def trial(rng: np.random.Generator) -> tuple[str, str]:
        name = str(rng.choice(names, p=shares / shares.sum()))
        moment = float(rng.uniform(0, seconds[name]))
        reset(here, before[name])
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
