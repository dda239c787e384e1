"""The commands that put a trained run to work; what is slow to import is imported by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mintad.errors import visible
from mintad.runs.options import DeviceOption, QuietOption, RunArgument

console = Console()
errors = Console(stderr=True, soft_wrap=True)

CategoryOption = Annotated[str | None, typer.Option(help="Class of all images, for a variant that needs it.")]
QuantileOption = Annotated[
    float | None, typer.Option(help="Share of normal images that should pass, instead of the run's.")
]
ThresholdOption = Annotated[float | None, typer.Option(help="One threshold for all classes, instead of the run's.")]
ExpectOption = Annotated[
    str | None, typer.Option(metavar="CATEGORY", help="Flag images of another product as wrong_product.")
]
OverlaysOption = Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write heatmaps, in each photo's size.")]
MapsOption = Annotated[bool, typer.Option("--maps", help="Write the maps as numbers (.npy), in each photo's size.")]


def predict_command(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files and folders.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions.csv and the heatmaps.")] = Path("predictions"),
    device: DeviceOption = "auto",
    category: CategoryOption = None,
    quantile: QuantileOption = None,
    threshold: ThresholdOption = None,
    expect: ExpectOption = None,
    overlays: OverlaysOption = True,
    maps: MapsOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score images: CSV with decisions and p-values, JSON lines with boxes of the regions found, and heatmaps.

    Every predicted class has its own threshold, fitted to held-out normal images. Results are written image by image.
    The same command again goes on after an interruption, and scores only what is new or has changed; predictions of
    other images, runs or options that lie in --out are removed, but a folder of mintad watch is refused.

    \b
    Exit code: 0 all images are scored, whatever was found; 1 some files or
    folders could not be read, the others are scored; 2 nothing could be
    done, or not to the end, a line says why; 130 after Ctrl-C.
    """
    from mintad.runs.predict import JudgingRules
    from mintad.runs.predict_files import predict_files

    rules = JudgingRules(category, quantile, threshold, expect)
    options = {"device": device, "overlays": overlays, "maps": maps, "progress": not quiet}
    table, problems = predict_files(run, images, out, rules, **options)
    shown = Table("image", "score", "threshold", "p", "anomalous", "class")
    for row in table.sort_values("pred_score", ascending=False).head(20).itertuples():
        limit, p = ("" if value == "" else f"{value:.3g}" for value in (row.threshold, row.p_value))
        product = row.pred_class + (" (unknown product)" if row.unknown_product is True else "")
        product += " (wrong product)" if getattr(row, "wrong_product", False) else ""
        name, product = (Text(visible(text)) for text in (Path(row.image).name, product))
        shown.add_row(name, f"{row.pred_score:.4f}", limit, p, str(row.anomalous), product)
    console.print(shown)
    console.print(
        f"{len(table)} images scored; all results in {visible(str(out / 'predictions.csv'))}",
        soft_wrap=True,
        markup=False,
    )
    for problem in problems:
        errors.print(f"skipped: {problem}", style="red", markup=False)
    if problems:
        raise typer.Exit(1)


def watch_command(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(help="Folder that images are put into.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions.csv and the heatmaps.")] = Path("watched"),
    device: DeviceOption = "auto",
    category: CategoryOption = None,
    quantile: QuantileOption = None,
    threshold: ThresholdOption = None,
    expect: ExpectOption = None,
    overlays: OverlaysOption = True,
    maps: MapsOption = False,
    interval: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks into the folder.")] = 0.5,
    idle: Annotated[float | None, typer.Option(min=0, help="Stop after this many seconds without an image.")] = None,
) -> None:
    """Score every image that is put into a folder, with a model that is loaded once; Ctrl-C ends it.

    The results are those of mintad predict, image by image, and each is a line on the terminal. An image is taken when
    its size has stopped changing. What was scored before is not scored again. Warnings are those of mintad predict,
    too, about the latest hundred images.
    """
    from mintad.runs.predict import JudgingRules, Predictor
    from mintad.runs.watch import watch_folder

    predictor = Predictor(run, JudgingRules(category, quantile, threshold, expect), device=device)
    console.print(visible(f"watching {folder}; results in {out}"), soft_wrap=True, markup=False)
    options = {"overlays": overlays, "maps": maps, "interval": interval, "idle": idle}
    for row in watch_folder(predictor, folder, out, **options):
        if "error" in row:
            errors.print(f"skipped: {row['error']}", style="red", markup=False)
            continue
        verdict = {True: "anomalous", False: "normal"}.get(row["anomalous"], "no threshold")
        product = " (unknown product)" if row["unknown_product"] is True else ""
        product = " (wrong product)" if row["wrong_product"] is True else product
        line = (
            f"{row['image']}  {row['pred_score']:.4f}  {verdict}  {row['pred_class']}{product}  {row['seconds']:.3f} s"
        )
        console.print(visible(line), soft_wrap=True, markup=False, highlight=False)
