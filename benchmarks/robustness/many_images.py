"""Measure the peak memory of predict, and its time for an image, on 50, 1,000 and 5,000 images.

    OMP_NUM_THREADS=1 python benchmarks/robustness/many_images.py --run RUN --images 50 --images 1000 --images 5000

The images are photographs of 320 x 240 pixels of noise, each another. Every number of images is a process of its own,
which writes heatmaps as usual. Without --run a very small model is trained first: what it costs to hold results does
not depend on the model. The memory is the largest resident set of the process, as the system counts it. The exit code
is 1 if the last number of images takes more than 64 MiB more than the first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from run_folders import finished_run

SLACK = 64  # MiB
CODE = """
import resource, sys, time
from mintad.runs.predict_files import predict_files
began = time.perf_counter()
table, problems = predict_files(sys.argv[1], [sys.argv[2]], sys.argv[3], device="cpu", progress=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(table), len(problems), round(peak), round((time.perf_counter() - began) / len(table), 4))
"""


def draw(folder: Path, count: int) -> Path:
    """Draw photographs into a folder."""
    folder.mkdir()
    coarse = np.random.default_rng(0)
    for number in range(count):
        pixels = coarse.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(folder / f"{number:05d}.jpg", quality=80)
    return folder


def main(
    images: Annotated[list[int], typer.Option(help="Number of images; repeatable.")] = [50, 1000, 5000],  # noqa: B006
    run: Annotated[Path | None, typer.Option(help="A finished run; default: a very small one.")] = None,
) -> None:
    """Predict, and print a line for each number of images."""
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = run or finished_run(folder).path
        for count in images:
            photographs = draw(folder / f"images-{count}", count)
            command = [sys.executable, "-c", CODE, str(run), str(photographs), str(folder / f"out-{count}")]
            began = time.perf_counter()
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            scored, unreadable, peak, seconds = int(said[0]), int(said[1]), int(said[2]), float(said[3])
            assert (scored, unreadable) == (count, 0)
            peaks.append(peak)
            whole = time.perf_counter() - began
            print(f"{count:,} images: {peak} MiB, {seconds:.4f} s an image, {whole:.0f} s in all", flush=True)
    raise typer.Exit(int(peaks[-1] - peaks[0] > SLACK))


if __name__ == "__main__":
    typer.run(main)
