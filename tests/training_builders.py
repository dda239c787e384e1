"""Short trainings of the small stand-ins, whole and interrupted."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from synthetic import MODEL, TRAIN, ArrayFeatures, fresh_model, two_categories

from mintad.training import latest_checkpoint, train


def run(folder, config=TRAIN, model_config=MODEL, features=None, labels=None):
    """Train a fresh model on two categories, and return it and the history."""
    default_features, default_labels = two_categories()
    features, labels = features or default_features, default_labels if labels is None else labels
    model = fresh_model(model_config)
    history = train(model, features, np.arange(len(features)), labels, config, folder, progress=False)
    return model, history


def weights(folder):
    """The weights of a finished training."""
    checkpoint = latest_checkpoint(Path(folder) / "checkpoints")
    assert checkpoint.step == TRAIN.steps
    return load_file(checkpoint.weights)


def stop_at(folder, call):
    """Train until the user interrupts in that call for features."""
    features, labels = two_categories()

    class Interrupted(ArrayFeatures):
        calls = 0

        def gather(self, indices):
            Interrupted.calls += 1
            if Interrupted.calls > call:
                raise KeyboardInterrupt
            return super().gather(indices)

    run(folder, features=Interrupted(features.array.numpy()), labels=labels)
