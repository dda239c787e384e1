"""A sweep on this machine: failures, restarts, killed workers, kernels that do not start, ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import nbformat
import pytest
from rich.console import Console
from sweep_builders import (
    STUB_WORKER,
    alive,
    executions,
    quick_imports,
    results,
    running,
    until,
    write_notebook,
    write_spec,
)

from mintad.errors import TrainingError
from mintad.lock import exclusive_lock
from mintad.runs.files import EXECUTED
from mintad.sweep import load_spec, plan, read_status, status, supervise, sweep, worker
from mintad.sweep.engine import jobs_of, run_locally
from mintad.sweep.progress import Progress

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))


@pytest.fixture
def stubbed(monkeypatch):
    """Runs start in the usual processes, but without papermill and kernel."""
    monkeypatch.setattr(supervise, "WORKER", STUB_WORKER)


@posix
def test_papermill_runs_the_notebook_and_failures_are_recorded(tmp_path, monkeypatch):
    """A kernel that fails to start once, a run that ends well, one with an error, and one that takes too long."""
    folder = tmp_path / "kernels" / "flaky"
    folder.mkdir(parents=True)
    kernel = f'mkdir "{tmp_path}/once" 2>/dev/null && exit 1; exec "$@"'
    command = ["sh", "-c", kernel, "kernel", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "flaky", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # papermill resolves against it
    write_notebook(tmp_path, kernel="flaky")
    listed = [{"behave": "well", "overrides": {"a.b": 1}, "rate": 1}, {"behave": "fail", "seed": 3}, {"behave": "wait"}]
    spec = load_spec(write_spec(tmp_path, out="out {seed}", runs=listed, timeout=4))  # papermill fills in braces
    statuses = sweep(spec, workers=2)
    well, fail, late = (next(name for name in statuses if f"={kind}" in name) for kind in ("well", "fail", "wait"))

    assert [statuses[name].state for name in (well, fail, late)] == ["finished", "failed", "failed"]
    assert statuses[fail].error == "ValueError: seed 3 is unlucky (cell 3)" and "timeout" in statuses[late].error
    assert sum(status.attempts for status in statuses.values()) == 4, "one kernel did not start"
    assert {name: len(pids) for name, pids in executions(tmp_path).items()} == {well: 1, fail: 1, late: 1}
    assert not any(alive(pid) for pids in executions(tmp_path).values() for pid in pids)
    assert results(spec.out) == {well: "1 a [('a.b', 1)] int 1\n"}
    for name, outcome in statuses.items():
        notebook = nbformat.read(spec.out / name / EXECUTED, as_version=4)
        assert any("injected-parameters" in cell.metadata.get("tags", ()) for cell in notebook.cells)
        parameters = json.loads((spec.out / name / "parameters.json").read_text())
        assert set(parameters) == {"seed", "variant", "overrides", "rate", "behave"}
        assert outcome.seconds > 0 and outcome.host and outcome.started
    assert sorted(os.listdir(spec.out / well)) == ["notebook.ipynb", "parameters.json", "result.txt", "status.json"]


@posix
def test_finished_runs_are_skipped_and_killed_ones_repeated(tmp_path, stubbed):
    write_notebook(tmp_path)
    listed = [{"behave": "well"}, {"behave": "fail"}, {"behave": "kill"}, {"behave": "always killed"}]
    spec = load_spec(write_spec(tmp_path, runs=listed))
    first = sweep(spec, workers=2)
    names = {kind: next(name for name in first if f"={kind}-" in name) for kind in ("well", "fail", "kill")}
    always = next(name for name in first if "always" in name)
    assert [(first[name].state, first[name].attempts) for name in (*names.values(), always)] == [
        ("finished", 1),
        ("failed", 1),
        ("finished", 2),
        ("failed", supervise.MOST_ATTEMPTS),
    ]
    assert "SIGKILL" in first[always].error
    second = sweep(spec, workers=2)
    assert all(second[names[kind]] == first[names[kind]] for kind in ("well", "kill"))
    assert second[names["fail"]].attempts == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"cells": []}'])
def test_a_finished_run_whose_notebook_is_damaged_is_repeated(tmp_path, content):
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, runs=[{"seed": 2}]))
    (spec.out / status.WORK).mkdir(parents=True)
    (job,) = jobs_of(spec, plan(spec))
    job.path.mkdir()
    status.end(job.path, "finished")
    (job.path / EXECUTED).write_text('{"cells": [{}]}')
    assert worker.finished(job)
    (job.path / EXECUTED).write_text(content)
    assert not worker.finished(job)


def attempt_with(execute, tmp_path, monkeypatch):
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, runs=[{"seed": 2}]))
    (spec.out / status.WORK).mkdir(parents=True)
    (job,) = jobs_of(spec, plan(spec))
    monkeypatch.setattr(worker, "execute", execute)
    worker.RunAttempt(job).run()
    return read_status(job.path)


def test_only_a_kernel_start_is_repeated_and_only_once(tmp_path, monkeypatch):
    def no_kernel(*_):
        raise worker.KernelStartError("no answer")

    def no_luck(*_):
        raise RuntimeError("not now")

    for number, (execute, attempts, text) in enumerate([(no_kernel, 2, "failed to start"), (no_luck, 1, "not now")]):
        (tmp_path / str(number)).mkdir()
        outcome = attempt_with(execute, tmp_path / str(number), monkeypatch)
        assert (outcome.state, outcome.attempts) == ("failed", attempts) and text in outcome.error


@posix
def test_ctrl_c_ends_the_kernels_and_leaves_what_can_be_resumed(tmp_path, monkeypatch):
    write_notebook(tmp_path)
    path = write_spec(tmp_path, fixed={"behave": "wait"}, grid={"seed": [0, 1]})
    spec = load_spec(path)
    with running("-m", "mintad", "sweep", path) as process:
        until(lambda: executions(tmp_path), "the first run", process)
        with pytest.raises(TrainingError, match=str(spec.out)):
            sweep(spec)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=30)[0]
        assert process.returncode == 130 and "again to resume" in text and "Traceback" not in text, text
    (name,), (pids,) = executions(tmp_path).keys(), executions(tmp_path).values()
    assert read_status(spec.out / name).state == "interrupted" and not any(alive(pid) for pid in pids)
    assert results(spec.out) == {}

    (tmp_path / "go").touch()
    monkeypatch.setattr(supervise, "WORKER", STUB_WORKER)
    statuses = sweep(spec, workers=2)
    assert [status.state for status in statuses.values()] == ["finished"] * 2
    assert statuses[name].attempts == 2 and len(results(spec.out)) == 2


@posix
def test_a_child_that_inherits_the_lock_holds_it(tmp_path):
    """So a kernel whose worker was killed keeps the next attempt away as long as it lives."""
    busy = TrainingError("busy")
    with exclusive_lock(tmp_path / "lock", busy) as file:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[file.fileno()])
    with pytest.raises(TrainingError), exclusive_lock(tmp_path / "lock", busy):
        pass
    child.communicate(b"\n")
    with exclusive_lock(tmp_path / "lock", busy):
        pass


def test_a_second_attempt_waits_and_then_finds_the_first_ones_result(tmp_path, stubbed):
    """What a cluster does that only lost sight of a worker."""
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, runs=[{"seed": 2}]))
    (spec.out / status.WORK).mkdir(parents=True)
    (job,) = jobs_of(spec, plan(spec))
    busy = TrainingError("busy")
    second = threading.Thread(target=lambda: list(run_locally([job], 1)))
    with exclusive_lock(spec.out / status.WORK / f"{job.path.name}.lock", busy):
        second.start()
        time.sleep(1)
        assert second.is_alive() and not job.path.exists()
        job.path.mkdir()
        (job.path / EXECUTED).write_text('{"cells": [{}]}')
        status.begin(job.path, "digest")
        first = status.end(job.path, "finished", seconds=1.0)
    second.join(30)
    assert not second.is_alive() and read_status(job.path) == first and executions(tmp_path) == {}


@pytest.mark.parametrize(("limit", "workers", "given", "expected"), [(1, 1, None, 1), (8, 2, None, 4), (8, 2, 3, 3)])
def test_runs_share_the_cores_but_never_take_more_than_this_process_may(
    tmp_path, monkeypatch, limit, workers, given, expected
):
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, grid={"seed": [0]}, **({"threads": given} if given else {})))
    (spec.out / status.WORK).mkdir(parents=True)
    monkeypatch.setattr("mintad.sweep.engine.os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: limit)
    monkeypatch.setattr("mintad.sweep.engine.supervise", lambda job, stopped: job.threads)
    assert [threads for _, threads in run_locally(jobs_of(spec, plan(spec)), workers)] == [expected]


def test_the_live_view_reads_the_folders(tmp_path):
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, grid={"seed": [0, 1, 2, 3]}))
    (spec.out / status.WORK).mkdir(parents=True)
    jobs = jobs_of(spec, plan(spec))
    console = Console(force_terminal=True, width=150, record=True, file=io.StringIO())
    progress = Progress(jobs[1:], total=4, console=console)
    jobs[1].path.mkdir()
    status.begin(jobs[1].path, "digest")
    progress.ended(
        jobs[2].path.name, status.Status(state="failed", error="\nValueError: no [red]luck[/red]", attempts=2)
    )
    console.print(progress.view())
    text = console.export_text()
    assert "2 of 4 ended (1 failed), 1 running, 1 waiting" in text and f"{jobs[1].path.name}  since" in text
    assert f"2/4 {jobs[2].path.name} failed at attempt 2: ValueError: no [red]luck[/red]" in text
