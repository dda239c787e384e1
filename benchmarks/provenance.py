"""Write CSV files with comment lines that say how they were made: command, versions, machine."""

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
from mintad.report.commented_csv import split_comments
from mintad.runs.opening import versions

CONFIG = "# config: "
"""What the comment line with the configuration begins with."""


def write(
    path: Path, rows: list[dict] | pd.DataFrame, packages: Sequence[str] = (), config: Config | None = None
) -> None:
    """Write a CSV with its provenance in comment lines. Comment lines that were added by hand are kept.

    Args:
        path: of the CSV; an older file is replaced.
        rows: its rows.
        packages: packages whose versions are written in addition to the usual ones.
        config: the configuration that all rows have in common. `mintad report` uses it to decide which tables can be
            compared.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = versions()
    machine = f"{platform.machine()}, {facts['cores']} cores{', ' + facts['gpu'] if 'gpu' in facts else ''}"
    numbers = {name: facts[name] for name in ("torch", "timm", "numpy")} | {name: version(name) for name in packages}
    head = [
        f"# command: python {shlex.join(sys.argv)}",
        f"# versions: python {facts['python']}, " + ", ".join(f"{name} {number}" for name, number in numbers.items()),
        f"# machine: {machine}",
    ]
    if config:
        head.append(config_line(config))
    if path.exists():
        written_here = tuple(line.partition(":")[0] + ":" for line in head)
        comments, _ = split_comments(path.read_text(encoding="utf-8"))
        head += [line for line in comments if not line.startswith(written_here)]
    path.write_text("\n".join(head) + "\n" + pd.DataFrame(rows).to_csv(index=False), encoding="utf-8")


def config_line(config: Config) -> str:
    """Return the comment line that says which configuration a table was measured with."""
    return CONFIG + json.dumps(portable(config).to_dict())


def portable(config: Config) -> Config:
    """Return the configuration without the paths of this machine."""
    options = {name: value for name, value in config.data.options.items() if name != "roots"}
    return config.override(**{"data.root": None, "data.options": options, "features.weights": "auto"})
