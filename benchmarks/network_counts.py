"""Count parameters and MACs of the networks that baselines train, for one image, at the paper's size (Table 6).

    python benchmarks/network_counts.py data/results/network_counts.csv

Counts alone: `complexity.py` has the seconds of the methods that share a backbone. DRAEM and OmniAL have the setting
'paper' and no backbone; SimpleNet has the backbone of the `paper` preset (with random weights) and its own features.
They are our networks, and smaller than the authors' in what their classes name. The column `paper` has the paper's
numbers, whose FLOPs stand beside our MACs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from complexity import printed
from provenance import write
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mintad.baselines import BASELINES
from mintad.baselines.images import ImageTable
from mintad.baselines.training import TrainedBaseline
from mintad.config import Config, preset
from mintad.features.table import FeatureTable
from mintad.model.complexity import parameters
from mintad.runs.prepare import configured_backbone

METHODS = ("draem", "omnial", "simplenet")


def count(name: str, config: Config) -> dict[str, float]:
    """Return parameters in millions and MACs in 10^9 of a baseline from image to map, its backbone included."""
    cls, rows = BASELINES[name], np.arange(1)
    if cls.reads_images:
        baseline = cls(config.features, setting="paper")
        side = baseline.setting.image_size
        baseline.begin(ImageTable([""], side), rows)
        baseline.prepare(ImageTable([""], side), rows)
        baseline.finish(ImageTable([""], side), rows)
        given, macs, numbers = torch.rand(1, 3, side, side), 0, 0
    else:
        features = cls.published_features(config.features)
        backbone = configured_backbone(features, weights="random").eval()
        baseline = cls(backbone.grid)
        with FlopCounterMode(display=False) as counter:
            given = backbone(torch.rand(1, 3, features.image_size, features.image_size)).detach()
        macs, numbers = counter.get_total_flops() // 2, parameters(backbone)
        table = FeatureTable.from_tensor(given)
        baseline.begin(table, rows)
        baseline.prepare(table, rows)
        baseline.finish(table, rows)
    with FlopCounterMode(display=False) as counter:
        baseline.anomaly_map(given)
    numbers += parameters(networks(baseline))
    return {"parameters_M": round(numbers / 1e6, 3), "macs_G": round((macs + counter.get_total_flops() // 2) / 1e9, 3)}


def networks(baseline: TrainedBaseline) -> nn.ModuleList:
    """Return everything that a baseline trains; a part that it has under two names counts once."""
    return nn.ModuleList(value for value in vars(baseline).values() if isinstance(value, nn.Module))


def main() -> None:
    """Count every method and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    arguments = parser.parse_args()
    rows = []
    for name in METHODS:
        title = BASELINES[name].title
        for metric, value in count(name, preset("paper")).items():
            rows.append(
                {"method": title, "batch": 1, "metric": metric, "value": value, "paper": printed(title, 1, metric)}
            )
            print(title, metric, value, flush=True)
    write(arguments.csv, rows)


if __name__ == "__main__":
    main()
