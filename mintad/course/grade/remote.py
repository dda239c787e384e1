"""The judge's end of a sandbox: start it, call the student's function in it, end it, whatever it does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mintad
from mintad.course.grade import isolation
from mintad.course.grade.runner import LENGTH
from mintad.course.grade.wire import Malformed, decode

START = "from mintad.course.grade.sandbox import main; main()"
START_SECONDS = 600  # within which a sandbox must be ready; the machine may be busy
WALL = 6  # how many times the processor seconds a piece of work may take by the clock
POLL_SECONDS = 0.25
NONSENSE = "it sent something that no function returns"
MOST_HELLO = 10_000  # bytes


class Died(BaseException):  # no Exception, so that a check does not take it for an error of the student's function
    """Raised when a sandbox had to be ended, or has ended itself; the message says why."""


class Unusable(Exception):
    """Raised when a notebook has no function for an exercise; the message is for the student."""


class Sandbox:
    """A submission's process, started when it is first needed and again after it has died.

    Args:
        folder: of the submission.
        seconds: of processor time that the work between two calls of `allow` may take; by the clock, `WALL` times as
            many, so that other work on the machine harms nobody.
        memory: GB that the student's code may use.
        isolated: by namespaces; see `isolation`. Without, the limits stay, and Python refuses sockets and writing.
    """

    def __init__(self, folder: Path, *, seconds: float, memory: float, isolated: bool) -> None:
        self.folder, self.seconds, self.memory, self.isolated = folder, seconds, memory, isolated
        self.process: subprocess.Popen | None = None
        self.deadline = self.most_cpu = 0.0
        self.processor = 0.0  # seconds that ended processes have used

    def allow(self) -> None:
        """Begin a new piece of work: start the process if there is none, and give it its seconds."""
        if self.process is None:
            self.deadline, self.most_cpu = time.monotonic() + START_SECONDS, float("inf")
            self._start()
        self.deadline, self.most_cpu = time.monotonic() + self.seconds * WALL, self._cpu() + self.seconds

    def load(self, notebook: str, name: str, check: str, withheld: Sequence[str] = ()) -> Callable[..., Any]:
        """Return the student's function for an exercise; calls run in the sandbox, and so do its gradients.

        Raises:
            Unusable: there is none.
            Died: see the class.
        """
        self._ask("load", notebook, name, check, tuple(withheld))

        def function(*arguments: Any) -> Any:
            return self._call(arguments)

        function.__name__ = function.__qualname__ = name
        return function

    def apply(self, path: str, *arguments: Any) -> Any:
        """Return what a function of ours, of this dotted name, makes of the student's function in the sandbox."""
        return self._ask("apply", path, arguments)["result"]

    def close(self) -> None:
        """End the process and remove its files."""
        if self.process is None:
            return
        process, self.process = self.process, None
        self.processor += self._cpu()
        for kill, number in (os.kill, self.pid), (os.killpg, process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(number, signal.SIGKILL)
        self.requests.close()
        self.answers.close()
        process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _start(self) -> None:
        self._launch()
        decode(self._read)  # it has imported what it needs

    def _launch(self, *, probe: bool = False) -> None:
        self.home = tempfile.mkdtemp(prefix="mintad-grade-")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        settings = {"folder": str(self.folder.resolve()), "home": self.home, "isolated": self.isolated}
        settings |= {"pipes": [theirs_in, theirs_out], "memory": self.memory, "cpu": self.seconds * 60 + 60}
        settings |= {"probe": probe}
        command = [sys.executable, "-c", START, json.dumps(settings)]
        self.process = subprocess.Popen(
            command,
            env=_environment(isolation.HOME if self.isolated else self.home),
            pass_fds=(theirs_in, theirs_out),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        self.pid = self.process.pid
        os.close(theirs_in)
        os.close(theirs_out)
        self.requests, self.answers = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb", buffering=0)
        hello = json.loads(self._line())
        if "problem" in hello:
            self.close()
            raise isolation.NotPossible(hello["problem"])
        self.pid = hello["pid"]

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < MOST_HELLO:
            line += self._read(1)
        return line

    def _read(self, size: int) -> bytes:
        """Return so many bytes of the sandbox's answer; end it if they do not come in time."""
        parts = []
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            while size:
                while not selector.select(POLL_SECONDS):
                    if time.monotonic() > self.deadline or self._cpu() > self.most_cpu:
                        self._die(f"it took longer than {self.seconds:g} s")
                if time.monotonic() > self.deadline:  # it sends for ever
                    self._die(f"it took longer than {self.seconds:g} s")
                part = os.read(self.answers.fileno(), min(size, 2**20))
                if not part:
                    self._die(self._end())
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    def _cpu(self) -> float:
        """Return the seconds of processor time that the process has used; 0 where the system does not say."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self) -> str:
        """Say how a process has ended."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its connection to the grader"
        number = -code if code < 0 else code - 128 if code > 128 else 0
        names = {signal.SIGKILL: "killed, perhaps for its memory", signal.SIGXCPU: "it used too much processor time"}
        with contextlib.suppress(ValueError):
            if number:
                return names.get(number, f"it crashed ({signal.Signals(number).name})")
        return f"it ended the process (exit code {code})"

    def _die(self, reason: str) -> None:
        self.close()
        raise Died(reason)

    def _send(self, value: Any, callbacks: list[Callable[..., Any]]) -> None:
        data = io.BytesIO()
        _Pickler(data, callbacks).dump(value)
        try:
            self.requests.write(LENGTH.pack(data.tell()) + data.getvalue())
            self.requests.flush()
        except BrokenPipeError:
            self._die(self._end())

    def _ask(self, kind: str, *arguments: Any) -> dict[str, Any]:
        if self.process is None:
            raise Died("it has been ended")
        callbacks: list[Callable[..., Any]] = []
        self._send((kind, *arguments), callbacks)
        while True:
            try:
                answer = decode(self._read)
            except Malformed as error:
                self._die(f"{NONSENSE} ({error})")
            if "callback" in answer:
                self._send(_called_back(callbacks, answer), callbacks)
                continue
            if "unusable" in answer:
                raise Unusable(str(answer["unusable"]))
            if "raised" in answer:
                name = str(answer["raised"])
                raise type(name if name.isidentifier() else "Error", (Exception,), {})(answer.get("text", ""))
            return answer

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        answer = self._ask("call", arguments)
        changed = answer.get("changed")
        if "result" not in answer or not isinstance(changed, dict):
            self._die(NONSENSE)
        for n, value in enumerate(arguments):
            if str(n) in changed:
                _change(value, changed[str(n)])
        result = answer["result"]
        inputs = [value for value in arguments if isinstance(value, torch.Tensor) and value.requires_grad]
        if isinstance(result, torch.Tensor) and result.requires_grad and inputs and torch.is_grad_enabled():
            return _WithGradient.apply(self, result.detach(), *inputs)
        return result


class _WithGradient(torch.autograd.Function):
    """The student's result, with gradients that the sandbox computes."""

    @staticmethod
    def forward(ctx: Any, sandbox: Sandbox, result: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.sandbox, ctx.inputs = sandbox, len(inputs)
        return result.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        answer = ctx.sandbox._ask("gradient", gradient.contiguous()).get("result")
        gradients = answer if isinstance(answer, list) and len(answer) == ctx.inputs else [None] * ctx.inputs
        return (None, None, *gradients)


class _Pickler(pickle.Pickler):
    """Pickler of arguments; a function that is no module's own is called back."""

    def __init__(self, file: io.BytesIO, callbacks: list[Callable[..., Any]]) -> None:
        super().__init__(file)
        self.callbacks = callbacks

    def persistent_id(self, value: Any) -> int | None:
        if isinstance(value, types.FunctionType) and "<" in value.__qualname__:
            self.callbacks.append(value)
            return len(self.callbacks) - 1
        return None


def _called_back(callbacks: list[Callable[..., Any]], answer: dict[str, Any]) -> tuple[bool, Any]:
    """Return whether a function of ours could be called as the sandbox wants it, and its result or the error's text."""
    try:
        return True, callbacks[answer["callback"]](*answer["arguments"])
    except Exception as error:  # the student's function has called it wrongly
        return False, f"{type(error).__name__}: {error}"


def possible() -> str:
    """Return why namespaces are not possible here, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(Path(folder), seconds=1, memory=1, isolated=True)
        sandbox.deadline, sandbox.most_cpu = time.monotonic() + START_SECONDS, float("inf")
        try:
            with opened(sandbox):
                sandbox._launch(probe=True)
                code = sandbox.process.wait(START_SECONDS)
        except isolation.NotPossible as problem:
            return str(problem)
        except (Died, subprocess.TimeoutExpired) as problem:
            return f"a first try did not start: {problem}"
    return f"a first try ended with exit code {code}" if code else ""


def _change(value: Any, new: Any) -> None:
    """Repeat a change that the student's function made to an argument in its own process."""
    with contextlib.suppress(RuntimeError, ValueError, TypeError), torch.no_grad():
        if isinstance(value, torch.Tensor) and isinstance(new, torch.Tensor):
            value.copy_(new)
        elif isinstance(value, np.ndarray) and isinstance(new, np.ndarray):
            value[...] = new


def _environment(home: str) -> dict[str, str]:
    search = [str(Path(mintad.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    paths = {"HOME": home, "TMPDIR": f"{home}/.tmp", "PATH": os.defpath, "MPLCONFIGDIR": f"{home}/.tmp"}
    paths |= {"PYTHONPATH": os.pathsep.join(dict.fromkeys(entry for entry in search if entry))}
    return paths | {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}


@contextlib.contextmanager
def opened(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Close a sandbox at the end of the block."""
    try:
        yield sandbox
    finally:
        sandbox.close()
