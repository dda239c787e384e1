"""CSV files that begin with comment lines, such as those that say how a table was made."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pandas as pd

from mintad.disk import read_text


def split_comments(text: str) -> tuple[list[str], str]:
    """Return the comment lines that a file begins with, without line ends, and the rest: a '#' further on is data."""
    lines = text.splitlines(keepends=True)
    comments = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    return [line.rstrip("\r\n") for line in comments], "".join(lines[len(comments) :])


def read_commented_csv(path: Path) -> tuple[list[str], pd.DataFrame]:
    """Return the comment lines at the head of a CSV file, and its table.

    Raises:
        ValueError: the file is no CSV.
        DataError: it cannot be read, see `mintad.disk.read_text`.
    """
    comments, table = split_comments(read_text(path))
    return comments, pd.read_csv(io.StringIO(table))
