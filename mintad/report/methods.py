"""The methods of the paper's tables: what builds each of them here, and how to measure those without a number."""

from __future__ import annotations

from mintad.baselines import BASELINES
from mintad.config import Config
from mintad.data import DATASETS
from mintad.model import VARIANTS as BUILT
from mintad.report import paper
from mintad.report.paper import PRINTED_PER_CATEGORY, SWITCHES, VARIANTS

HOME = dict.fromkeys(range(1, 11), "mvtec") | {2: "visa", 3: "merged", 6: "", 7: "cifar10"}
"""Table -> the data set of its numbers."""
OPEN = (1, 4, 5, 8, 9, 10)
"""Tables that make sense on another data set, whose numbers are then shown apart from the paper's."""
ANOMALIB = {
    "anomalib_padim": "PaDiM (anomalib)",
    "anomalib_patchcore": "PatchCore (anomalib)",
    "anomalib_cfa": "CFA (anomalib)",
    "anomalib_cflow": "CFLOW (anomalib)",
    "anomalib_draem": "DRAEM (anomalib)",
    "anomalib_supersimplenet": "SuperSimpleNet",
}
"""Names in the CSV of benchmarks/anomalib_baselines.py -> names in the tables: the library's own, apart from ours."""


def data_title(name: str) -> str:
    """Return a data set's name as people read it; a merged set of other parts keeps its own."""
    return DATASETS[name].title if name in DATASETS else name


def reason(method: str, table: int = 0, setting: str = "unified", measured_on: str = "") -> str:
    """Say why a method of the paper has no measured number in a table: it is not timed, or it was not run.

    A method that was not run comes with the command that runs it. One model per category takes as long as all of them
    together, so its command is for one method and one seed. It is for the data set `measured_on`, on which the table's
    other methods were run, else for the paper's. Tables that make sense on their own data alone name these, because
    nobody has them without asking for them.
    """
    if table == 6:
        untimed = {*ANOMALIB.values(), *(BASELINES[name].title for name in BASELINES.trained())}
        counted = "not timed: benchmarks/network_counts.py counts parameters and MACs alone"
        return counted if method in untimed else "not run (benchmarks/complexity.py)"
    home = HOME.get(table) if table not in OPEN else ""
    data = f" --data {home}" if home else ""
    if setting == "separate":
        chosen = measured_on if measured_on in DATASETS else HOME.get(table, "mvtec")
        script = f"python benchmarks/compare.py {{0}}_separate.csv --data {chosen}"
        script += ' --variants "" --baselines {0}_separate --seeds 0'
    else:
        script = f"mintad train{data} --baselines {{0}}"
    ways = {baseline.title: script.format(name) for name, baseline in BASELINES.items()}
    ways |= dict.fromkeys(ANOMALIB.values(), "benchmarks/anomalib_baselines.py, with the extra mintad[anomalib]")
    each = ", setting: separate in a sweep" if setting == "separate" else ""
    ways |= {name: f"model.variant={variant}{each}" for name, variant in VARIANTS.items()}
    weights = "; needs this backbone's weights: timm's hub, or a file that features.weights names"
    on = f" on {data_title(home)}" if home else ""
    return f"not run{on}" + (f" ({ways[method]})" if method in ways else "") + (weights if table == 8 else "")


def table_row(table: int, method: str, setting: str, config: Config | None) -> tuple[str, str] | None:
    """Return the method and setting of the table's row (or column) to which a run belongs; None if there is none.

    Baselines and backbones that the table does not print get a row of their own, and so do variants from outside the
    package in Table 4. `method` is a `model.variant`, a baseline's name or a key of `ANOMALIB`.
    """
    on = "+".join(name for name in SWITCHES if config and getattr(config.model, name) in (True, "learned"))
    full = config is None or on == "+".join(SWITCHES)
    unified = setting == "unified"
    if table == 4 and method in BUILT and method not in VARIANTS.values():
        return (method, "not in the paper") if unified and full else None
    if table in (4, 9):
        settings = paper.load(table).drop_duplicates("method").set_index("method")["setting"]
        names = [name for name in settings.index if VARIANTS.get(name) == method]
        return (names[0], settings[names[0]]) if unified and full and names else None
    name = BASELINES[method].title if method in BASELINES else ANOMALIB.get(method) or PRINTED_PER_CATEGORY.get(method)
    separate = setting == "separate" and table in (1, 2)  # given the class; models chosen by a classifier have no table
    if name is None or table == 6 or not (unified or separate):
        return None
    if table == 5:
        return (name, on or "none") if config and method == "mint_ad" else None
    if table == 8:
        printed = config and full and method in PRINTED_PER_CATEGORY
        return (name, config.features.backbone.partition(".")[0].removeprefix("tf_")) if printed else None
    return (name, "merged" if table == 3 else setting) if full else None
