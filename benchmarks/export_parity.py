"""Export a run, and compare the ONNX file with the run on all its test images: maps, scores, decisions, seconds.

    python benchmarks/export_parity.py data/results/export_parity.csv runs/real8/real8-mint_ad-0

Seconds are for single images that are in memory, from pixels to the map at full size, with as many threads for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import provenance
import torch
from PIL import Image

from mintad.data.records import category_keys
from mintad.export.compare import compare
from mintad.export.graph import INPUT
from mintad.export.run import export_run
from mintad.features.backbone import read_pixels
from mintad.runs.directory import Run
from mintad.runs.predict import Predictor
from mintad.scoring.maps import upsample


def seconds_each(predictor: Predictor, session: onnxruntime.InferenceSession, pixels: list[np.ndarray]) -> tuple:
    """Return the median seconds of one image in PyTorch and in onnxruntime, by turns."""
    spent, scoring, size = [], predictor.config.scoring, predictor.config.features.image_size
    for image in pixels:
        began = time.perf_counter()
        _, map_BHW, _ = predictor([Image.fromarray(image)])
        upsample(map_BHW, size, blur=scoring.blur, align_corners=scoring.align_corners)
        between = time.perf_counter()
        session.run(None, {INPUT: image.transpose(2, 0, 1)[None].astype(np.float32)})
        spent.append((between - began, time.perf_counter() - between))
    return tuple(np.median(spent, axis=0))


def main() -> None:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--timed", type=int, default=25, help="images of each category whose seconds are measured")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    scores, config = run.scores(), run.config()
    categories = category_keys(scores)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        began = time.perf_counter()
        export_run(run.path, file, limit=16, progress=False)
        print(f"exported in {time.perf_counter() - began:.0f} s, {file.stat().st_size / 1e6:.0f} MB", flush=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        predictor, rows = Predictor(run.path, device="cpu"), []
        for category in dict.fromkeys(categories):
            images = scores["image"][categories == category].tolist()
            found = dataclasses.asdict(compare(session, predictor, images, progress=False))
            del found["torch_seconds"], found["onnx_seconds"], found["p_values_impossible"]
            pixels = [read_pixels(image, config.features.image_size) for image in images[: arguments.timed]]
            torch_seconds, onnx_seconds = seconds_each(predictor, session, pixels)
            row = {"category": category, **found, "torch_seconds": torch_seconds, "onnx_seconds": onnx_seconds}
            print(row, flush=True)
            rows.append(row | {"megabytes": file.stat().st_size / 1e6, "threads": torch.get_num_threads()})
    rounded = {"map_difference": 10, "score_difference": 10, "torch_seconds": 4, "onnx_seconds": 4, "megabytes": 0}
    table = provenance.pd.DataFrame(rows).round(rounded)
    provenance.write(arguments.out, table, ("onnx", "onnxruntime", "onnxscript"), config)


if __name__ == "__main__":
    main()
