"""Command line: ``python -m toy list | run | grid | figures``.

Commands import what they need, because PyTorch, pandas and scikit-learn take seconds to load and `--help` needs none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mintad.errors import MintadError
from toy.settings import Settings, ToyError

if TYPE_CHECKING:
    from toy.experiment import Comparison

app = typer.Typer(add_completion=False, no_args_is_help=True, help="2-D experiments: identical shortcut, interference.")
Names = Annotated[str | None, typer.Option(help="models, separated by commas; all by default")]
Json = Annotated[bool, typer.Option("--json", help="print nothing but JSON")]
Seeds = Annotated[int, typer.Option(help="number of seeds")]
Tpr = Annotated[float, typer.Option(help="true positive rate of the threshold")]
Classes = Annotated[int | None, typer.Option(help="number of classes; the shape's usual one by default")]
Sigma = Annotated[float, typer.Option(help="standard deviation of the input jitter")]
Width = Annotated[int, typer.Option(help="units of each hidden layer")]
Depth = Annotated[int, typer.Option(help="number of hidden layers")]
Activation = Annotated[str, typer.Option(help="relu, tanh or silu")]
Steps = Annotated[int, typer.Option(help="training steps")]


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List shapes, models and measures."""
    from toy.measures import MEASURES, PRICES
    from toy.models import MODELS
    from toy.shapes import SHAPES

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
    sigma: Sigma = Settings.sigma,
    width: Width = Settings.width,
    depth: Depth = Settings.depth,
    activation: Activation = Settings.activation,
    steps: Steps = Settings.steps,
    context: Annotated[bool, typer.Option(help="also measure scikit-learn's detectors")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for a page of figures and a CSV")] = None,
    as_json: Json = False,
) -> None:
    """Train models on a shape and print their measures: mean and 95 % interval over the seeds."""
    from toy.experiment import compare
    from toy.measures import MEASURES

    _limit_threads()
    settings = Settings(sigma=sigma, width=width, depth=depth, activation=activation, steps=steps)
    options = {"classes": classes, "seeds": seeds, "tpr": tpr, "settings": settings, "context": context}
    comparison = compare(shape, _names(models), **options)
    if out is not None:
        _write(comparison, out)
    if as_json:
        measured = {model: {name: rows[name] for name in MEASURES} for model, rows in comparison.summary().items()}
        print(json.dumps({"shape": comparison.shape.name, "models": measured}))
        return
    print(_text(comparison))
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
    sigma: Sigma = Settings.sigma,
    width: Width = Settings.width,
    depth: Depth = Settings.depth,
    activation: Activation = Settings.activation,
    steps: Steps = Settings.steps,
    out: Annotated[Path | None, typer.Option(help="CSV for the tidy table")] = None,
    as_json: Json = False,
) -> None:
    """Vary one setting on a shape and print the measures for each value."""
    name, equals, texts = vary.partition("=")
    if not equals or not texts:
        raise ToyError(f"--vary {vary}: write NAME=VALUE,VALUE, for example width=8,32,128")
    values = [_value(name, text) for text in texts.split(",")]
    import pandas as pd

    from toy.measures import interval
    from toy.sweeps import sweep

    _limit_threads()
    settings = Settings(sigma=sigma, width=width, depth=depth, activation=activation, steps=steps)
    table = sweep(shape, name, values, _names(models), classes=classes, seeds=seeds, tpr=tpr, settings=settings)
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
    steps: Steps = Settings.steps,
) -> None:
    """Train and draw the paper's figures 1, 5, 6 and 7."""
    from toy.paper import FIGURES

    _limit_threads()
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(settings=Settings(steps=steps)).write_html(out / f"{name}.html")
        print(out / f"{name}.html")


def _limit_threads() -> None:
    from mintad.threads import limit_threads

    limit_threads(2)  # the networks are small, so more threads only wait for each other


def _text(comparison: Comparison) -> str:
    import pandas as pd

    def cell(values: dict[str, float | None]) -> str:
        half_width = "" if values["high"] is None else f" ±{values['high'] - values['mean']:.2f}"
        return "" if values["mean"] is None else f"{values['mean']:.2f}{half_width}"

    return pd.DataFrame(comparison.summary()).T.map(cell).to_string()


def _write(comparison: Comparison, out: Path) -> None:
    from toy import charts, figures

    out.mkdir(parents=True, exist_ok=True)
    comparison.table.to_csv(out / "measures.csv", index=False)
    networks = [name for name, decisions in comparison.decisions.items() if decisions.detector.reconstruct is not None]
    arrows = figures.vector_field(comparison, networks)
    drawn = [charts.measure_bars(comparison), figures.boundaries(comparison), arrows]
    parts = [figure.to_html(full_html=False, include_plotlyjs=n == 0) for n, figure in enumerate(drawn)]
    page = "\n".join(["<!doctype html><meta charset='utf-8'><title>toy</title>", *parts])
    (out / "figures.html").write_text(page, encoding="utf-8")


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
    """Run a command; print the message of an error and exit with code 2."""
    try:
        app()
    except (MintadError, OSError) as error:  # OSError: --out cannot be written to
        print(f"toy: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
