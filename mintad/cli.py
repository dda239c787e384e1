"""The command line: ``mintad train | evaluate | predict | describe | sweep | report | data | cache`` (``python -m
mintad`` is the same)."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mintad.config import Config, load_config, preset
from mintad.errors import ConfigError, MintadError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
data_app = typer.Typer(no_args_is_help=True, help="Get, check and list data sets.")
cache_app = typer.Typer(no_args_is_help=True, help="List and clear the feature cache.")
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")
console = Console()
errors = Console(stderr=True, soft_wrap=True)

PresetOption = Annotated[
    str | None, typer.Option("--preset", help="paper (as published) or fast (2 CPU cores); default fast.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file over the preset.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One configuration value, e.g. train.steps=400.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="elpv, mini, mvtec, visa, btad, merged, cifar10 or folder.")
]
RootOption = Annotated[Path | None, typer.Option("--root", help="Folder of the data set.")]
CategoriesOption = Annotated[str | None, typer.Option("--categories", help="Comma-separated; default all.")]
PeersOption = Annotated[
    str, typer.Option("--baselines", help="Comma-separated baselines on the same features: padim, patchcore.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda, whatever the run was trained on.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def resolve_config(
    preset_name: str | None = None,
    file: Path | None = None,
    settings: list[str] | None = None,
    data: str | None = None,
    root: Path | None = None,
    categories: str | None = None,
) -> Config:
    """The configuration that the options describe: preset, then file, then --data and its like, then --set.

    Raises:
        ConfigError: unknown preset, key or value.
    """
    if preset_name and file:
        raise ConfigError("give --preset or --config, not both; the file may name its base with 'preset: paper'")
    config = load_config(file) if file else preset(preset_name or "fast")
    changes: dict[str, object] = {}
    if data is not None:
        changes["data.name"] = data
    if root is not None:
        changes["data.root"] = str(root)
    if categories is not None:
        changes["data.categories"] = categories
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set takes KEY=VALUE, not '{setting}'")
        changes[key.strip()] = value.strip()
    return config.override(**changes)


@app.command("train")
def train_command(
    out: Annotated[Path, typer.Option("--out", help="Run directory; an unfinished run in it is resumed.")] = Path(
        "runs/run"
    ),
    preset_name: PresetOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    root: RootOption = None,
    categories: CategoriesOption = None,
    settings: SetOption = None,
    baselines: PeersOption = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start afresh where --out holds a run.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train, evaluate on the test split, and write the run directory with its results page.

    The same command again resumes an interrupted run; on a finished one it evaluates the baselines that are new.
    """
    from mintad.runs.train import train_run

    resolved = resolve_config(preset_name, config, settings, data, root, categories)
    names = tuple(name.strip() for name in baselines.split(",") if name.strip())
    run = train_run(resolved, out, baseline_names=names, overwrite=overwrite, progress=not quiet)
    if is_main_process():
        print_results(run.path)


@app.command("evaluate")
def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    baselines: PeersOption = "",
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Evaluate a run's newest checkpoint again, with the baselines it was compared with, and rewrite its results."""
    from mintad.runs.train import evaluate_run

    names = tuple(name.strip() for name in baselines.split(",") if name.strip())
    print_results(evaluate_run(run, baseline_names=names, device=device, progress=not quiet).path)


@app.command("predict")
def predict_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    images: Annotated[list[Path], typer.Argument(help="Image files and folders.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions.csv and the heatmaps.")] = Path(
        "predictions"
    ),
    device: DeviceOption = "auto",
    category: Annotated[
        str | None, typer.Option("--category", help="Class of all images, for a variant that must be told.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Score images: a CSV and heatmap overlays. Unreadable files are reported and skipped, and the exit code is 1."""
    from mintad.runs.predict import predict_files

    table, problems = predict_files(run, images, out, device=device, category=category, progress=not quiet)
    shown = Table("image", "score", "anomalous", "class")
    for row in table.sort_values("pred_score", ascending=False).head(20).itertuples():
        shown.add_row(Path(row.image).name, f"{row.pred_score:.4f}", str(row.anomalous), row.pred_class)
    console.print(shown)
    console.print(f"{len(table)} images scored; all results in {out / 'predictions.csv'}", soft_wrap=True)
    for problem in problems:
        errors.print(f"skipped: {problem}", style="red", markup=False)
    if problems:
        raise typer.Exit(1)


@app.command("describe")
def describe_command(
    preset_name: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    classes: Annotated[int, typer.Option("--classes", min=1, help="N, classes of the head.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Parameters and MACs of every part, for one image. No weights and no data are needed."""
    from mintad.model import build_model
    from mintad.model.complexity import describe
    from mintad.runs.prepare import configured_backbone

    resolved = resolve_config(preset_name, config, settings)
    backbone = configured_backbone(resolved.features, weights="random")
    model = build_model(resolved.model, channels=backbone.channels, grid=backbone.grid, classes=classes)
    counts = describe(backbone, model)
    if as_json:
        print(json.dumps(counts, indent=1))
        return
    macs = counts.pop("macs")
    table = Table(
        "part", "parameters", "MACs", title=f"{resolved.model.variant}, {resolved.features.backbone}, {classes} classes"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", f"{macs[name]:,}")
    console.print(table)


@app.command("sweep")
def sweep_command(
    spec: Annotated[Path, typer.Argument(help="YAML file; benchmarks/sweeps has examples.", metavar="SPEC.yaml")],
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Runs at a time on this machine; they share its cores.")
    ] = 1,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the runs, instead of the file's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and where they stand; start none.")] = False,
) -> None:
    """Run a notebook over a grid of parameters. The same command runs what is left.

    \b
    SPEC.yaml, for example:
      out: runs/query            # one folder a run, below the file's folder
      fixed:                     # for all runs
        preset: lesson
      grid:                      # every combination: 3 x 2 runs
        seed: [0, 1, 2]
        overrides:               # values may have labels
          with_query: {model.class_query: true}
          without: {model.class_query: false}
      runs:                      # these besides
        - {variant: uniad, seed: 0}

    \b
    Further keys: name; notebook (default: 10_unified_training); timeout
    (seconds a cell); threads (of a run); gpu (true: on a cluster, a run takes
    one Dask resource GPU). All names are checked before anything starts.

    \b
    A run's folder has notebook.ipynb (executed), parameters.json, status.json
    and what the training writes. Finished runs are skipped; failed and
    interrupted ones are run again.

    \b
    On a cluster with a common file system (pip install "mintad\\[cluster]"):
      dask scheduler                      # prints its ADDRESS
      dask worker ADDRESS --nthreads 1 --resources GPU=1     # one a GPU
      mintad sweep SPEC.yaml --scheduler ADDRESS

    \b
    Exit code: 0 all runs are finished; 1 some failed, a table says which and
    why; 2 the file is wrong, nothing was started; 130 after Ctrl-C.
    """
    from mintad.sweep.command import run_command

    code = run_command(spec, out=out, workers=workers, scheduler=scheduler, dry_run=dry_run, console=console)
    raise typer.Exit(code)


@app.command("report")
def report_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories, folders of them, tables of benchmarks/.", metavar="RUNS...")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and the tables.")] = Path("report"),
    tables: Annotated[
        list[int] | None, typer.Option("--table", metavar="N", help="Only this table of the paper; may be repeated.")
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Only runs with this value, e.g. data.name=mini."),
    ] = None,
) -> None:
    """Set measured numbers beside the paper's, Tables 1 to 10: a page, and CSV and LaTeX of every table.

    Means and deviations over seeds, paired tests between methods, figures. Unfinished runs are listed and skipped.
    """
    from mintad.report.build import report

    made = report(runs, out, tables=tables or (), conditions=conditions or ())
    for name, reason in made.runs.skipped.items():
        errors.print(f"skipped: {name}: {reason}", style="yellow", markup=False)
    filled = [str(table.number) for table in made.tables if table.measured]
    count = f"{len(made.runs.configs)} runs, {len(made.runs.skipped)} skipped"
    console.print(f"{count}; measured numbers in table {', '.join(filled) or 'none'}", markup=False)
    console.print(f"report: {made.page.resolve().as_uri()}", soft_wrap=True)


@data_app.command("check")
def check_command(
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    name: Annotated[
        str, typer.Option("--data", help="mvtec, visa, btad, cifar10, folder; default: recognised.")
    ] = "auto",
) -> None:
    """Count a data set's images per category and list all its problems at once; exit code 1 if there are errors."""
    from mintad.data.check import check

    report = check(root, name)
    console.print(report.to_rich())
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("get")
def get_command(
    name: Annotated[str, typer.Argument(help="mvtec, visa, btad or cifar10.")],
    root: Annotated[Path, typer.Option("--root", help="The set is put into ROOT/NAME.")] = Path("data"),
    yes: Annotated[bool, typer.Option("--yes", help="Accept the data set's licence without being asked.")] = False,
) -> None:
    """Download, verify and unpack a public data set."""
    from mintad.data.download import get

    accepted = yes or (lambda: sys.stdin.isatty() and typer.confirm("Do you accept this licence?"))
    folder = get(name, root, accept_licence=accepted)
    console.print(f"ready: mintad train --data {name} --root {folder}", soft_wrap=True, markup=False)


@cache_app.command("list")
def cache_list_command() -> None:
    """The feature caches on this machine."""
    from mintad.features.cache import cache_root, list_caches

    table = Table("key", "grid", "images", "size", "last written", title=str(cache_root()))
    for entry in list_caches():
        size, written = f"{entry.nbytes / 2**20:,.1f} MiB", f"{entry.modified:%Y-%m-%d %H:%M}"
        table.add_row(entry.key, str(entry.grid), f"{entry.images:,}", size, written)
    console.print(table)


@cache_app.command("clear")
def cache_clear_command(
    key: Annotated[str | None, typer.Argument(help="A key of mintad cache list; default all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove cached features; they are computed again when needed."""
    from mintad.features.cache import clear_caches

    if not yes:
        typer.confirm(f"Remove {key or 'all cached features'}?", abort=True)
    console.print(f"freed {clear_caches(key) / 2**20:,.1f} MiB")


def print_results(run: Path) -> None:
    """Print the headline of a finished run."""
    from mintad.runs.directory import Run
    from mintad.scoring.metrics import MEAN, METRICS, POOLED, by_category, value_of

    opened = Run(run)
    results = opened.results()
    headline = [name for name in ("image_auroc", "pixel_ap") if value_of(results, name) is not None]
    table = Table("category", *(METRICS[name].title for name in headline))
    columns = [by_category(results, name) for name in headline]
    for category in dict.fromkeys(key for column in columns for key in column):
        table.add_row(category, *(_shown(column.get(category)) for column in columns))
    table.add_section()
    table.add_row("mean", *(_shown(value_of(results, name)) for name in headline))
    console.print(table)
    accuracy, normal = (value_of(results, name, POOLED) for name in ("class_accuracy", "class_accuracy_normal"))
    if accuracy is not None:
        console.print(f"class accuracy on test images: {_shown(accuracy)} ({_shown(normal)} on the normal ones)")
    means = results[(results["metric"] == "image_auroc") & (results["category"] == MEAN)]
    if len(means) > 1:
        listed = ", ".join(f"{row.method} ({row.setting}) {row.value:.4f}" for row in means.itertuples())
        console.print(f"mean image AUROC on the same features: {listed}")
    seconds = opened.seconds()
    if seconds:
        console.print("seconds spent: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    console.print(f"results page: {opened.page.resolve().as_uri()}", soft_wrap=True)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that torchrun or accelerate started."""
    return os.environ.get("RANK", "0") == "0"


def main() -> None:
    """Entry point: user errors are printed without a traceback, exit code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if is_main_process() else logging.WARNING)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    for noisy in ("accelerate", "timm", "httpx", "huggingface_hub", "papermill"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        app()
    except MintadError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("interrupted; run the same command again to resume", style="yellow")
        sys.exit(130)
