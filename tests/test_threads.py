"""Limiting PyTorch's threads must not leave it in the state in which the inverse of a batch of matrices hangs."""

from __future__ import annotations

import os
import subprocess
import sys

INVERT = """
import torch
normal = torch.randn(49, 250, 192, dtype=torch.float64)
covariance = normal.mT @ normal
assert torch.get_num_threads() == 2
error = torch.linalg.inv(covariance) @ covariance - torch.eye(192)
assert error.abs().max() < 1e-6
"""
TOY = "from toy import Settings, compare; compare('moons', ['dae', 'inr'], seeds=2, settings=Settings(steps=5))"
EXTRACT = """
import numpy as np, pandas as pd, sys
from PIL import Image
from mintad.features.backbone import Backbone
from mintad.features.extract import extract
files = [f"{sys.argv[1]}/{n}.png" for n in range(4)]
for n, file in enumerate(files):
    Image.fromarray(np.full((32, 32, 3), 50 * n, dtype=np.uint8)).save(file)
class Network(torch.nn.Conv2d):
    class feature_info:
        reduction = channels = staticmethod(lambda: [4])
    def forward(self, images):
        return [super().forward(images)]
colours = {"mean": [0.5] * 3, "std": [0.2] * 3}
backbone = Backbone(Network(3, 4, 4, stride=4), name="one layer", image_size=32, grid=2, source="random", **colours)
extract(pd.DataFrame({"image": files}), backbone, cache_dir=sys.argv[1], progress=False)
"""


WORKERS = """
from toy.parallel import parallel_map
torch.set_num_threads(2)
def threads(_):
    torch.ones(300, 300) @ torch.ones(300, 300)
    return torch.get_num_threads()
assert parallel_map(threads, range(4)) == [1] * 4, "workers keep to one thread"
assert torch.get_num_threads() == 2, "the caller keeps its own number"
"""


def test_matrices_can_be_inverted_after_work_with_limited_threads(tmp_path):
    code = "\n".join([TOY, INVERT, EXTRACT, INVERT, WORKERS])
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "MKL ERROR" not in done.stderr, done.stderr
