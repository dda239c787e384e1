"""Options that several commands have, and the configuration that they describe; nothing here is slow to import."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mintad.config import Config, load_config, preset
from mintad.config.tiles import tiled
from mintad.errors import ConfigError

PresetOption = Annotated[
    str | None, typer.Option("--preset", help="paper, uniad, small, fast (the default) or lesson.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file over the preset.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="E.g. train.steps=400; see mintad config and mintad list."),
]
DataOption = Annotated[str | None, typer.Option("--data", help="{datasets}; default: what --root looks like.")]
RootOption = Annotated[Path | None, typer.Option("--root", help="Folder of the data set, or a list (CSV, JSON).")]
NormalOption = Annotated[
    str | None, typer.Option("--normal", metavar="NAMES", help="Your folders of normal images, comma-separated.")
]
AbnormalOption = Annotated[
    str | None, typer.Option("--abnormal", metavar="NAMES", help="Your folders of anomalous images.")
]
CategoriesOption = Annotated[str | None, typer.Option("--categories", help="Comma-separated; default all.")]
BaselinesOption = Annotated[str, typer.Option("--baselines", help="Comma-separated, on the same images: {baselines}")]
RunArgument = Annotated[Path, typer.Argument(help="Run directory.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda, whatever the run was trained on.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


class ListsNames(TyperCommand):
    """A command whose help lists registered names, including those of MINTAD_PLUGINS."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:
        """Fill the names into the options' help, only now because this imports plug-ins, then format it."""
        from mintad.baselines import BASELINES
        from mintad.data import DATASETS

        registered = {
            "{baselines}": BASELINES.names,
            "{datasets}": DATASETS.names,
            "{downloadable}": lambda: [name for name, dataset in DATASETS.items() if dataset.source],
        }
        for parameter, (placeholder, names) in itertools.product(self.params, registered.items()):
            if placeholder in (getattr(parameter, "help", None) or ""):
                parameter.help = parameter.help.replace(placeholder, ", ".join(names()))
        super().format_help(ctx, formatter)


def resolve_config(
    preset_name: str | None = None,
    file: Path | None = None,
    settings: list[str] | None = None,
    data: str | None = None,
    root: Path | None = None,
    categories: str | None = None,
    normal: str | None = None,
    abnormal: str | None = None,
    tiles: int = 1,
) -> Config:
    """Return the configuration that the options describe: preset or file, --data and its like, --set, and --tiles last.

    For `tiles` see `mintad.config.tiles.tiled`; a size that --set gives is that of one tile.

    Where a root is given without the name of a data set, the name is that which the root looks like.
    """
    if preset_name and file:
        raise ConfigError("give --preset or --config, not both; the file may name its base with 'preset: paper'")
    base = load_config(file) if file else preset(preset_name or "fast")
    folders = own_folders(normal, abnormal)
    named = (
        data
        or (file and base.data.name != "elpv")
        or any(setting.partition("=")[0].strip() == "data.name" for setting in settings or ())
    )
    if root is not None and not named:
        data = "folder" if folders else name_of_root(root, base.data.name)
    options = {"data.name": data, "data.root": root and str(root), "data.categories": categories}
    options["data.options"] = {**base.data.options, **folders} if folders else None
    changes = {key: value for key, value in options.items() if value is not None}
    for key, equals, value in (setting.partition("=") for setting in settings or ()):
        if not equals:
            raise ConfigError(f"--set takes KEY=VALUE, not '{key}'")
        changes[key.strip()] = value.strip()
    return tiled(base.override(**changes), tiles)


def own_folders(normal: str | None, abnormal: str | None) -> dict[str, list[str]]:
    """Return the options of the data set 'folder' that --normal and --abnormal stand for."""
    given = {"normal": normal, "abnormal": abnormal}
    return {name: list(split_names(text)) for name, text in given.items() if text is not None}


def name_of_root(root: Path, default: str) -> str:
    """Return the data set that a root looks like, and say so; of one that is not there the default."""
    from mintad.data.registry import recognise
    from mintad.data.tree import absolute

    if not absolute(root).exists():  # mini is generated there; elpv brings its own images
        return "folder" if default == "elpv" else default
    name = recognise(absolute(root))
    logging.getLogger("mintad").info("%s is read as '%s' (--data NAME reads it as another set)", root, name)
    return name


def split_names(names: str) -> tuple[str, ...]:
    """Split comma-separated names."""
    return tuple(name.strip() for name in names.split(",") if name.strip())
