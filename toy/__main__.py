"""Command line: ``python -m toy list | run | grid | figures``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from mintad.errors import MintadError
from mintad.threads import limit_threads
from toy.experiment import Comparison, compare
from toy.measures import MEASURES, PRICES, interval
from toy.models import MODELS
from toy.settings import Settings, ToyError
from toy.shapes import SHAPES
from toy.sweeps import sweep

app = typer.Typer(add_completion=False, no_args_is_help=True, help="2-D experiments: identical shortcut, interference.")
DEFAULT = Settings()
Names = Annotated[str | None, typer.Option(help="models, separated by commas; all if left out")]
Json = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]
Seeds = Annotated[int, typer.Option(help="seeds")]
Tpr = Annotated[float, typer.Option(help="true positive rate of the threshold")]
Classes = Annotated[int | None, typer.Option(help="classes of the shape")]
Sigma = Annotated[float, typer.Option(help="deviation of the input jitter")]
Width = Annotated[int, typer.Option(help="units of a hidden layer")]
Depth = Annotated[int, typer.Option(help="hidden layers")]
Activation = Annotated[str, typer.Option(help="relu, tanh or silu")]
Steps = Annotated[int, typer.Option(help="training steps")]


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """Shapes, models and measures."""
    shapes = {name: {"least": s.least, "most": s.most, "usual": s.usual} for name, s in SHAPES.items()}
    models = {name: (kind.build.__doc__ or "").splitlines()[0] for name, kind in MODELS.items()}
    if as_json:
        print(json.dumps({"shapes": shapes, "models": models, "measures": MEASURES | PRICES}))
        return
    print("shapes (classes)")
    for name, s in shapes.items():
        print(f"  {name:16}{s['least']}" + (f" to {s['most']}, usually {s['usual']}" if s["most"] > s["least"] else ""))
    print("models")
    for name, text in models.items():
        print(f"  {name:16}{text}")
    print("measures")
    for name, text in (MEASURES | PRICES).items():
        print(f"  {name:20}{text}")


@app.command()
def run(
    shape: Annotated[str, typer.Option(help="see `list`")] = "moons",
    models: Names = None,
    seeds: Seeds = 5,
    tpr: Tpr = 0.95,
    classes: Classes = None,
    sigma: Sigma = DEFAULT.sigma,
    width: Width = DEFAULT.width,
    depth: Depth = DEFAULT.depth,
    activation: Activation = DEFAULT.activation,
    steps: Steps = DEFAULT.steps,
    context: Annotated[bool, typer.Option(help="also scikit-learn's detectors")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for a page of figures and a CSV")] = None,
    as_json: Json = False,
) -> None:
    """Train all models on a shape and print their measures, mean and 95 % interval over the seeds."""
    settings = Settings(sigma=sigma, width=width, depth=depth, activation=activation, steps=steps)
    names = _names(models)
    found = compare(shape, names, classes=classes, seeds=seeds, tpr=tpr, settings=settings, context=context)
    if out is not None:
        _write(found, out)
    if as_json:
        print(json.dumps({"shape": found.shape.name, "models": _public(found)}))
        return
    print(_text(found))
    if out is not None:
        print(f"figures: {out / 'figures.html'}")


@app.command()
def grid(
    vary: Annotated[str, typer.Option(help="setting and values, such as width=8,32,128 or classes=2,4,8")],
    shape: Annotated[str, typer.Option(help="see `list`")] = "blobs",
    models: Names = None,
    seeds: Seeds = 5,
    tpr: Tpr = 0.95,
    classes: Classes = None,
    sigma: Sigma = DEFAULT.sigma,
    width: Width = DEFAULT.width,
    depth: Depth = DEFAULT.depth,
    activation: Activation = DEFAULT.activation,
    steps: Steps = DEFAULT.steps,
    out: Annotated[Path | None, typer.Option(help="CSV for the tidy table")] = None,
    as_json: Json = False,
) -> None:
    """Vary one setting on a shape."""
    name, equals, values = vary.partition("=")
    if not equals or not values:
        raise ToyError(f"--vary {vary}: write NAME=VALUE,VALUE, for example width=8,32,128")
    tried = [_value(name, value) for value in values.split(",")]
    settings = Settings(sigma=sigma, width=width, depth=depth, activation=activation, steps=steps)
    table = sweep(shape, name, tried, _names(models), classes=classes, seeds=seeds, tpr=tpr, settings=settings)
    groups = table.groupby(["setting_value", "model", "measure"], sort=False)["value"]
    rows = [dict(zip((name, "model", "measure"), key, strict=True)) | interval(part) for key, part in groups]
    if out is not None:
        table.to_csv(out, index=False)
    if as_json:
        print(json.dumps({"shape": shape, "vary": name, "rows": rows}))
    else:
        means = pd.DataFrame(rows).pivot_table(index=[name, "model"], columns="measure", values="mean", sort=False)
        print(means.round(3).to_string())


@app.command("figures")
def paper_figures(
    out: Annotated[Path, typer.Option(help="folder for figure_1.html, figure_5.html, figure_6.html and figure_7.html")],
    steps: Steps = DEFAULT.steps,
) -> None:
    """Draw the paper's figures 1, 5, 6 and 7 anew."""
    from toy.paper import FIGURES

    out.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(settings=Settings(steps=steps)).write_html(out / f"{name}.html")
        print(out / f"{name}.html")


def _public(found: Comparison) -> dict:
    return {name: {m: rows[m] for m in MEASURES} for name, rows in found.summary().items()}


def _text(found: Comparison) -> str:
    lines = {}
    for name, rows in found.summary().items():
        cells = {}
        for measure, one in rows.items():
            half = "" if one["high"] is None else f" ±{one['high'] - one['mean']:.2f}"
            cells[measure] = "" if one["mean"] is None else f"{one['mean']:.2f}{half}"
        lines[name] = cells
    return pd.DataFrame.from_dict(lines, orient="index").to_string()


def _write(found: Comparison, out: Path) -> None:
    from toy import charts, figures

    out.mkdir(parents=True, exist_ok=True)
    found.table.to_csv(out / "measures.csv", index=False)
    networks = [name for name, one in found.decisions.items() if one.detector.reconstruct is not None]
    drawn = [charts.measure_bars(found), figures.boundaries(found), figures.vector_field(found, networks)]
    parts = [f.to_html(full_html=False, include_plotlyjs=n == 0) for n, f in enumerate(drawn)]
    head = "<!doctype html><meta charset='utf-8'><title>toy</title>"
    (out / "figures.html").write_text(head + "\n".join(parts), encoding="utf-8")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _value(name: str, text: str) -> float | str:
    if name == "activation":
        return text.strip()
    try:
        number = float(text)
    except ValueError:
        raise ToyError(f"--vary {name}: '{text}' is no number") from None
    return int(number) if number.is_integer() else number


def main() -> None:
    limit_threads(2)  # the networks are small: more threads only wait
    try:
        app()
    except (MintadError, OSError) as error:  # OSError: --out cannot be written
        print(f"toy: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
