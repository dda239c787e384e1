#!/usr/bin/env bash
# Check mintad on a machine with a GPU, in about ten minutes.
#
#   benchmarks/gpu_check.sh [FOLDER WITH real-8's SIX CATEGORIES]
#
# 1. the tests that need a GPU; 2. seconds per training step at the size of MVTec AD, projected to 1,000 epochs;
# 3. with a folder: `fast` on the GPU and on the CPU, whose scores must agree; then the paper's model size on the real
# categories, 3,000 steps. Every step runs, whatever the one before said; the last line lists what failed.
set -uo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUT=${OUT:-runs/gpu_check}
real=${1:-}
failed=()
step() { echo "== $*"; "$@" || failed+=("$*"); }

"$BIN/python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "no CUDA device here"; exit 1; }
step "$BIN/python" -m pytest -q -m gpu
step "$BIN/python" benchmarks/gpu_epochs.py "$OUT/gpu_epochs.csv"
if [ -n "$real" ]; then
    data=(--data folder --root "$real" --quiet)
    step "$BIN/mintad" train --preset fast "${data[@]}" --out "$OUT/fast" --set train.device=cuda
    step "$BIN/python" - "$OUT/fast" <<'PYTHON'
import shutil
import sys
from pathlib import Path

import numpy as np

from mintad.runs.evaluate import evaluate_run

run = Path(sys.argv[1])
cpu = run.with_name("fast-cpu")
shutil.rmtree(cpu, ignore_errors=True)
shutil.copytree(run, cpu)
on_gpu = np.load(run / "maps.npy")
evaluate_run(cpu, device="cpu", progress=False)
on_cpu = np.load(cpu / "maps.npy")
difference = np.abs(on_gpu - on_cpu) / (np.abs(on_cpu) + 1e-6)
print(f"largest relative difference of the maps, GPU and CPU: {difference.max():.2e}, median {np.median(difference):.2e}")
sys.exit(bool(np.median(difference) > 1e-3))
PYTHON
    size=(--set model.width=256 --set model.ffn_dim=1024 --set model.encoder_layers=4 --set model.decoder_layers=4)
    step "$BIN/mintad" train --preset fast "${data[@]}" --out "$OUT/paper_size" "${size[@]}" \
        --set model.pool=1 --set model.attention_dropout=0.1 --set model.prompt_mapper.hidden=256 --set model.inr.hidden=256 \
        --set train.steps=3000 --set train.device=cuda --set train.precision=bf16
fi
echo "failed: ${failed[*]:-none}"
[ ${#failed[@]} -eq 0 ]
