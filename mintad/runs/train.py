"""From a configuration to a finished run: data -> features -> model -> training -> scores -> results."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from mintad.config import Config
from mintad.errors import TrainingError
from mintad.model import ReconstructionModel, build_model, require_variant
from mintad.model.precision import joined_in_float16
from mintad.runs.baselines import require_baselines, require_comparable
from mintad.runs.changes import changes_of, record_training_images, report_changes
from mintad.runs.directory import Run
from mintad.runs.evaluate import add_baselines, evaluate_and_save
from mintad.runs.files import CATEGORIES
from mintad.runs.load import identity_of
from mintad.runs.opening import log_to, open_run
from mintad.runs.prepare import (
    PreparedData,
    image_list,
    load_records,
    log_remarks,
    prepare_data,
    require_outside_data,
    require_trained,
    resolve_paths,
)
from mintad.runs.region import stored_region
from mintad.training import train
from mintad.training.device import make_accelerator

log = logging.getLogger(__name__)


def new_model(config: Config, data: PreparedData) -> ReconstructionModel:
    """Build a model initialised from `config.train.seed`, with standardisation and recentring fitted to the data."""
    torch.manual_seed(config.train.seed)
    backbone = data.backbone
    model = build_model(config.model, channels=backbone.channels, grid=backbone.grid, classes=len(data.classes))
    if config.features.standardise:
        parts = np.array_split(data.train_rows, max(1, len(data.train_rows) // 256))
        model.standardise.fit(model.pooled(data.features.gather(part)) for part in parts)
    if model.recentre.active:
        rows, limit = data.train_rows, config.model.recentre.images
        if len(rows) > limit:
            rng = np.random.default_rng([config.train.seed, 0, 4])
            rows = np.sort(rng.choice(rows, limit, replace=False))
        parts = np.array_split(rows, max(1, len(rows) // 256))
        kept = [model.standardise(model.pooled(data.features.gather(part))) for part in parts]
        model.recentre.fit(joined_in_float16(kept))
    model.learn_names(data.classes)
    return model


def train_run(
    config: Config,
    out: str | Path,
    *,
    baseline_names: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
    after_step: Callable[[ReconstructionModel, PreparedData, int], None] | None = None,
) -> Run:
    """Train, evaluate and report, or resume what was interrupted. A finished run only gets the baselines it lacks.

    The baselines, of `mintad.baselines.BASELINES`, are fitted to the same images, see `mintad.runs.baselines`, and each
    is saved before the next one begins. With `overwrite`, a run that is already in `out` is removed. `after_step` is
    called with the model, its data and the number of steps done, as `mintad.training.train` says.

    Raises:
        MintadError: see `prepare_data`, `train` and `open_run`.
    """
    require_baselines(baseline_names, config)
    require_variant(config.model)
    config = resolve_paths(config)
    require_outside_data(Path(out), config)
    accelerator = make_accelerator(config.train)
    records = load_records(config)  # before a run directory is made: a mistake in the data leaves none behind
    require_comparable(baseline_names, records)
    run = Run(Path(out))
    if (run.path / CATEGORIES).exists():
        raise TrainingError(
            "holds one model per category", path=run.path, fix="choose another --out for the unified one"
        )
    if overwrite or not run.finished:
        require_trained(records, config)
    with _opened_by_main_process(run, config, accelerator, overwrite) as main:
        if main and not run.finished:
            log_remarks(records)
        if run.finished:
            if main:
                _add_to_finished(run, records, config, baseline_names, device=accelerator.device, progress=progress)
            return run
        with accelerator.main_process_first():  # the others then read its cache
            with run.timing("features", add=True) if main else contextlib.nullcontext():
                data = prepare_data(config, records, device=accelerator.device, progress=progress)
        model = new_model(config, data)
        if main:
            record_training_images(run, image_list(data, config))
            run.write("classes", data.classes)
        inputs = (data.features, data.train_rows, data.train_labels)
        observe = partial(after_step, model, data) if after_step else None
        history = train(
            model,
            *inputs,
            config.train,
            run.path,
            accelerator=accelerator,
            progress=progress,
            after_step=observe,
            identity=identity_of(config, data.classes, data.backbone),
        )
        if main:
            lost = not len(history)  # and the training was at its end, so that none was added
            seconds = run.checkpoint().state().get("seconds", 0.0) if lost else history["seconds"].iloc[-1]
            run.note_seconds("training", seconds)
            former = run.baselines()  # of results that an interrupted writing has left
            data = dataclasses.replace(data, region=stored_region(run))  # of an evaluation that was interrupted
            evaluate_and_save(run, model, data, config, baseline_names=former, progress=progress)
            missing = [name for name in dict.fromkeys(baseline_names) if name not in former]
            add_baselines(run, data, missing, device=accelerator.device, progress=progress)
    return run


def _add_to_finished(run: Run, records: pd.DataFrame, config: Config, names: Sequence[str], **options: Any) -> None:
    """Say what has changed since a finished run was made, and fit and add the baselines that it lacks."""
    missing = [name for name in dict.fromkeys(names) if name not in run.baselines()]
    report_changes(run, changes_of(run, records, config), missing)
    if missing:
        data = dataclasses.replace(prepare_data(config, records, **options), region=stored_region(run))
        record_training_images(run, image_list(data, config))
        add_baselines(run, data, missing, **options)


@contextlib.contextmanager
def _opened_by_main_process(run: Run, config: Config, accelerator: Accelerator, overwrite: bool) -> Iterator[bool]:
    """Open the run directory and its log in the main process, which alone writes; yield whether this process is it."""
    with contextlib.ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(open_run(run.path, config, overwrite=overwrite))
            stack.enter_context(log_to(run))
        accelerator.wait_for_everyone()
        yield accelerator.is_main_process
        accelerator.wait_for_everyone()
