"""A sweep on a real Dask cluster: a scheduler and two workers in processes of their own, one of them killed.

The runs are stubs without kernels; `test_sweep` shows that a run that is stopped ends its kernel.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest
from sweep_builders import (
    PRELOAD,
    alive,
    executions,
    finish,
    quick_imports,
    results,
    running,
    until,
    write_notebook,
    write_spec,
)

from mintad.sweep import load_spec, plan, read_status

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", quick_imports(tmp_path_factory.mktemp("quick")))
        yield


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, quick):
    """The address, and the two worker processes; nothing is left of them."""
    folder = tmp_path_factory.mktemp("cluster")
    file, port = folder / "scheduler.json", ("--dashboard-address", "127.0.0.1:0")
    with contextlib.ExitStack() as stack:
        options = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file)
        scheduler = stack.enter_context(running("-m", "distributed.cli.dask_scheduler", *options, *port))
        until(file.exists, "the scheduler", scheduler)
        address = json.loads(file.read_text())["address"]
        options = ("--no-nanny", "--nthreads", 1, "--memory-limit", 0, "--resources", "GPU=1", "--host", "127.0.0.1")
        workers = []
        for name in ("one", "two"):
            command = ("-m", "distributed.cli.dask_worker", address, "--name", name, "--local-directory", folder / name)
            command += ("--preload", PRELOAD)
            workers.append(stack.enter_context(running(*command, *options, *port)))
        yield address, workers


def parents(pid: int) -> list[int]:
    """A process and its ancestors."""
    chain = [pid]
    while chain[-1] > 1:
        chain.append(int(Path(f"/proc/{chain[-1]}/stat").read_text().rpartition(")")[2].split()[1]))
    return chain


def test_ctrl_c_stops_the_runs_on_the_workers(tmp_path, cluster):
    write_notebook(tmp_path)
    path = write_spec(tmp_path, fixed={"behave": "wait"}, grid={"seed": [0, 1, 2]})
    with running("-m", "mintad", "sweep", path, "--scheduler", cluster[0]) as process:
        until(lambda: len(executions(tmp_path)) == 2, "two runs at a time", process)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=30)[0]
        assert process.returncode == 130 and "again to resume" in text and "Traceback" not in text, text
    out, runs = load_spec(path).out, executions(tmp_path)
    until(lambda: not any(alive(pid) for pids in runs.values() for pid in pids), "the end of the runs")
    until(lambda: all(read_status(out / name).state == "interrupted" for name in runs), "the record", seconds=10)
    assert results(out) == {} and executions(tmp_path) == runs


def test_a_killed_worker_loses_nothing(tmp_path, cluster):
    """Both workers are in the middle of a run when one is killed; the other one does all that is left."""
    address, workers = cluster
    write_notebook(tmp_path)
    values = {"fixed": {"behave": "wait", "rate": 0.5}, "grid": {"seed": [0, 1, 2]}}
    path = write_spec(tmp_path, gpu=True, **values)
    out, names = load_spec(path).out, {run.name for run in plan(load_spec(path))}
    command = ("-m", "mintad", "sweep", path)
    with running(*command, "--scheduler", address) as process:
        until(lambda: len(executions(tmp_path)) == 2, "two runs at a time", process)
        runs = {name: pids[0] for name, pids in executions(tmp_path).items()}
        lost = next(name for name, pid in runs.items() if workers[0].pid in parents(pid))
        workers[0].kill()
        until(lambda: not alive(runs[lost]), "the end of the lost run")
        assert read_status(out / lost).state in ("running", "interrupted") and results(out) == {}
        (tmp_path / "go").touch()
        text = process.communicate(timeout=90)[0]
        assert process.returncode == 0 and "3 of 3 runs finished" in text, text
    assert {name: read_status(out / name).attempts for name in names} == {n: 1 + (n == lost) for n in names}
    assert {name: len(pids) for name, pids in executions(tmp_path).items()} == {n: 1 + (n == lost) for n in names}

    assert sorted(results(out).values()) == [f"{seed}1 a [] float 0.5\n".lstrip("0") for seed in (0, 1, 2)]

    before = {name: (out / name / "status.json").read_bytes() for name in names}
    code, text = finish(*command, "--scheduler", address)
    assert code == 0 and "3 of 3 runs finished" in text
    assert before == {name: (out / name / "status.json").read_bytes() for name in names}


def test_no_scheduler_is_said(tmp_path, monkeypatch):
    from mintad.errors import MintadError
    from mintad.sweep import cluster as module
    from mintad.sweep import sweep

    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, runs=[{"seed": 0}]))
    with pytest.raises(MintadError, match="tcp://127.0.0.1:1"):
        sweep(spec, scheduler="tcp://127.0.0.1:1")
