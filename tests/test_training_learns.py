"""Training teaches: class tokens part, and a broken pattern is told from a whole one."""

import dataclasses

import numpy as np
import torch
from synthetic import GRID, TRAIN, changed_model, two_categories
from training_builders import run

from mintad.config import PromptMapperConfig, preset


def learn_two_classes(folder, gain):
    """Table 12 as printed, both softmaxes and the head on the token, with this gain on the initial weights: accuracy
    on new images, and how far the two classes' tokens lie apart and scatter."""
    config = dataclasses.replace(TRAIN, steps=150, lr=2e-3, schedule="onecycle", checkpoint_every=150, log_every=50)
    model, _ = run(folder, config, changed_model(**{"prompt_mapper.gain": gain}))
    features, labels = two_categories(seed=0)
    rng = np.random.default_rng(9)
    new = features.array + 0.3 * torch.as_tensor(rng.normal(size=features.array.shape), dtype=torch.float32)
    with torch.no_grad():
        output = model(new)
    token = output.class_token
    between = (token[labels == 0].mean(0) - token[labels == 1].mean(0)).norm().item()
    within = max(token[labels == k].std(dim=0).norm().item() for k in (0, 1))
    return (output.class_logits.argmax(-1).numpy() == labels).mean(), between, within, output.query, labels


def test_class_tokens_part_with_the_fast_presets_initialisation(tmp_path):
    """Everything class-aware hangs on this."""
    fast = preset("fast").model.prompt_mapper
    assert (fast.class_encoder_softmax, fast.token_softmax, fast.head_input) == (True, True, "token")
    accuracy, between, within, query, labels = learn_two_classes(tmp_path, fast.gain)
    assert accuracy == 1.0 and between > 0.1 and between > 3 * within
    gap = (query[labels == 0].mean(0) - query[labels == 1].mean(0)).abs().mean()
    assert gap > 0.05 * query.std()


def test_class_tokens_coincide_with_the_default_initialisation(tmp_path):
    """Why the fast preset has a gain: with PyTorch's initial weights the same steps teach the token nothing."""
    assert PromptMapperConfig().gain == 1.0
    accuracy, between, _, _, _ = learn_two_classes(tmp_path, PromptMapperConfig().gain)
    assert accuracy < 0.75 and between < 0.05


def test_learns_to_tell_a_broken_pattern(tmp_path):
    config = dataclasses.replace(TRAIN, steps=200, lr=3e-3, schedule="onecycle", checkpoint_every=200, log_every=100)
    model, history = run(tmp_path, config)
    normal, _ = two_categories(seed=0)
    anomalous = normal.array.clone()
    anomalous[:, 5] = anomalous[:, 5].flip(-1) + 2.0
    normal_map, anomalous_map = model.anomaly_map(normal.array), model.anomaly_map(anomalous)
    assert (anomalous_map.flatten(1).argmax(1) == 5).float().mean() > 0.9
    assert anomalous_map.flatten(1).amax(1).min() > normal_map.flatten(1).amax(1).median()
    assert GRID == normal_map.shape[1:]
