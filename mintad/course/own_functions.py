"""The student's functions of earlier notebooks, and the reference where an exercise is open.

Each notebook runs in a kernel of its own. So the functions are read from the notebooks' files, in the same way as the
grader reads them: the function, with the imports and definitions that it uses, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from pathlib import Path

from mintad.course.grade.closure import Unusable, execute, needed
from mintad.course.lab.assembly import Functions
from mintad.course.release import find_notebooks
from mintad.course.status import MARKS, OPEN, SOLVED, TRIED

PLACES = {
    "feature_jitter": ("04_reconstruction_transformer", "transformer"),
    "decoder_layer": ("04_reconstruction_transformer", "transformer"),
    "prompt_mapper": ("06_class_tokens", "tokens"),
    "cross_entropy": ("06_class_tokens", "tokens"),
    "modulated": ("07_inr_query", "inr"),
    "gaussian_nll": ("08_prior_loss", "prior"),
    "reduce": ("08_prior_loss", "prior"),
}
"""Function -> notebook in which it is written, and module of its check."""


def from_notebooks(folder: str | Path | None = None) -> Functions:
    """Return the functions of a whole model: the student's that pass their checks, else the reference; print which.

    Args:
        folder: of the saved notebooks; by default the working directory or its folder `notebooks`, else the one beside
            the package.

    Raises:
        DataError: the folder has no notebooks.
    """
    here = Path.cwd()
    if folder is None and any(here.glob("0[0-9]_*.ipynb")):
        folder = here
    paths = {path.stem: path for path in find_notebooks((), folder)}
    found = {}
    for name, (notebook, module) in PLACES.items():
        checks = importlib.import_module(f"mintad.course.checks.{module}")
        found[name] = getattr(checks, f"reference_{name}")
        try:
            if notebook not in paths:
                raise Unusable(f"there is no {notebook}.ipynb in this folder")
            function = execute(needed(paths[notebook], name, name), name)
            with contextlib.redirect_stdout(io.StringIO()):
                getattr(checks, f"check_{name}")(function, keep=False)
        except (Exception, SystemExit) as problem:  # whatever the student's cell does, the others' functions are used
            open_ = str(problem) == "not solved"
            where = f"notebook {notebook[:2]}"
            reason = f"exercise open in {where}" if open_ else f"yours in {where}: {problem}"
            print(f"{MARKS[OPEN if open_ else TRIED]} {name}: the reference ({reason})")
        else:
            found[name] = function
            print(f"{MARKS[SOLVED]} {name}: yours, from notebook {notebook[:2]}")
    return Functions(**found)
