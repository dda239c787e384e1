"""The process of a submission, from its start to the student's first line: isolation, limits, then `runner`.

Started by `process.Process` as ``python -c "from mintad.course.grade.sandbox import main; main()" SETTINGS``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import sys
import types
from pathlib import Path
from typing import Any

from mintad.course.grade import isolation

CHECKS = "mintad.course.checks"
MOST_PROCESSES = 64  # threads, too
FILE_MB = 64
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.chmod os.chown os.link os.mkdir os.remove os.rename os.rmdir os.symlink os.truncate os.utime shutil.rmtree"
).split()
REFUSED = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.kill", "ctypes.")


def main() -> None:
    """Read the settings (the first argument), isolate this process, limit it, and answer the judge until it ends.

    Exit code 70: namespaces were asked for and are not possible here.
    """
    settings = json.loads(sys.argv[1])
    isolation.die_with_parent()
    sys.path[:] = [entry for entry in sys.path if entry]
    requests, answers = (os.fdopen(int(fd), mode) for fd, mode in zip(settings["pipes"], ("rb", "wb"), strict=True))
    folder = Path(settings["folder"])
    if settings["isolated"]:
        try:
            isolation.enter(folder, Path(settings["home"]))
        except (isolation.NotPossible, OSError) as error:
            _hello(answers, {"problem": str(error)})
            sys.exit(70)
        child = os.fork()
        if child:
            _hello(answers, {"pid": child})
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        isolation.seal()
        if settings["probe"]:
            os._exit(0)
    else:
        isolation.copy_files(folder, Path(settings["home"]))
        os.chdir(settings["home"])
        _hello(answers, {"pid": os.getpid()})
    _limit(settings)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.meta_path.insert(0, _NoChecks())
    from mintad.course.grade import runner

    _limit_memory(settings["memory"])
    if not settings["isolated"]:
        sys.addaudithook(_guard(Path.cwd()))
    sys.path.append(os.getcwd())  # modules beside the notebook
    runner.serve(requests, answers)


def _hello(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def _limit(settings: dict[str, Any]) -> None:
    seconds = int(settings["cpu"])
    limits = {"CPU": (seconds, seconds + 5), "FSIZE": (FILE_MB << 20,) * 2, "CORE": (0, 0), "NOFILE": (256, 256)}
    if settings["isolated"]:  # else the user's other processes would count
        limits["NPROC"] = (MOST_PROCESSES,) * 2
    for name, (soft, hard) in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (soft, hard) if most == resource.RLIM_INFINITY else (min(soft, most), min(hard, most)))


def _limit_memory(gigabytes: float) -> None:
    """Allow so much address space beyond that of the interpreter and its libraries."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # no /proc: what Python with PyTorch has
        pages = (6 << 30) // resource.getpagesize()
    limit = pages * resource.getpagesize() + int(gigabytes * 2**30)
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit, and refuses it
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class _NoChecks(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Importer of `mintad.course.checks`: checks that do nothing, references that refuse; the real ones are outside."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for the checks, and nothing for other modules."""
        if name == CHECKS or name.startswith(f"{CHECKS}."):
            return importlib.machinery.ModuleSpec(name, self, is_package=name == CHECKS)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return a module whose attributes are made when they are asked for."""
        return types.ModuleType(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Give the module its attributes."""

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if module.__name__ == CHECKS:
                return importlib.import_module(f"{CHECKS}.{name}")
            return _refuse if name.startswith("reference_") else _nothing

        module.__getattr__ = attribute
        module.CheckFailed = type("CheckFailed", (AssertionError,), {})


def _refuse(*_: Any, **__: Any) -> None:
    raise PermissionError("this calls the reference function, which is not there when the work is graded")


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _guard(home: Path) -> Any:
    """Return an audit hook that refuses network, processes, and files outside the folder. Weaker than namespaces."""
    inside = str(home.resolve()) + os.sep

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(REFUSED):
            raise PermissionError(f"{event} is not allowed when the work is graded")
        writes = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES)
        if writes:
            for path in arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]:
                if isinstance(path, int) and event == "open":
                    continue
                where = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
                if not where.startswith(inside) and where != os.devnull:
                    raise PermissionError(f"{event} outside the submission's folder is not allowed: {path}")

    return hook
