"""The measured results that come with the repository, for notebooks whose own trainings would be too short."""

from __future__ import annotations

import pandas as pd

from mintad.disk import BESIDE_PACKAGE
from mintad.errors import DataError
from mintad.report.commented_csv import read_commented_csv

RESULTS = BESIDE_PACKAGE / "data" / "results"


def shipped_results(name: str) -> pd.DataFrame:
    """Read ``data/results/NAME.csv``; its comment lines say how it was measured.

    Raises:
        DataError: there is no such file, for example because mintad was installed without its repository.
    """
    file = RESULTS / f"{name}.csv"
    if not file.is_file():
        raise DataError("no such table of results", path=file, fix="work in a clone of the repository")
    return read_commented_csv(file)[1]
