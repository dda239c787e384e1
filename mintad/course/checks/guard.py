"""Notice when a student's function calls one of ours that does the exercise's work, however the call is wrapped."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any


class Guard:
    """Functions that a student's function must not call: the reference, and those of libraries that do its work.

    A call is recognised by the code that runs, so neither another name nor a wrapper, a `partial` or a subclass hides
    it. A function that starts a thread can; who wants to cheat in the own notebook cheats nobody else, and the grader
    runs without the reference functions.
    """

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._names: dict[Any, str] = {}
        for function in functions:
            self._add(function, getattr(function, "__name__", repr(function)))

    def _add(self, function: Any, name: str) -> None:
        if isinstance(function, type):
            for method in vars(function).values():
                if inspect.isfunction(method):
                    self._add(method, name)
            return
        function = inspect.unwrap(function)
        self._names[getattr(function, "__code__", function)] = name  # functions written in C have no code

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Yield a list; the names of guarded functions that are called in the block are added to it."""
        called: list[str] = []

        def profile(frame: FrameType, event: str, argument: Any) -> None:
            if event == "call":
                name = self._names.get(frame.f_code)
            elif event == "c_call":
                name = self._names.get(argument)
            else:
                return
            if name:
                called.append(name)

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            yield called
        finally:
            sys.setprofile(before)
