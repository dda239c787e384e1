"""CSV files that say in comment lines how they were made: command, versions, machine."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from mintad.config import Config
from mintad.runs.directory import versions


def write(
    path: Path, rows: list[dict] | pd.DataFrame, packages: Sequence[str] = (), config: Config | None = None
) -> None:
    """Write a CSV with its provenance in comment lines. Lines that somebody has added by hand stay.

    Args:
        path: of the CSV; what is there is replaced.
        rows: its rows.
        packages: those whose versions matter beside the usual.
        config: what all rows have in common; `mintad report` then knows which tables may be compared.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = versions()
    machine = f"{platform.machine()}, {own['cores']} cores{', ' + own['gpu'] if 'gpu' in own else ''}"
    numbers = {name: own[name] for name in ("torch", "timm", "numpy")} | {name: version(name) for name in packages}
    head = [
        f"# command: python {shlex.join(sys.argv)}",
        f"# versions: python {own['python']}, " + ", ".join(f"{name} {number}" for name, number in numbers.items()),
        f"# machine: {machine}",
    ]
    if config:
        head.append("# config: " + json.dumps(portable(config).to_dict()))
    if path.exists():
        ours = tuple(line.partition(":")[0] + ":" for line in head)
        lines = path.read_text(encoding="utf-8").splitlines()
        head += [line for line in lines if line.startswith("#") and not line.startswith(ours)]
    path.write_text("\n".join(head) + "\n" + pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")


def portable(config: Config) -> Config:
    """Return the configuration without the paths of this machine."""
    options = {name: value for name, value in config.data.options.items() if name != "roots"}
    return config.override(**{"data.root": None, "data.options": options, "features.weights": "auto"})
