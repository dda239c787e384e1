"""A sweep's results as one long table: the runs' own results, and the parameters that made each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mintad.errors import MintadError
from mintad.runs.files import PARAMETERS, RESULTS
from mintad.sweep.status import WORK, read_plan, read_status

if TYPE_CHECKING:
    import pandas as pd


def collect(folder: str | Path) -> pd.DataFrame:
    """Collect the results of all finished runs in the folder of a sweep.

    Returns:
        One row per number. Columns: run; those of `mintad.scoring.metrics.RESULT_COLUMNS`; seconds of the run's last
        attempt; every axis of the grid and every further parameter of the notebook, mappings and lists as JSON text.
        An axis of labelled values has the label, and ``AXIS.value`` the value. A name given twice gets an underscore.

    Raises:
        MintadError: no sweep has begun there, or a result is damaged.
    """
    import pandas as pd  # here, so that a run's process does not wait for it

    from mintad.runs.directory import Run
    from mintad.scoring.metrics import RESULT_COLUMNS

    folder = Path(folder)
    if not (folder / WORK).is_dir():
        raise MintadError(f"{folder} is not the folder of a sweep: mintad sweep SPEC.yaml makes one")
    labels, tables = read_plan(folder), []
    for path in sorted(folder.iterdir()):
        status = read_status(path)
        if path.name == WORK or status.state != "finished" or not (path / RESULTS).exists():
            continue
        try:
            parameters = json.loads((path / PARAMETERS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MintadError(f"{PARAMETERS} is damaged ({error})", path=path) from error
        columns = _columns(labels.get(path.name, {}), parameters)
        own = {"run": path.name, **Run(path).results(), "seconds": status.seconds}
        renamed = {f"{name}_" if name in own else name: value for name, value in columns.items()}
        tables.append(pd.DataFrame({**own, **renamed}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["run", *RESULT_COLUMNS, "seconds"])


def _columns(labels: Mapping[str, str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    columns = {name: value for name, value in parameters.items() if name not in ("seed", "setting")}
    for name, value in columns.items():
        columns[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
    for axis, label in labels.items():
        if axis in columns and label != str(parameters[axis]):
            columns[f"{axis}.value"] = columns[axis]
        if axis not in (*columns, "seed", "setting") or f"{axis}.value" in columns:
            columns[axis] = label
    return columns
