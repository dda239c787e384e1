"""What must hold on a GPU; run with ``pytest -m gpu`` on a machine that has one (benchmarks/gpu_check.sh)."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from synthetic import TRAIN, changed_model, fresh_model, small, two_categories

from mintad.config import SharpPriorConfig
from mintad.features.table import FeatureTable
from mintad.runs.evaluate import evaluate_run
from mintad.runs.train import train_run
from mintad.scoring.sharp_prior import SharpPrior
from mintad.training import train
from mintad.training.batches import Batch
from mintad.training.device import make_accelerator
from mintad.training.loop import train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_one_training_step_agrees_with_the_cpu():
    """The same batch, noise and weights; no dropout, because its masks are drawn on the device."""
    features, labels = two_categories()
    start = fresh_model(changed_model(dropout=0.0, attention_dropout=0.0))
    noise = torch.randn(len(labels), start.tokens, start.noise_channels)
    after = {}
    for device in ("cpu", "cuda"):
        config = dataclasses.replace(TRAIN, device=device)
        accelerator, model = make_accelerator(config), copy.deepcopy(start).to(device).train()
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1e-3))
        batch = Batch(features.array.to(device), noise.to(device), torch.as_tensor(labels, device=device))
        _, losses = train_step(model, batch, optimizer, accelerator, config)
        after[device] = losses.as_floats(), [p.detach().cpu() for p in model.parameters()]
    assert after["cuda"][0] == pytest.approx(after["cpu"][0], rel=1e-4)
    for on_gpu, on_cpu in zip(after["cuda"][1], after["cpu"][1], strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_every_precision_trains(tmp_path, precision):
    features, labels = two_categories()
    config = dataclasses.replace(TRAIN, device="cuda", precision=precision)
    history = train(fresh_model(), features, np.arange(len(labels)), labels, config, tmp_path, progress=False)
    assert np.isfinite(history.to_numpy()).all() and history["mse"].iloc[-1] < history["mse"].iloc[0]


@pytest.mark.usefixtures("cache")
def test_a_run_of_the_gpu_has_the_same_scores_on_the_cpu(products, tmp_path):
    run = train_run(small(products, **{"train.device": "cuda"}), tmp_path / "run", progress=False)
    on_gpu = run.scores()["pred_score"]
    on_cpu = evaluate_run(run.path, device="cpu", progress=False).scores()["pred_score"]
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2)


def test_the_sharp_prior_agrees_with_the_cpu():
    features, labels = two_categories()
    prior = SharpPrior.fit(
        FeatureTable.from_tensor(features.array), np.arange(len(labels)), labels, (4, 4), SharpPriorConfig()
    )
    weights_BN = torch.eye(2)[labels]
    on_cpu = prior.distance(features.array, weights_BN)
    on_gpu = prior.cuda().distance(features.array.cuda(), weights_BN.cuda()).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-2, atol=1e-3)
