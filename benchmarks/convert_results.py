"""Convert CSV files of results from the formats before version 0.2 to `mintad.scoring.metrics.RESULT_COLUMNS`.

    python benchmarks/convert_results.py data/results/*.csv

Names of metrics, methods, settings, categories and configuration keys change; numbers do not. The functions
`restore_...` are the way back, and tests/test_results_conversion.py compares every row. A file that was converted
before is left alone. To convert a run directory, use `mintad evaluate RUN`.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable
from pathlib import Path

from mintad.report.commented_csv import split_comments

Row = dict[str, str]

COMPARE_METRICS = {
    "image_auroc": "image_auroc",
    "image_average_precision": "image_ap",
    "pixel_auroc": "pixel_auroc",
    "pixel_average_precision": "pixel_ap",
    "pixel_aupro": "pixel_aupro",
    "image_auroc_swap": "image_auroc_swap",
    "image_auroc_other_defects": "image_auroc_other",
    "class_accuracy": "class_accuracy",
    "class_accuracy_normal_images": "class_accuracy_normal",
}
"""Metrics of benchmarks/compare.py."""
SWEEP_METRICS = {
    "I-AUROC": "image_auroc",
    "P-AUPR": "pixel_ap",
    "swap I-AUROC": "image_auroc_swap",
    "class accuracy": "class_accuracy",
    "class accuracy, normal images": "class_accuracy_normal",
}
"""Metrics of benchmarks/keep_sweep.py and harder_defects.py."""
BY_CLASSIFIER = "I-AUROC, by classifier"
"""Image AUROC of separate models chosen by a classifier; now the setting "separate_chosen"."""
OTHER_METRICS = {
    "image AUROC": "image_auroc",
    "pixel AP": "pixel_ap",
    "class accuracy, test images": "class_accuracy",
    "pixel_average_precision_spoiled": "pixel_ap_spoiled",
    "Params (M)": "parameters_M",
    "MACs (G)": "macs_G",
    "Inference Time (s)": "seconds",
    "Inference Time (s), slowest": "seconds_slowest",
    "Inference Time, ratio": "seconds_ratio",
    "Peak memory (MiB)": "peak_memory_MiB",
    "I-AUROC": "image_auroc",
}
"""Metrics of tables with other columns, whose rows otherwise stay as they are."""
KEYS = {"model.jitter_at": "model.jitter.at", "model.jitter_scale": "model.jitter.scale"}
"""Configuration keys that occur in the files' cells -> what they are called now."""
OVER_IMAGES = ("class_accuracy", "class_accuracy_normal")
"""Metrics whose summary is over all test images. Its category was "mean" and is now "pooled"."""


def convert_compare(row: Row) -> Row:
    """Convert a row of benchmarks/compare.py."""
    metric = COMPARE_METRICS.get(row["metric"], row["metric"])
    separate = row["method"].endswith("_separate")
    return {
        "method": row["method"].removesuffix("_separate"),
        "setting": "separate" if separate else "unified",
        "seed": row["seed"],
        "category": _pooled(row["category"], metric),
        "metric": metric,
        "value": row["value"],
    }


def restore_compare(row: Row) -> Row:
    """Undo `convert_compare`."""
    metric = _inverse(COMPARE_METRICS).get(row["metric"], row["metric"])
    return {
        "method": row["method"] + ("_separate" if row["setting"] == "separate" else ""),
        "seed": row["seed"],
        "category": _mean(row["category"], row["metric"]),
        "metric": metric,
        "value": row["value"],
    }


def convert_sweep(row: Row) -> Row:
    """Convert a row of benchmarks/keep_sweep.py or harder_defects.py."""
    chosen = row["metric"] == BY_CLASSIFIER
    metric = "image_auroc" if chosen else SWEEP_METRICS[row["metric"]]
    chosen |= metric in OVER_IMAGES and row["setting"] == "separate"  # the accuracy is the classifier's
    converted = {
        "method": row["variant"],
        "setting": "separate_chosen" if chosen else row["setting"],
        "seed": row["seed"],
        "category": _pooled(row["category"], metric),
        "metric": metric,
        "value": row["value"],
    }
    return converted | {name: renamed_keys(value, KEYS) for name, value in row.items() if name not in converted}


def restore_sweep(row: Row) -> Row:
    """Undo `convert_sweep`."""
    chosen = row["setting"] == "separate_chosen"
    metric = _inverse(SWEEP_METRICS)[row["metric"]]
    changed = {
        "setting": "separate" if chosen else row["setting"],
        "category": _mean(row["category"], row["metric"]),
        "metric": BY_CLASSIFIER if chosen and row["metric"] == "image_auroc" else metric,
    }
    restored = {name: renamed_keys(value, _inverse(KEYS)) for name, value in row.items() if name != "method"}
    return restored | changed


def convert_other(row: Row) -> Row:
    """Rename the metric of a row of another table."""
    row = {name: renamed_keys(value, KEYS) for name, value in row.items()}
    return row | {"metric": OTHER_METRICS.get(row["metric"], row["metric"])} if "metric" in row else row


def renamed_keys(text: str, names: dict[str, str]) -> str:
    """Rename configuration keys in a cell."""
    for before, after in names.items():
        text = text.replace(before, after)
    return text


def converter(columns: list[str]) -> Callable[[Row], Row] | None:
    """Return the function that converts a row of a file with these columns; None if the file was converted before."""
    if {"method", "setting", "seed", "category", "metric", "value"} <= set(columns):
        return None
    if columns == ["method", "seed", "category", "metric", "value"]:
        return convert_compare
    if {"preset", "data", "variant", "seed", "category", "metric", "value"} <= set(columns):
        return convert_sweep
    return convert_other


def read(path: Path) -> tuple[list[str], list[Row]]:
    """Read a CSV file's comment lines and rows, all as text."""
    comments, table = split_comments(path.read_text(encoding="utf-8"))
    return comments, list(csv.DictReader(io.StringIO(table)))


def write(path: Path, comments: list[str], rows: list[Row]) -> None:
    """Write a CSV file from what `read` returned."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text("".join(f"{line}\n" for line in comments) + text.getvalue(), encoding="utf-8", newline="")


def _pooled(category: str, metric: str) -> str:
    return "pooled" if category == "mean" and metric in OVER_IMAGES else category


def _mean(category: str, metric: str) -> str:
    return "mean" if category == "pooled" and metric in OVER_IMAGES else category


def _inverse(names: dict[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}


def main() -> None:
    """Convert the files in place, and say which changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="+")
    for path in parser.parse_args().csv:
        comments, rows = read(path)
        convert = converter(list(rows[0])) if rows else None
        if convert is not None:
            converted = [convert(row) for row in rows]
            if converted != rows:
                write(path, comments, converted)
                print(f"{path}: {len(rows)} rows converted")


if __name__ == "__main__":
    main()
