"""What every command has on the terminal: where it prints, and how an error, a full memory or Ctrl-C ends it."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from mintad.errors import MintadError, message, visible

console = Console()
errors = Console(stderr=True, soft_wrap=True)
MAIN_PROCESS = os.environ.get("RANK", "0") == "0"  # the only one, or the first that torchrun or accelerate started
RESUMED = ("train", "predict", "sweep", "notebooks", "course")
"""Commands that go on where they were interrupted; the others begin anew."""
NO_MEMORY = re.compile("(can't|cannot|failed to|unable to) allocate|out of memory", re.IGNORECASE)
"""PyTorch's words for it, in a RuntimeError."""


class Interruptible(TyperGroup):
    """Commands that Ctrl-C ends with exit code 130 and a line that says how to go on."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            again = "; run the same command again to resume" * (ctx.invoked_subcommand in RESUMED)
            errors.print(f"interrupted{again}", style="yellow")
            raise typer.Exit(130) from None


class VisibleFormatter(logging.Formatter):
    """Messages whose names cannot command the terminal; the lines of a message stay."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return "\n".join(map(visible, super().format(record).split("\n")))


def run_commands(app: Callable[[], Any]) -> None:
    """Run a command line; a `MintadError`, an `OSError` or too little memory is a line, and exit code 2."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: names may be no UTF-8, terminals neither
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(message)s"))
    handler.setLevel(logging.INFO if MAIN_PROCESS else logging.WARNING)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("accelerate", "timm", "httpx", "huggingface_hub", "papermill"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        app()
    except (MintadError, OSError) as error:
        fail(str(error) if isinstance(error, MintadError) else _of_the_system(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        fix = "choose a smaller train.batch_size, features.grid or model, or end other programs"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        fail(message(f"there is not enough memory ({reason})", fix=fix))


def fail(text: str) -> NoReturn:
    """Print an error and end with exit code 2."""
    lines = "\n".join(map(visible, f"error: {text}".split("\n")))
    errors.print(lines, style="red", markup=False, highlight=False)
    sys.exit(2)


def _of_the_system(error: OSError) -> str:
    """Return a message for what the operating system refused: which file, why, and what can be done."""
    reason = error.strerror or str(error) or type(error).__name__
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in reason
    fix = "free some space" if full else "put that right, or choose another folder"
    return message(
        reason, error.filename, f"{fix}; what was written whole is kept, the same command goes on from there"
    )
