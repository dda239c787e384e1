"""The headline of a finished run, for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mintad.errors import MintadError, visible
from mintad.runs.directory import Run
from mintad.runs.doubts import few_images
from mintad.scoring.metrics import MEAN, METRICS, POOLED, by_category, value_of


def print_results(run: Run, console: Console) -> None:
    """Print the headline of a finished run."""
    results = run.results()
    headline = [name for name in ("image_auroc", "pixel_ap") if value_of(results, name) is not None]
    table, made = Table("category", *(METRICS[name].title for name in headline)), run.made_defects()
    columns = [by_category(results, name) for name in headline]
    for category in dict.fromkeys(key for column in columns for key in column):
        table.add_row(Text(visible(category)), *(_four_digits(column.get(category)) for column in columns))
    table.add_section()
    table.add_row("mean", *(_four_digits(value_of(results, name)) for name in headline))
    if run.region:
        console.print("scores, metrics and thresholds are of the run's region of interest alone")
    if headline:
        console.print(table)
    if made is not None:
        number = made["category"].nunique()
        names = f"{number} {'category has' if number == 1 else 'categories have'}"
        console.print(f"{names} no anomalous test images, so no AUROC; {len(made)} normal images were held out there")
        if threshold := run.threshold():
            expected, found = 1 - threshold.rank / (threshold.n + 1), made["made_anomalous"].mean()
            console.print(f"false alarms expected: at most {expected:.1%} of new normal images")
            console.print(f"sanity check: {found:.1%} of the defects that we made by pasting are found")
    accuracy, normal = (value_of(results, name, POOLED) for name in ("class_accuracy", "class_accuracy_normal"))
    if accuracy is not None:
        console.print(f"class accuracy on test images: {accuracy:.4f} ({_four_digits(normal)} on the normal ones)")
    means = results[(results["metric"] == "image_auroc") & (results["category"] == MEAN)]
    if len(means) > 1:
        listed = ", ".join(f"{row.method} ({row.setting}) {row.value:.4f}" for row in means.itertuples())
        console.print(f"mean image AUROC, every method on the same images: {listed}", markup=False)
    print_thresholds(run, console)
    console.print("seconds spent: " + ", ".join(f"{name} {value:.1f}" for name, value in run.seconds().items()))
    console.print(f"results page: {run.page.resolve().as_uri()}", soft_wrap=True, markup=False)


def print_thresholds(run: Run, console: Console) -> None:
    """Print the threshold of every class, and what they rest on if that is little."""
    try:
        decisions = run.decisions()
    except MintadError as error:  # of an older version: the results are good all the same
        console.print(f"no thresholds: {error}", style="yellow", markup=False, soft_wrap=True)
        return
    if decisions is not None:
        listed = ", ".join(
            f"{visible(name) or 'all'} {value.value:.4g}" for name, value in decisions.thresholds().items()
        )
        console.print(f"thresholds by predicted class: {listed}", markup=False)
        if line := few_images(decisions.classes, decisions):
            console.print(f"warning: {visible(line)}", style="yellow", markup=False)


def _four_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
