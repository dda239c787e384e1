"""The loop in the sandbox: load the function of an exercise, call it, send back what it returns."""

from __future__ import annotations

import importlib
import io
import pickle
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from mintad.course.grade.closure import Unusable, execute, needed
from mintad.course.grade.isolation import READY
from mintad.course.grade.wire import encode

LENGTH = struct.Struct("<I")
MOST_LETTERS = 500  # of an exception's text


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer the judge's requests until it closes the pipe."""
    torch.set_num_threads(1)
    runner = Runner(requests, answers)
    answers.write(READY)
    answers.flush()
    while (request := runner.receive()) is not None:
        kind, *arguments = request
        try:
            answer = getattr(runner, f"do_{kind}")(*arguments)
            runner.send(answer)
        except Unusable as error:
            runner.send({"unusable": str(error)})
        except BaseException as error:  # also SystemExit: the student's code raised it
            runner.send(_raised(error, runner.function))


class Runner:
    """A student's function in its process, and the way to the judge."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests, self.answers = requests, answers
        self.function: Callable[..., Any] | None = None
        self.last: tuple[torch.Tensor, list[torch.Tensor]] | None = None  # a result, what its gradient may go to
        self.withheld: list[tuple[Any, str, Any]] = []

    def receive(self) -> Any:
        """Return the judge's next request, None at the end."""
        header = self.requests.read(LENGTH.size)
        return _Unpickler(self, self.requests, LENGTH.unpack(header)[0]).load() if len(header) == LENGTH.size else None

    def send(self, answer: dict[str, Any]) -> None:
        """Send an answer; one that cannot be sent is an error of the student's function."""
        try:
            data = encode(answer)
        except (ValueError, RuntimeError, TypeError, RecursionError, MemoryError) as error:
            data = encode(_raised(error, self.function))
        self.answers.write(data)
        self.answers.flush()

    def do_load(self, notebook: str, name: str, check: str, withheld: Sequence[str]) -> dict[str, Any]:
        """Execute what the exercise needs; functions that would do its work are taken away first."""
        while self.withheld:
            setattr(*self.withheld.pop())
        self.function = self.last = None
        statements = needed(Path(notebook), name, check)
        for path in withheld:
            self._withhold(path)
        self.function = execute(statements, name)
        return {"loaded": True}

    def _withhold(self, path: str) -> None:
        """Put a function that refuses in place of a function of this dotted name, in every module that holds it."""
        owner, attribute = _owner(path)
        original, refuse = getattr(owner, attribute), _withheld(attribute)
        holders = [(owner, attribute)]
        for module in list(sys.modules.values()):
            found = getattr(module, "__dict__", None) or {}
            holders += [(module, name) for name, value in list(found.items()) if value is original]
        for holder, name in holders:
            self.withheld.append((holder, name, original))
            setattr(holder, name, refuse)

    def do_call(self, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Call the function; return the result, and the arguments that it changed."""
        before = {n: _copy(value) for n, value in enumerate(arguments) if isinstance(value, torch.Tensor | np.ndarray)}
        result = self.function(*arguments)
        self._keep(result, arguments)
        changed = {n: arguments[n] for n, old in before.items() if not _equal(arguments[n], old)}
        return {"result": result, "changed": changed}

    def do_gradient(self, gradients: tuple[torch.Tensor, ...]) -> dict[str, Any]:
        """Return the gradients of the last results' inputs."""
        results, inputs = self.last
        return {"result": list(torch.autograd.grad(results, inputs, gradients, allow_unused=True))}

    def do_apply(self, path: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Return what a function of ours makes of the student's function."""
        owner, attribute = _owner(path)
        result = getattr(owner, attribute)(self.function, *arguments)
        self._keep(result, arguments)
        return {"result": result}

    def _keep(self, result: Any, arguments: tuple[Any, ...]) -> None:
        inputs = [value for value in arguments if isinstance(value, torch.Tensor) and value.requires_grad]
        several = result if isinstance(result, tuple | list) else [result]
        results = [one for one in several if isinstance(one, torch.Tensor) and one.requires_grad]
        self.last = (results, inputs) if results else None

    def callback(self, number: int) -> Callable[..., Any]:
        """Return a function that runs at the judge's."""

        def function(*arguments: Any) -> Any:
            self.send({"callback": number, "arguments": arguments})
            worked, result = self.receive()
            if not worked:
                raise RuntimeError(result)
            return result

        return function


class _Unpickler(pickle.Unpickler):
    def __init__(self, runner: Runner, file: BinaryIO, length: int) -> None:
        super().__init__(io.BytesIO(file.read(length)))
        self.runner = runner

    def persistent_load(self, number: int) -> Any:
        return self.runner.callback(number)


def _raised(error: BaseException, function: Callable[..., Any] | None) -> dict[str, Any]:
    """Return what to say of an error, with its line in the cell of the function; a helper's cell may be another."""
    text = str(error)[:MOST_LETTERS] if not isinstance(error, MemoryError) else "out of memory"
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return {"raised": type(error).__name__, "text": text, "line": lines[-1] if lines else None}


def _owner(path: str) -> tuple[Any, str]:
    """Return the module or class of a dotted name, and the last part."""
    parts = path.split(".")
    for n in range(len(parts) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise ModuleNotFoundError(path)


def _withheld(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(f"this exercise asks you to write what {name} does; call something else")

    return refuse


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value.copy()


def _equal(new: Any, old: Any) -> bool:
    if isinstance(new, torch.Tensor):
        return new.shape == old.shape and torch.equal(new.detach().nan_to_num(), old.nan_to_num())
    return new.shape == old.shape and np.array_equal(new, old, equal_nan=new.dtype.kind == "f")
