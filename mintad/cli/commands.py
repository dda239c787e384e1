"""The commands of ``mintad`` that belong to no single part; those of others are in their `commands.py`.

Help and mistaken options are answered at once: whatever imports PyTorch is imported by the command that needs it, after
the configuration has been checked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from mintad.cli.terminal import MAIN_PROCESS, Interruptible, console, errors, run_commands
from mintad.config import describe_keys
from mintad.course.commands import course_app, notebooks_app
from mintad.errors import ConfigError, nearest, visible
from mintad.runs.commands import predict_command, watch_command
from mintad.runs.options import (
    AbnormalOption,
    BaselinesOption,
    CategoriesOption,
    ConfigOption,
    DataOption,
    DeviceOption,
    ListsNames,
    NormalOption,
    PresetOption,
    QuietOption,
    RootOption,
    RunArgument,
    SetOption,
    own_folders,
    resolve_config,
    split_names,
)

HELP = "Detect defects in many product categories with one model: train, evaluate, predict, compare."
app = typer.Typer(
    cls=Interruptible, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP
)
data_app = typer.Typer(no_args_is_help=True, help="Download and check data sets.")
cache_app = typer.Typer(no_args_is_help=True, help="List and clear the feature cache.")
groups = {"data": data_app, "cache": cache_app, "notebooks": notebooks_app, "course": course_app}
for group_name, group in groups.items():
    app.add_typer(group, name=group_name)

TablesOption = Annotated[list[int] | None, typer.Option("--table", metavar="N", help="Only this table; repeatable.")]
RunsOption = Annotated[list[str] | None, typer.Option("--where", metavar="KEY=VALUE", help="E.g. data.name=mini.")]


@app.command("train", cls=ListsNames)
def train_command(
    out: Annotated[Path, typer.Option(help="Run directory; an unfinished run in it is resumed.")] = Path("runs/run"),
    preset_name: PresetOption = None,
    config: ConfigOption = None,
    data: DataOption = None,
    root: RootOption = None,
    categories: CategoriesOption = None,
    normal: NormalOption = None,
    abnormal: AbnormalOption = None,
    tiles: Annotated[
        int, typer.Option("--tiles", min=1, help="For small defects: see images N times as large, as N x N tiles.")
    ] = 1,
    settings: SetOption = None,
    baselines: BaselinesOption = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start afresh where --out holds a run.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train, evaluate on the test split, and write the run directory with its results page.

    The same command again resumes an interrupted run; on a finished one it evaluates the baselines that are new. With
    --set baselines.setting=paper, baselines that learn from images have about their published size, for a GPU.
    """
    resolved = resolve_config(preset_name, config, settings, data, root, categories, normal, abnormal, tiles)
    from mintad.runs.summary import print_results
    from mintad.runs.train import train_run

    run = train_run(resolved, out, baseline_names=split_names(baselines), overwrite=overwrite, progress=not quiet)
    if MAIN_PROCESS:
        print_results(run, console)


@app.command("evaluate", cls=ListsNames)
def evaluate_command(
    run: RunArgument,
    baselines: BaselinesOption = "",
    root: Annotated[Path | None, typer.Option("--root", help="Where the data lie now, if they have moved.")] = None,
    region: Annotated[
        Path | None, typer.Option("--region", help="Image: white where to look from now on, black what to ignore.")
    ] = None,
    whole_image: Annotated[bool, typer.Option("--whole-image", help="Look everywhere again, without region.")] = False,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
) -> None:
    """Evaluate a run's newest checkpoint again, with the baselines it was compared with, and rewrite its results.

    With --region, scores, thresholds and p-values are those of a part of the images, for a fixed camera; leave a margin
    of a token (image_size / grid pixels) around what is to be ignored, because maps are no finer. The run keeps
    it: predict, watch and export then need no option.
    """
    from mintad.runs.evaluate import evaluate_run
    from mintad.runs.summary import print_results

    names = split_names(baselines)
    options = {"root": root, "region": region, "whole_image": whole_image, "device": device, "progress": not quiet}
    print_results(evaluate_run(run, baseline_names=names, **options), console)


app.command("predict")(predict_command)
app.command("watch")(watch_command)


@app.command("export")
def export_command(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(help="The ONNX file to write.", metavar="MODEL.onnx")],
    limit: Annotated[
        int | None, typer.Option("--images", min=1, help="How many test images to compare on; default all.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Write a run as an ONNX file that needs no PyTorch: from an image to its anomaly map, score and class.

    The file is run on the run's test images first. It is written only if no map and no score differs by more than 1e-4
    of its size and no decision changes; else the exit code is 2. pip install "mintad\\[export]" brings what it needs.
    """
    from mintad.export.compare import TOLERANCE
    from mintad.export.run import export_run

    agreement = export_run(run, file, limit=limit, progress=not quiet)
    accepted, n = f"accepted: {TOLERANCE:.0e}", agreement.images
    table = Table("on the test images", Column("exported against run", justify="right"))
    table.add_row("images", f"{n:,}")
    table.add_row(f"largest difference of a map, of its maximum ({accepted})", f"{agreement.map_difference:.1e}")
    table.add_row(f"largest difference of a score, of itself ({accepted})", f"{agreement.score_difference:.1e}")
    table.add_row("decisions, classes changed", f"{agreement.decisions_changed}, {agreement.classes_changed}")
    seconds = f"{agreement.torch_seconds / n:.3f}, {agreement.onnx_seconds / n:.3f}"
    table.add_row("seconds per image, PyTorch and onnxruntime", seconds)
    console.print(table)
    console.print(f"written: {file}", soft_wrap=True, markup=False)


@app.command("describe")
def describe_command(
    preset_name: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    classes: Annotated[int, typer.Option("--classes", min=1, help="N, classes of the head.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Count the parameters and MACs of every part, for one image. No weights and no data are needed."""
    resolved = resolve_config(preset_name, config, settings)
    from mintad.model import build_model
    from mintad.model.complexity import describe
    from mintad.runs.prepare import configured_backbone

    backbone = configured_backbone(resolved.features, weights="random")
    model = build_model(resolved.model, channels=backbone.channels, grid=backbone.grid, classes=classes)
    counts = describe(backbone, model)
    if as_json:
        print(json.dumps(counts, indent=1))
        return
    macs = counts.pop("macs")
    title = f"{resolved.model.variant}, {resolved.features.backbone}, {classes} classes"
    table = Table("part", Column("parameters", justify="right"), Column("MACs", justify="right"), title=title)
    for name, count in counts.items():
        table.add_row(Text(name), f"{count:,}", f"{macs[name]:,}")
    console.print(table)


@app.command("config")
def config_command(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys, or parts such as train; default all.")] = None,
    preset_name: PresetOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Print the configuration: every key with its value, its limits and what it means."""
    entries = list(describe_keys(resolve_config(preset_name, config, settings)))
    names = [name for name, *_ in entries]
    for key in keys or ():
        if not any(f"{name}.".startswith(f"{key}.") for name in names):
            raise ConfigError(f"unknown configuration key '{key}'." + nearest(key, names))
    for name, value, limits, text in entries:
        if not keys or f"{name}.".startswith(tuple(f"{key}." for key in keys)):
            line = f" = {json.dumps(value, ensure_ascii=False)}"
            console.print(Text.assemble((name, "bold"), line, (f"  ({limits})" if limits else "", "dim")))
            console.print(Padding(Text(text), (0, 0, 0, 4)))


@app.command("list")
def list_command() -> None:
    """List all model variants, baselines, data sets and metrics, including those of MINTAD_PLUGINS."""
    from mintad.baselines import BASELINES
    from mintad.data import DATASETS
    from mintad.model import VARIANTS
    from mintad.scoring.metrics import METRICS

    registries = {"model variant": VARIANTS, "baseline": BASELINES, "data set": DATASETS, "metric": METRICS}
    for kind, registry in registries.items():
        table = Table(Column(kind, min_width=24, no_wrap=True), "", box=None, pad_edge=False)
        for name, entry in registry.items():
            title = getattr(entry, "title", None) or (entry.__doc__ or "").strip().partition("\n")[0]
            table.add_row(Text(name), Text(title))
        console.print(table, "")


@app.command("sweep")
def sweep_command(
    spec: Annotated[Path, typer.Argument(help="YAML file; benchmarks/sweeps has examples.", metavar="SPEC.yaml")],
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time on this machine; they share its cores.")] = 1,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Use this Dask cluster instead.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the runs, instead of the file's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and their states; start none.")] = False,
) -> None:
    """Run a notebook over a grid of parameters. The same command again runs what is left.

    \b
    SPEC.yaml, for example:
      out: runs/query            # one folder per run, below the file's folder
      fixed:                     # for all runs
        preset: lesson
      grid:                      # every combination: 3 x 2 runs
        seed: [0, 1, 2]
        overrides:               # values may have labels
          with_query: {model.class_query: true}
          without: {model.class_query: false}
      runs:                      # further runs
        - {variant: uniad, seed: 0}

    \b
    Further keys: name; notebook (default: 10_unified_training; none: train
    without a notebook, which saves the start of a kernel); timeout
    (seconds per cell); threads (of a run); gpu (true: on a cluster, a run takes
    one Dask resource GPU). All names are checked before anything starts.

    \b
    A run's folder has notebook.ipynb (executed), parameters.json, status.json
    and what the training writes. Finished runs are skipped; failed and
    interrupted ones are run again.

    \b
    On a cluster with a common file system (pip install "mintad\\[cluster]"):
      dask scheduler                      # prints its ADDRESS
      dask worker ADDRESS --nthreads 1 --resources GPU=1     # one per GPU
      mintad sweep SPEC.yaml --scheduler ADDRESS

    \b
    Exit code: 0 all runs are finished; 1 some failed, a table says which and
    why; 2 the file is wrong, nothing was started; 130 after Ctrl-C.
    """
    from mintad.sweep.engine import planned_runs, sweep
    from mintad.sweep.progress import print_plan, print_summary
    from mintad.sweep.spec import load_spec

    loaded = load_spec(spec, out=out)
    if dry_run:
        print_plan(loaded, planned_runs(loaded), console)
        return
    statuses = sweep(loaded, workers=workers, scheduler=scheduler, console=console)
    print_summary(loaded, statuses, console)
    if any(status.state != "finished" for status in statuses.values()):
        raise typer.Exit(1)


@app.command("report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, folders of them, CSVs like data/results/*.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for the page and the tables.")] = Path("report"),
    tables: TablesOption = None,
    conditions: RunsOption = None,
) -> None:
    """Compare measured numbers with the paper's, Tables 1 to 10: a page, and CSV and LaTeX of every table.

    Means and standard deviations over seeds, paired tests between methods, figures. Unfinished runs are skipped.
    """
    from mintad.report.build import report

    written = report(runs, out, tables=tables or (), conditions=conditions or ())
    for name, reason in written.runs.skipped.items():
        errors.print(f"skipped: {name}: {reason}", style="yellow", markup=False)
    filled = [str(table.number) for table in written.tables if table.measured]
    number = len(written.runs.configs)
    counts = f"{number} {'run' if number == 1 else 'runs'}, {len(written.runs.skipped)} skipped"
    console.print(f"{counts}; measured numbers in table {', '.join(filled) or 'none'}", markup=False)
    console.print(f"report: {written.page.resolve().as_uri()}", soft_wrap=True, markup=False)


@data_app.command("check", cls=ListsNames)
def check_command(
    root: Annotated[Path, typer.Argument(help="Folder of the data set, or a list (CSV, JSON).")],
    name: Annotated[str, typer.Option("--data", help="Data set: {datasets}; default: recognised.")] = "auto",
    normal: NormalOption = None,
    abnormal: AbnormalOption = None,
) -> None:
    """Count a data set's images per category and list all its problems at once; exit code 1 if there are errors."""
    from mintad.data.check import check

    folders = own_folders(normal, abnormal)
    report = check(root, "folder" if folders and name == "auto" else name, options=folders)
    console.print(report.to_rich())
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("get", cls=ListsNames)
def get_command(
    name: Annotated[str, typer.Argument(help="Data set: {downloadable}.")],
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
    """List the feature caches on this machine."""
    from mintad.features.cache import cache_root, list_caches

    table = Table("key", "grid", "images", "size", "last written", title=Text(visible(str(cache_root()))))
    for entry in list_caches():
        size, written = f"{entry.nbytes / 2**20:,.1f} MiB", f"{entry.modified:%Y-%m-%d %H:%M}"
        table.add_row(Text(entry.key), str(entry.grid), f"{entry.images:,}", size, written)
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


def main() -> None:
    """Run the command line."""
    run_commands(app)
