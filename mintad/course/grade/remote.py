"""The judge's end of a sandbox: call the student's functions in it."""

from __future__ import annotations

import contextlib
import io
import pickle
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mintad.course.grade.closure import Unusable
from mintad.course.grade.process import Died, Process
from mintad.course.grade.runner import LENGTH
from mintad.course.grade.wire import Malformed, decode

MOST_LINES = 100_000  # of a cell
NONSENSE = "it sent something that no function returns"


class Sandbox(Process):
    """A submission's process, and the calls of the student's functions in it."""

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
        answer = self._ask("apply", path, arguments)
        if "result" not in answer:
            self.die(NONSENSE)
        return self._with_gradient(answer["result"], arguments)

    def _send(self, value: Any, callbacks: list[Callable[..., Any]]) -> None:
        data = io.BytesIO()
        _Pickler(data, callbacks).dump(value)
        self.write(LENGTH.pack(data.tell()) + data.getvalue())

    def _ask(self, kind: str, *arguments: Any) -> dict[str, Any]:
        if self.process is None:
            raise Died("it has been ended")
        callbacks: list[Callable[..., Any]] = []
        self._send((kind, *arguments), callbacks)
        while True:
            try:
                answer = decode(self.read)
            except Malformed as error:
                self.die(f"{NONSENSE} ({error})")
            if "callback" in answer:
                self._send(_called_back(callbacks, answer), callbacks)
                continue
            if "unusable" in answer:
                raise Unusable(str(answer["unusable"]))
            if "raised" in answer:
                name = str(answer["raised"])
                line = answer.get("line")
                said = {"line_of_cell": line if type(line) is int and 0 < line < MOST_LINES else None}
                raise type(name if name.isidentifier() else "Error", (Exception,), said)(answer.get("text", ""))
            return answer

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        answer = self._ask("call", arguments)
        changed = answer.get("changed")
        if "result" not in answer or not isinstance(changed, dict):
            self.die(NONSENSE)
        for n, value in enumerate(arguments):
            if str(n) in changed:
                _change(value, changed[str(n)])
        return self._with_gradient(answer["result"], arguments)

    def _with_gradient(self, result: Any, arguments: tuple[Any, ...]) -> Any:
        inputs = [value for value in arguments if isinstance(value, torch.Tensor) and value.requires_grad]
        several = list(result) if isinstance(result, tuple | list) else [result]
        places = [n for n, one in enumerate(several) if isinstance(one, torch.Tensor) and one.requires_grad]
        if not (places and inputs and torch.is_grad_enabled()):
            return result
        results = _WithGradient.apply(self, len(places), *(several[n].detach() for n in places), *inputs)
        for n, one in zip(places, results, strict=True):
            several[n] = one
        return several if isinstance(result, tuple | list) else several[0]


class _WithGradient(torch.autograd.Function):
    """The student's results, with gradients that the sandbox computes."""

    @staticmethod
    def forward(ctx: Any, sandbox: Sandbox, results: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.sandbox, ctx.inputs = sandbox, len(tensors) - results
        return tuple(one.clone() for one in tensors[:results])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        answer = ctx.sandbox._ask("gradient", tuple(one.contiguous() for one in gradients)).get("result")
        found = answer if isinstance(answer, list) and len(answer) == ctx.inputs else [None] * ctx.inputs
        return (None, None, *(None for _ in gradients), *found)


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


def _change(value: Any, new: Any) -> None:
    """Repeat a change that the student's function made to an argument in its own process."""
    with contextlib.suppress(RuntimeError, ValueError, TypeError), torch.no_grad():
        if isinstance(value, torch.Tensor) and isinstance(new, torch.Tensor):
            value.copy_(new)
        elif isinstance(value, np.ndarray) and isinstance(new, np.ndarray):
            value[...] = new
