"""The process of a sandbox, seen from the judge: start it, read what it writes, and end it, whatever it does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from mintad.course.grade import isolation
from mintad.disk import BESIDE_PACKAGE

START = "from mintad.course.grade.sandbox import main; main()"
START_SECONDS = 600  # within which a sandbox must be ready; the machine may be busy
WALL = 6  # how many times the processor seconds a piece of work may take by the clock
POLL_SECONDS = 0.25
MOST_HELLO = 10_000  # bytes


class Died(BaseException):  # no Exception, so that a check does not take it for an error of the student's function
    """Raised when a sandbox had to be ended, or has ended itself; the message says why."""


class Process:
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
        self.deadline = self.most_cpu = self.known_cpu = self.next_look = 0.0
        self.own_bytes = float("inf")  # of the process when it is ready
        self.processor = 0.0  # seconds that ended processes have used

    def allow(self) -> None:
        """Begin a new piece of work: start the process if there is none, and give it its seconds."""
        if self.process is None:
            self.deadline, self.most_cpu = time.monotonic() + START_SECONDS, float("inf")
            self.launch()
            self.read(len(isolation.READY))  # it has imported what it needs
            self.own_bytes = sum(_memory(pid) for pid in self._pids())
        self.deadline, self.most_cpu = time.monotonic() + self.seconds * WALL, self._cpu() + self.seconds

    def close(self) -> None:
        """End the process and remove its files."""
        if self.process is None:
            return
        process, self.process = self.process, None
        self.processor += self._cpu()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.poll() is None:  # else its number may be another's by now
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in self.requests, self.answers:
            with contextlib.suppress(OSError):
                pipe.close()
        process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def launch(self, *, probe: bool = False) -> None:
        """Start the process; with `probe` it ends when it is isolated and its exit code says whether that worked.

        Raises:
            NotPossible: this system does not allow it to be isolated.
        """
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
        self.pid, self.known_cpu = self.process.pid, 0.0
        os.close(theirs_in)
        os.close(theirs_out)
        self.requests, self.answers = os.fdopen(ours_out, "wb", buffering=0), os.fdopen(ours_in, "rb", buffering=0)
        hello = json.loads(self._line())
        if "problem" in hello:
            self.close()
            raise isolation.NotPossible(hello["problem"])
        self.pid = hello["pid"]

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n") and len(line) < MOST_HELLO:
            line += self.read(1)
        return line

    def read(self, size: int) -> bytes:
        """Return so many bytes of the sandbox's answer.

        Raises:
            Died: they have not come in time, and the process has been ended.
        """
        parts = []
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            while size:
                ready = selector.select(POLL_SECONDS)
                self._watch()
                if not ready:
                    continue
                part = os.read(self.answers.fileno(), min(size, 2**20))
                if not part:
                    self.die(self._end())
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    def _watch(self) -> None:
        """End the process if it takes too long, or its children and it use too much; alone, the system limits it."""
        now = time.monotonic()
        if now > self.deadline:
            self.die(f"it took longer than {self.seconds:g} s")
        if now < self.next_look:
            return
        self.next_look = now + POLL_SECONDS
        if self._cpu() > self.most_cpu:
            self.die(f"it took longer than {self.seconds:g} s")
        pids = self._pids()
        if len(pids) > 1 and sum(map(_memory, pids)) > self.own_bytes + self.memory * 2**30:
            self.die(f"its processes used more than {self.memory:g} GB")

    def _pids(self) -> list[int]:
        """Return the process and all that it has started, as far as /proc tells."""
        children: dict[int, list[int]] = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
                children.setdefault(int(file.read_text().rpartition(")")[2].split()[1]), []).append(
                    int(file.parent.name)
                )
        found = [self.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def _cpu(self) -> float:
        """Return the seconds of processor time that the process has used, as far as is known when it has ended."""
        with contextlib.suppress(OSError):  # elsewhere than on Linux nothing is known
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            self.known_cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return self.known_cpu

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

    def die(self, reason: str) -> NoReturn:
        """End the process, and raise `Died` with the reason."""
        self.close()
        raise Died(reason)

    def write(self, data: bytes) -> None:
        """Send so many bytes to the sandbox."""
        try:
            while data:
                data = data[self.requests.write(data) :]
        except BrokenPipeError:
            self.die(self._end())


def _memory(pid: int) -> int:
    """Return the bytes that a process uses; its share of what it uses with others, where the system says it."""
    for file, line in ("smaps_rollup", r"^Pss:\s+(\d+)"), ("status", r"^VmRSS:\s+(\d+)"):
        with contextlib.suppress(OSError):
            if found := re.search(line, Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE):
                return int(found[1]) * 1024
    return 0


P = TypeVar("P", bound="Process")


@contextlib.contextmanager
def opened(process: P) -> Iterator[P]:
    """Close a sandbox at the end of the block."""
    try:
        yield process
    finally:
        process.close()


def possible() -> str:
    """Return why namespaces are not possible here, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        process = Process(Path(folder), seconds=1, memory=1, isolated=True)
        process.deadline, process.most_cpu = time.monotonic() + START_SECONDS, float("inf")
        try:
            with opened(process):
                process.launch(probe=True)
                code = process.process.wait(START_SECONDS)
        except isolation.NotPossible as problem:
            return str(problem)
        except (Died, subprocess.TimeoutExpired) as problem:
            return f"a first try did not start: {problem}"
    return f"a first try ended with exit code {code}" if code else ""


def _environment(home: str) -> dict[str, str]:
    search = [str(BESIDE_PACKAGE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    paths = {"HOME": home, "TMPDIR": f"{home}/.tmp", "PATH": os.defpath, "MPLCONFIGDIR": f"{home}/.tmp"}
    paths |= {"PYTHONPATH": os.pathsep.join(dict.fromkeys(entry for entry in search if entry))}
    return paths | {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
