"""The methods of the paper's tables: what builds each of them here, and why some cannot be run here."""

from __future__ import annotations

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.data import DATASETS
from mintad.model import VARIANTS as BUILT
from mintad.report import paper
from mintad.report.paper import PRINTED_PER_CATEGORY as METHODS
from mintad.report.paper import SWITCHES, VARIANTS

HOME = dict.fromkeys(range(1, 11), "mvtec") | {2: "visa", 3: "merged", 6: "", 7: "cifar10"}
"""Table -> the data set of its numbers."""
OPEN = (1, 4, 5, 8, 9, 10)
"""Tables that make sense on another data set, whose numbers are then shown apart from the paper's."""
DATA = {name: dataset.title for name, dataset in DATASETS.items()}
"""Data set -> its name as people read it."""
ANOMALIB = {
    "anomalib_padim": "PaDiM (anomalib)",
    "anomalib_patchcore": "PatchCore (anomalib)",
    "anomalib_cfa": "CFA",
    "anomalib_cflow": "CFLOW",
    "anomalib_draem": "DRAEM",
    "anomalib_supersimplenet": "SuperSimpleNet",
}
"""Names in the CSV of benchmarks/anomalib_baselines.py -> names in the tables. These are the paper's names where the
method is the same and we have none of our own; SimpleNet's successor keeps its own name."""

_NO_PACKAGE = "no maintained package has it, and its own training on images is not rebuilt here"
_REASONS = {
    "CutPaste": _NO_PACKAGE,
    "OmniAL": _NO_PACKAGE,
    "UTRAD": _NO_PACKAGE,
    "US": _NO_PACKAGE,
    "FCDD": _NO_PACKAGE,
    "FCDD+OE": f"{_NO_PACKAGE}; it also needs a set of outlier images",
    "PANDA": _NO_PACKAGE,
    "MKD": _NO_PACKAGE,
    "SimpleNet": "no maintained package has it; its successor SuperSimpleNet runs (benchmarks/anomalib_baselines.py)",
}


def reason(method: str) -> str:
    """Say why a method of the paper has no measured number: it cannot be run here, or it was not."""
    if method in _REASONS:
        return f"cannot be run here: {_REASONS[method]}"
    names = {baseline.title: name for name, baseline in BASELINES.items()}
    if method in names:
        return f"not run (mintad train --baselines {names[method]})"
    if method in ANOMALIB.values():
        return "not run (benchmarks/anomalib_baselines.py, with the extra mintad[anomalib])"
    return f"not run (model.variant={VARIANTS[method]})" if method in VARIANTS else "not run"


def table_row(table: int, method: str, setting: str, config: Config | None) -> tuple[str, str] | None:
    """Find the row (or column) of a table to which a run belongs.

    Args:
        table: 1 to 10.
        method: a `model.variant`, a name of `mintad.baselines.BASELINES`, or a key of `ANOMALIB`.
        setting: of the run's results.
        config: of the run; None if unknown.

    Returns:
        (method, setting) as the table names them; None if the table has no place for the run. Baselines and backbones
        that the table does not print get a row of their own, and so do variants from outside the package in Table 4.
    """
    if setting == "separate_chosen":  # App. A.1 has no table
        return None
    plain = config is None or all(getattr(config.model, name) for name in SWITCHES)
    printed = paper.load(table)[["method", "setting"]].drop_duplicates()
    if table == 4 and method in BUILT and method not in VARIANTS.values():
        return (method, "not in the paper") if setting == "unified" and plain else None
    if table in (4, 9):
        names = [name for name in printed["method"] if VARIANTS.get(name) == method]
        if setting != "unified" or not plain or not names:
            return None
        return names[0], printed.set_index("method").loc[names[0], "setting"]
    if setting not in ("unified", "separate"):  # the paper's separate models are given the class
        return None
    name = BASELINES[method].title if method in BASELINES else ANOMALIB.get(method) or METHODS.get(method)
    if table == 5:
        if config is None or method != "mint_ad" or setting != "unified":
            return None
        return name, "+".join(switch for switch in SWITCHES if getattr(config.model, switch)) or "none"
    if name is None or not plain or table == 6:
        return None
    if table == 8:
        if config is None or method not in METHODS or setting != "unified":
            return None
        return name, config.features.backbone.removeprefix("tf_")
    if table in (1, 2):
        return name, setting
    return (name, "merged" if table == 3 else "unified") if setting == "unified" else None
