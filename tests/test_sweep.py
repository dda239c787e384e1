"""A sweep on this machine: failures, restarts, killed workers, kernels that do not start, ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time

import nbformat
import pytest
from rich.console import Console
from sweep_builders import (
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

from mintad.errors import TrainingError
from mintad.lock import exclusive_lock
from mintad.runs.files import EXECUTED
from mintad.sweep import load_spec, plan, read_status, status, sweep, worker
from mintad.sweep.engine import jobs_of, run_locally
from mintad.sweep.progress import Progress

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", quick_imports(tmp_path / "quick"))


def test_failures_are_recorded_and_finished_runs_are_skipped(tmp_path, monkeypatch):
    """Three runs: one well, one that fails, one whose worker is killed in mid-run."""
    write_notebook(tmp_path)
    monkeypatch.chdir(tmp_path)  # papermill resolves against it
    listed = [{"behave": "well", "overrides": {"a.b": 1}, "rate": 1}, {"behave": "fail", "seed": 3}, {"behave": "kill"}]
    spec = load_spec(write_spec(tmp_path, out="out {seed}", runs=listed))  # papermill fills in braces
    done = sweep(spec, workers=2)
    by_kind = {name.partition(",")[0].partition("-")[0].removeprefix("behave="): name for name in done}
    well, fail, kill = (by_kind[kind] for kind in ("well", "fail", "kill"))

    assert {name: found.state for name, found in done.items()} == {well: "finished", fail: "failed", kill: "finished"}
    assert done[fail].error == "ValueError: seed 3 is unlucky (cell 3)" and done[fail].attempts == 1
    assert done[kill].attempts == 2 and [len(executions(tmp_path)[name]) for name in (well, fail, kill)] == [1, 1, 2]
    assert results(spec.out) == {well: "1 a [('a.b', 1)] int 1\n", kill: "1 a [] float 0.1\n"}
    assert not any(alive(pid) for pids in executions(tmp_path).values() for pid in pids)
    for name, found in done.items():
        notebook = nbformat.read(spec.out / name / EXECUTED, as_version=4)
        assert any("injected-parameters" in cell.metadata.get("tags", ()) for cell in notebook.cells)
        parameters = json.loads((spec.out / name / "parameters.json").read_text())
        assert set(parameters) == {"seed", "variant", "overrides", "rate", "behave"}
        assert found.seconds > 0 and found.host and found.started
    assert sorted(os.listdir(spec.out / well)) == ["notebook.ipynb", "parameters.json", "result.txt", "status.json"]

    again = sweep(spec, workers=2)
    assert again[well] == done[well] and again[kill] == done[kill] and again[fail].attempts == 2
    assert [len(executions(tmp_path)[name]) for name in (well, fail, kill)] == [1, 2, 2]


@posix
def test_a_kernel_that_fails_to_start_gets_a_second_chance(tmp_path, monkeypatch):
    """A kernel whose first process ends at once; the notebook is run by the second."""
    folder = tmp_path / "kernels" / "flaky"
    folder.mkdir(parents=True)
    kernel = f'[ -e "{tmp_path}/once" ] || {{ touch "{tmp_path}/once"; exit 1; }}; exec "$@"'
    command = ["sh", "-c", kernel, "kernel", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "flaky", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    write_notebook(tmp_path, kernel="flaky")
    spec = load_spec(write_spec(tmp_path, runs=[{"seed": 2}]))
    ((name, done),) = sweep(spec).items()
    assert (done.state, done.attempts, len(executions(tmp_path)[name])) == ("finished", 2, 1)


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
        found = attempt_with(execute, tmp_path / str(number), monkeypatch)
        assert (found.state, found.attempts) == ("failed", attempts) and text in found.error


@posix
def test_ctrl_c_leaves_what_can_be_resumed(tmp_path):
    write_notebook(tmp_path)
    path = write_spec(tmp_path, fixed={"behave": "wait"}, grid={"seed": [0, 1]})
    out = load_spec(path).out
    with running("-m", "mintad", "sweep", path) as process:
        until(lambda: executions(tmp_path), "the first run", process)
        code, text = finish("-m", "mintad", "sweep", path)
        assert code == 2 and "another sweep is running" in text
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=30)[0]
        assert process.returncode == 130 and "again to resume" in text and "Traceback" not in text, text
    (name,), (pids,) = executions(tmp_path).keys(), executions(tmp_path).values()
    assert read_status(out / name).state == "interrupted" and not any(alive(pid) for pid in pids)
    assert results(out) == {}

    (tmp_path / "go").touch()
    done = sweep(load_spec(path), workers=2)
    assert [found.state for found in done.values()] == ["finished"] * 2
    assert done[name].attempts == 2 and len(results(out)) == 2


def test_a_second_attempt_waits_and_then_finds_the_first_ones_result(tmp_path):
    """What a cluster does that only lost sight of a worker."""
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, runs=[{"seed": 2}]))
    (spec.out / status.WORK).mkdir(parents=True)
    (job,) = jobs_of(spec, plan(spec))
    busy = TrainingError("busy")
    second = threading.Thread(target=lambda: list(run_locally([job], 1)))
    with exclusive_lock(spec.out / status.WORK / f"{job.path.name}.lock", busy):
        second.start()
        time.sleep(2)
        assert second.is_alive() and not job.path.exists()
        job.path.mkdir()
        (job.path / EXECUTED).touch()
        status.begin(job.path, "digest")
        first = status.end(job.path, "finished", seconds=1.0)
    second.join(30)
    assert not second.is_alive() and read_status(job.path) == first and executions(tmp_path) == {}


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


def test_what_a_cell_may_take_is_limited(tmp_path):
    write_notebook(tmp_path)
    spec = load_spec(write_spec(tmp_path, runs=[{"behave": "wait"}], timeout=1))
    ((name, done),) = sweep(spec).items()
    assert done.state == "failed" and "longer than the sweep's timeout" in done.error and done.attempts == 1
    assert not alive(executions(tmp_path)[name][0])
