"""Train the prompt mapper (adapter, class encoder, head) alone by cross-entropy, to see when its class token learns.

Table 12 puts one softmax after the class encoder and one after the channel encoder. The paper does not give the
initialisation or the scale of the features, and both decide whether the head learns at all.

    python benchmarks/class_token.py data/results/class_token.csv \\
        --set 'data.options={roots: {folder: PATH, elpv: null}}'

Columns: form, gain, standardised, lr, steps, seed, accuracy on held-out normal images, and the smallest distance
between the mean tokens of two classes (0: all queries are equal; sqrt 2: one-hot tokens).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from provenance import write

from mintad.course.lab.tokens import closest_means, train_mapper
from mintad.model import MintAD
from mintad.runs.options import resolve_config
from mintad.runs.prepare import PreparedData, prepare_data
from mintad.runs.train import new_model

FORMS = {
    "printed": {},
    "head reads logits": {"model.prompt_mapper.head_input": "logits"},
    "no inner softmax": {"model.prompt_mapper.class_encoder_softmax": False},
    "no outer softmax": {"model.prompt_mapper.token_softmax": False},
}
GAINS, LEARNING_RATES = (1.0, 4.0, 16.0, 32.0), (1e-4, 2e-3)


@torch.no_grad()
def measure(model: MintAD, prepared: PreparedData) -> tuple[float, float]:
    """Return the accuracy on held-out normal images and the smallest distance between two classes' mean tokens."""
    rows = prepared.holdout_rows
    names = prepared.records["prompt_class"].to_numpy()[rows]
    batches = [
        model.prompt_mapper(model.embed(prepared.features.gather(batch)).adapted)
        for batch in np.array_split(rows, max(1, len(rows) // 128))
    ]
    token, logits = (torch.cat(values) for values in zip(*batches, strict=True))
    predicted = np.array(prepared.classes)[logits.argmax(-1).numpy()]
    return float((predicted == names).mean()), closest_means(token, names)


def main(
    csv: Path,
    data: str = "merged",
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    steps: int = 300,
    seeds: int = 2,
) -> None:
    """Train the prompt mapper in every form and setting, and write a CSV after each."""
    base = resolve_config(None, None, changes or [], data)
    prepared = prepare_data(base, progress=False)
    rows = []
    for form, gain, standardise, lr, seed in itertools.product(
        FORMS, GAINS, (False, True), LEARNING_RATES, range(seeds)
    ):
        if gain != 1 and form == "no outer softmax":
            continue  # the gain is for softmaxes
        setting = {"model.prompt_mapper.gain": gain, "features.standardise": standardise}
        config = base.override(**setting, **{"train.lr": lr, "train.seed": seed}, **FORMS[form])
        model = new_model(config, prepared)
        train_mapper(model, prepared, config, steps)
        accuracy, distance = measure(model, prepared)
        row = {
            "form": form,
            "gain": gain,
            "standardised": standardise,
            "lr": lr,
            "steps": steps,
            "seed": seed,
        }
        rows.append(row | {"accuracy": round(accuracy, 4), "token_distance": round(distance, 4)})
        print(rows[-1], flush=True)
        write(csv, rows)


if __name__ == "__main__":
    typer.run(main)
