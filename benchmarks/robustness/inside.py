"""Commands of mintad in this process, on a very small run in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import yaml
from tiny_run import COMMANDS, SETTINGS, state

from mintad.cli import main
from mintad.config import preset
from mintad.course import shared_models
from mintad.disk import naming
from mintad.runs.shared import train_shared

SLOW_COMMANDS = ("pack", "unpack", "sweep", "export")  # they take a minute to prepare
CHANGES = dict(setting.split("=", 1) for setting in SETTINGS)
SHARED = {
    "SHARED_MODELS": {"uniad": {"model.variant": "uniad"}},
    "preset": lambda name: preset(name).override(**CHANGES),
}
SWEEP = {"out": "sweep", "notebook": "none", "runs": [{"preset": "fast", "device": "cpu"}]}
EXPORTED = "exported.onnx"  # what the export wrote undisturbed, beside the folder
NAMED = (
    r"^error: (no finished run in \S+; )?(\S*/)?(run|cache|features|predictions|watched|report|runs|sweep|model)[s.:/]"
)
"""How a message that names a file begins."""
HANGS = 120  # seconds, far above what a command takes on a busy machine


def enough(names: tuple[str, ...], trials: range) -> tuple[str, ...]:
    """Return the commands to try: without those of `SLOW_COMMANDS`, which come last, if there are few trials."""
    return tuple(name for name in names if len(trials) >= 24 or name not in SLOW_COMMANDS)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder that has its own caches and shared models, for the block."""
    own = {"HOME": str(folder), "MINTAD_CACHE": str(folder / "cache"), "XDG_DATA_HOME": str(folder / "data")}
    own["MINTAD_RUNS"] = str(folder / "runs")
    before = os.getcwd()
    os.chdir(folder)
    try:
        with mock.patch.dict(os.environ, own), mock.patch.multiple(shared_models, **SHARED):
            yield
    finally:
        os.chdir(before)


def run(arguments: Sequence[str], hangs: int = HANGS) -> tuple[int, str]:
    """Run a command; return its exit code, and the lines of its errors, of a traceback all.

    It is broken off after `hangs` seconds.
    """
    said, output = io.StringIO(), io.StringIO()

    def hang(*_: object) -> None:
        raise TimeoutError(f"hangs for {hangs} s")

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(hangs)
    try:
        with (
            mock.patch.object(sys, "argv", ["mintad", *arguments]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(said),
        ):
            main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        code = 1
        said.write(traceback.format_exc())
    finally:
        signal.alarm(0)
    lines = said.getvalue().strip().splitlines()
    errors = lines if code == 1 else [line for line in lines if line.startswith("error: ")]
    return code, "\n".join(errors)


def run_here(name: str, here: Path) -> tuple[int, str]:
    """Run a command of `COMMANDS` in a folder; return what `run` returns."""
    with inside(here):
        return run(COMMANDS[name], hangs=900)


def prepare(
    folder: Path, names: Sequence[str], perform: Callable[[str, Path], tuple[int, str]] = run_here
) -> tuple[dict[str, Path], dict[str, dict[str, object]]]:
    """Run the commands undisturbed, one after the other, in `folder`/here; `perform` runs one, as `run_here` does.

    Returns:
        For each command a copy of the folder as it is before it, and the `state` that it leaves.
    """
    here, before, after = folder / "here", {}, {}
    here.mkdir()
    for name in names:
        arrange(here, name)
        before[name] = Path(shutil.copytree(here, folder / f"before-{name}", symlinks=True))
        code, said = perform(name, here)
        if code:
            raise SystemExit(f"{name} fails undisturbed: {said}")
        after[name] = state(here)
        if name == "export":
            shutil.copy(here / "model.onnx", folder / EXPORTED)
        if name == "train":
            images = sorted(here.rglob("test/*/*.png"))
            shutil.copytree(images[0].parent, here / "pictures")
    return before, after


def arrange(here: Path, name: str) -> None:
    """Put into the folder what a command needs beside what those before it have left."""
    if name == "pack":
        with inside(here):
            (config,) = shared_models.configurations().values()
            train_shared(config)
    if name == "unpack":
        shutil.rmtree(here / "runs")
    if name == "sweep":
        settings = {key: value for key, value in CHANGES.items() if key != "train.device"}
        overrides = {key: yaml.safe_load(value) for key, value in settings.items()}
        spec = SWEEP | {"fixed": {"overrides": overrides}}
        (here / "sweep.yaml").write_text(yaml.safe_dump(spec))


def reset(here: Path, before: Path) -> None:
    """Make a folder what it was before a command; the folder itself stays."""
    here.mkdir(exist_ok=True)
    for entry in here.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    shutil.copytree(before, here, symlinks=True, dirs_exist_ok=True)


def exported_before(folder: Path) -> mock._patch:
    """Let an export write what it wrote undisturbed: PyTorch takes a minute for it, and where it goes is the same."""
    content = (folder / EXPORTED).read_bytes() if (folder / EXPORTED).exists() else b""

    def written(graph: object, path: Path) -> None:
        with naming(path):
            path.write_bytes(content)

    return mock.patch("mintad.export.run.write_onnx", written)


def alone(name: str, here: Path) -> None:
    """Run a command of `COMMANDS` in a folder, in a process that has nothing else to do and may be killed."""
    quick = exported_before(here.parent) if (here.parent / EXPORTED).exists() else contextlib.nullcontext()
    with inside(here), quick, mock.patch.object(sys, "argv", ["mintad", *COMMANDS[name]]):
        main()
