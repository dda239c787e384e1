"""A parameterised notebook that takes seconds, a stub of its execution, and what tests of sweeps share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import yaml

PARAMETERS = """\
seed: int = 0  # of the result
variant: str = "a"  # or b
overrides: dict = {}  # dotted keys
rate: float = 0.1  # a number
behave: str = "well"  # 'fail', 'wait' (for the file go), 'kill' (the own worker, once), or 'always killed'
out_dir: str = ""  # folder of the run"""

BODY = """\
import os, signal, sys, time
from pathlib import Path
folder = Path(out_dir)
log = folder.parent.parent / f"{folder.name}.log"
earlier = log.read_text().split() if log.exists() else []
lines = [path.read_text() for pid in earlier if (path := Path(f"/proc/{pid}/cmdline")).exists()]
assert not any("kernel" in line or "stub" in line for line in lines), "two attempts at once"
log.write_text(" ".join([*earlier, str(os.getpid())]))"""

BEHAVE = """\
if behave == "fail":
    raise ValueError(f"seed {seed} is unlucky")
if behave == "always killed" or behave == "kill" and not earlier:
    os.kill(os.getppid() if "ipykernel" in sys.modules else os.getpid(), signal.SIGKILL)
    time.sleep(60)
while behave == "wait" and not (folder.parent.parent / "go").exists():
    time.sleep(0.05)"""

RESULT = """\
with open(folder / "result.txt", "a") as file:
    print(seed * 10 + len(variant), variant, sorted(overrides.items()), type(rate).__name__, rate, file=file)"""


STUB_WORKER = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import sweep_builders as stub; stub.work()"
)
"""Replaces `mintad.sweep.supervise.WORKER`."""
PRELOAD = f"import mintad.sweep.supervise\nmintad.sweep.supervise.WORKER = {STUB_WORKER!r}\n"
"""Code by which another process uses the stub, too."""


def work() -> None:
    """Do what a sweep's worker does, but for papermill and kernel, which take seconds to start."""
    from mintad.sweep import worker

    worker.execute = execute_here
    worker.main()


def execute_here(job, lock, kernels) -> None:
    """Run the code of the notebook's cells in this process."""
    parameters, *cells = ["".join(cell["source"]) for cell in json.loads(Path(job.notebook).read_text())["cells"]]
    scope: dict = {}
    exec(parameters, scope)
    scope.update(job.given, out_dir=job.folder)
    for source in cells:
        exec(source, scope)
    shutil.copy(job.notebook, job.path / "notebook.ipynb")


def write_notebook(folder: Path, *, kernel: str = "python3") -> Path:
    """A notebook that notes each execution in NAME.log beside the sweep's folder, and its result in result.txt."""
    cells = [nbformat.v4.new_code_cell(source) for source in (PARAMETERS, BODY, BEHAVE, RESULT)]
    cells[0].metadata["tags"] = ["parameters"]
    metadata = {
        "kernelspec": {"display_name": kernel, "language": "python", "name": kernel},
        "language_info": {"name": "python"},
    }
    path = folder / "tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def write_spec(folder: Path, **values) -> Path:
    """A sweep of the notebook in the same folder."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({"notebook": "tiny.ipynb", "out": "out", **values}), encoding="utf-8")
    return path


def quick_imports(folder: Path) -> str:
    """Return a PYTHONPATH that saves each process 1.4 s: jsonschema does without a grammar that no notebook needs."""
    folder.mkdir(exist_ok=True)
    (folder / "rfc3987_syntax.py").write_text("raise ImportError('optional')\n")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen]:
    """A Python process, whose output is text; it does not outlive the block. It hears ctrl-C also where the tests run
    in the background of a shell, which lets its jobs ignore it."""
    environment = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        preexec_fn=hear_ctrl_c if os.name == "posix" else None,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(*arguments: object, seconds: float = 90) -> tuple[int, str]:
    """Exit code and output of a Python process."""
    with running(*arguments) as process:
        text = process.communicate(timeout=seconds)[0]
        return process.returncode, text


def until(true: Callable[[], bool], what: str, process: subprocess.Popen | None = None, seconds: float = 60) -> None:
    """Wait for it, as long as the process runs.

    Raises:
        AssertionError: in vain.
    """
    end = time.monotonic() + seconds
    while not true():
        assert process is None or process.poll() is None, f"{what} did not happen: {process.communicate()[0]}"
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)


def executions(folder: Path) -> dict[str, list[int]]:
    """Run -> process ids of the kernels that began it, in order."""
    return {path.stem: [int(pid) for pid in path.read_text().split()] for path in sorted(folder.glob("*.log"))}


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def results(out: Path) -> dict[str, str]:
    """Run -> content of its result."""
    return {path.parent.name: path.read_text() for path in sorted(out.glob("*/result.txt"))}
