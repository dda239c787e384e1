"""The sandbox of a submission: what its code sees, may do and can forge, and what becomes of its processes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grade_builders import hand_in, path_of, solutions

from mintad.course.checks.grading import CheckFailed, call
from mintad.course.grade import engine, isolation, process, remote
from mintad.course.grade.engine import grade
from mintad.course.grade.judge import judge
from mintad.course.grade.verdict import FULL, NONE
from mintad.errors import MintadError

PROBLEM = process.possible() if sys.platform == "linux" else "namespaces need Linux"
isolated = pytest.mark.skipif(bool(PROBLEM), reason=f"no namespaces here: {PROBLEM}")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits need POSIX")


@pytest.fixture
def sandbox(tmp_path, request):
    """A sandbox for code in a notebook's cell, or cells: `sandbox(code, name)` returns the function."""
    made = remote.Sandbox(tmp_path / "anna", seconds=30, memory=1, isolated=request.param)

    def load(code, name="f"):
        (tmp_path / "anna").mkdir(exist_ok=True)
        cells = [{"cell_type": "code", "source": source} for source in ([code] if isinstance(code, str) else code)]
        (tmp_path / "anna/n.ipynb").write_text(json.dumps({"cells": cells}))
        made.allow()
        return made.load("n.ipynb", name, name)

    yield load
    made.close()


ALL = """
def f(what, place):
    import os, socket, subprocess
    if what == "write":
        open(place + "/x", "w").close()
    elif what == "rename":
        os.rename("n.ipynb", place + "/x")
    elif what == "remove":
        os.remove(place)
    elif what == "connect":
        socket.create_connection(("127.0.0.1", place), 1)
    elif what == "process":
        subprocess.run(["touch", place + "/x"], check=True)
    elif what == "list":
        return sorted(os.listdir(place))
    elif what == "crash":
        import ctypes
        ctypes.string_at(0)
    elif what == "home":
        open(os.path.expanduser("~/mine"), "w").close()
        return 1
"""


@pytest.mark.parametrize("sandbox", [False], indirect=True)
def test_an_error_names_the_line_of_the_students_cell(sandbox):
    wrong = sandbox("import math\n\ndef f(x):\n    y = 0\n    return math.sqrt(x) / y")
    with pytest.raises(CheckFailed, match="raised ZeroDivisionError in line 5 of the cell: "):
        call(wrong, 4.0, takes="x")


@pytest.mark.parametrize("sandbox", [False], indirect=True)
def test_an_error_in_a_helper_of_another_cell_names_the_line_that_calls_it(sandbox):
    helper = "\n" * 9 + "def divide(x):\n    return x / 0"
    wrong = sandbox([helper, "def f(x):\n    return divide(x)"])
    with pytest.raises(CheckFailed, match="raised ZeroDivisionError in line 2 of the cell: "):
        call(wrong, 4.0, takes="x")


@pytest.mark.parametrize("sandbox", [False], indirect=True)
def test_a_line_that_is_no_number_of_one_is_not_named(sandbox, monkeypatch):
    function = sandbox("def f(x):\n    return x")
    for sent, line in ((3, 3), (True, None), (0, None), ("3", None), (None, None)):
        answer = {"raised": "ValueError", "text": "no", "line": sent}
        monkeypatch.setattr(remote, "decode", lambda read, answer=answer: answer)
        with pytest.raises(Exception, match="no") as caught:
            function(1.0)
        assert caught.value.line_of_cell is line


@pytest.mark.parametrize("sandbox", [False], indirect=True)
def test_without_namespaces_python_refuses_what_it_can(sandbox, tmp_path):
    function = sandbox(ALL)
    (tmp_path / "precious").touch()
    for what, place in ("write", tmp_path), ("rename", tmp_path), ("remove", tmp_path / "precious"), ("connect", 1):
        with pytest.raises(Exception, match="not allowed"):
            function(what, str(place) if what != "connect" else place)
    with pytest.raises(Exception, match="not allowed"):
        function("process", str(tmp_path))
    assert function("home", None) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna", "precious"]


def test_a_system_without_namespaces_grades_only_when_told_to(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(process, "possible", lambda: "unshare: not permitted")
    ran = []
    monkeypatch.setattr(engine, "_run", lambda jobs, workers: ran.append(jobs) or iter(()))
    (tmp_path / "anna").mkdir()
    with pytest.raises(MintadError, match="cannot be isolated.*unshare: not permitted"):
        grade([tmp_path / "anna"], tmp_path / "out")
    assert not ran
    with caplog.at_level(logging.WARNING):
        grade([tmp_path / "anna"], tmp_path / "out", unsafe=True)
    assert ran and not ran[0][0].isolated
    assert "NOT isolated" in caplog.text and "unshare: not permitted" in caplog.text


@pytest.mark.parametrize("user", [0, 1000])
def test_who_grades_as_root_is_warned(monkeypatch, caplog, user):
    monkeypatch.setattr(process, "possible", lambda: "")
    monkeypatch.setattr(os, "getuid", lambda: user)
    with caplog.at_level(logging.WARNING):
        assert engine._isolated(unsafe=False)
    assert ("as root" in caplog.text) == (user == 0)


@isolated
@pytest.mark.parametrize("sandbox", [True], indirect=True)
def test_a_sandbox_sees_its_own_folder_and_no_other_submission(sandbox, tmp_path):
    (tmp_path / "ben").mkdir()
    function = sandbox(ALL)
    checks = str(Path(isolation.CHECKS))
    assert function("list", ".") == [".tmp", "n.ipynb"] and function("list", checks) == []
    for place in (str(tmp_path), str(Path.home() / ".ssh"), str(path_of("03").parent)):
        with pytest.raises(Exception, match="No such file"):
            function("list", place)
    with pytest.raises(Exception, match="Read-only|No such file"):
        function("write", str(isolation.CHECKS.parent))
    with pytest.raises(Exception, match="unreachable"):
        function("connect", 1)
    assert function("home", None) == 1
    assert not (tmp_path / "anna/mine").exists()
    with pytest.raises(process.Died, match="crashed .SIGSEGV"):
        function("crash", None)


NESTED = """
def f(what):
    import os, time
    if what == "fork":
        children = []
        for _ in range(4):
            pid = os.fork()
            if not pid:
                held = bytearray(os.urandom(1)) * (600 << 20)
                time.sleep(60)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
    elif what == "namespace":
        import ctypes
        pid = os.fork()  # a process with threads cannot
        if not pid:
            os._exit(bool(ctypes.CDLL(None).unshare(0x10000000)))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    elif what == "proc":
        if not os.path.exists("/proc/self"):
            return "none"
        return "read-only" if os.statvfs("/proc").f_flag & os.ST_RDONLY else "writable"
"""


@isolated
@pytest.mark.parametrize("sandbox", [True], indirect=True)
def test_a_sandboxs_processes_share_its_memory_and_make_no_namespaces(sandbox):
    function = sandbox(NESTED)
    assert function("proc") in ("read-only", "none")
    command = ["unshare", "-Ur", "sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces"]
    if shutil.which("unshare") and not subprocess.run(command, capture_output=True).returncode:
        assert function("namespace") == 1
    with pytest.raises(process.Died, match="more than 1 GB"):
        function("fork")


@isolated
@pytest.mark.parametrize("sandbox", [True], indirect=True)
def test_arguments_gradients_callbacks_and_changes_pass_between_the_processes(sandbox):
    import torch

    code = "def f(x, g):\n    x[0] = 9.0\n    return 3 * g(x.clone())\ndef cube(x):\n    return x**3\n"
    code += "def several(x, layer):\n    return x**2, 'text', layer(x.detach()), 2 * x"
    function = sandbox(code)
    x, seen = torch.ones(2), []

    def square(value):
        seen.append(value)
        return value**2

    assert torch.equal(function(x, square), torch.tensor([243.0, 3.0]))
    assert torch.equal(x, torch.tensor([9.0, 1.0])) and torch.equal(seen[0], x)
    with pytest.raises(Exception, match="AttributeError"):  # the callback's own error reaches the student's code
        function(x, lambda value: value.no_such_attribute)
    function = sandbox(code, "cube")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    function(x).sum().backward()
    assert torch.equal(x.grad, torch.tensor([3.0, 12.0]))
    function = sandbox(code, "several")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    squares, text, layered, doubled = function(x, torch.nn.Linear(2, 2))
    assert text == "text" and layered.requires_grad
    (squares.sum() + layered.sum() + 10 * doubled.sum()).backward()
    assert torch.equal(x.grad, torch.tensor([22.0, 24.0]))


FORGED = """
import torch
def forge(f):
    from mintad.course.grade import open_exercises
    from mintad.course.checks.cases import interference
    seen = lambda k: {"untrained": torch.rand(6, 2), "reconstructions": list(torch.rand(k, 2, 20, 2))}
    open_exercises.trained = lambda f, classes, seed: seen(classes)
    open_exercises.networks = lambda *a: {"weights": [torch.zeros(2, 1)], "direct": True}
    open_exercises.outputs = lambda f, k, d, points, label, w: torch.rand_like(points) + 0 * w.sum()
    interference.differs = interference.require = lambda *a, **k: None
    return f
@forge
class new_model(torch.nn.Module):
    pass
"""


def test_a_network_is_judged_by_what_it_does_whatever_its_process_says(tmp_path):
    task, answers = ("new_model", "interference.new_model"), solutions(path_of("02"))
    for name, answer, state in ("right", answers["new_model"], FULL), ("forged", FORGED, NONE):
        file = hand_in(tmp_path / name, "02", answers | {"new_model": answer})
        with process.opened(remote.Sandbox(tmp_path / name, seconds=30, memory=1, isolated=not PROBLEM)) as sandbox:
            verdict = judge(sandbox, file.name, *task, seed=0)
        assert verdict.state == state, verdict.message


def test_a_killed_grader_leaves_no_process_behind(tmp_path):
    code = """
import sys, time
from pathlib import Path
from mintad.course.grade import remote
sandbox = remote.Sandbox(Path(sys.argv[1]), seconds=100, memory=1, isolated=sys.argv[2] == "True")
sandbox.allow()
print(sandbox.process.pid, sandbox.pid, flush=True)
time.sleep(100)
"""
    command = [sys.executable, "-c", code, str(tmp_path), str(not PROBLEM)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as grader:
        pids = [int(pid) for pid in grader.stdout.readline().split()]
        grader.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
