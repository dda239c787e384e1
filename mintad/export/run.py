"""From a run to an ONNX file that was found to be the same."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mintad.disk import refuse_link
from mintad.errors import MintadError
from mintad.export.compare import REPORT, TOLERANCE, Agreement, compare
from mintad.export.graph import DetectorGraph
from mintad.export.onnx_file import add_metadata, data_file, describe, require_packages, write_onnx, written_beside
from mintad.runs.directory import Run
from mintad.runs.predict import Predictor


def export_run(run_path: str | Path, path: str | Path, *, limit: int | None = None, progress: bool = True) -> Agreement:
    """Write the newest checkpoint of a finished run as an ONNX model, once it gave the same on the run's test images.

    All that decides is in the graph: backbone, standardisation, recentring, transformer, sharp prior, score and map.
    The metadata (JSON, key 'mintad') say how images are prepared, what the outputs mean, and have the classes and the
    threshold. Numbers beyond what one file can hold lie in ``PATH.data`` beside it.

    Args:
        run_path: the run directory.
        path: the file to write, ``*.onnx``; an older one is replaced.
        limit: compare on so many test images, spread over all of them; None for all.
        progress: show a bar.

    Raises:
        MintadError: a package of the extra `export` is missing, `path` does not end in .onnx, the run is unfinished or
            damaged, a test image cannot be read, or the exported model cannot be run on one image and on several, or
            differs from the run by more than `TOLERANCE` or in a decision. Nothing is written then.
    """
    require_packages()
    import onnxruntime

    run, path = Run(Path(run_path)), Path(path)
    _refuse_target(path)
    run.config()
    scores, classes = run.scores(), run.read("classes")
    if not len(scores):
        raise MintadError("the run has no test images to compare the exported model with", path=run.path)
    rows = np.unique(np.linspace(0, len(scores) - 1, min(limit or len(scores), len(scores))).astype(int))
    given = Predictor(run.path, device="cpu", any_category=True)
    graph = DetectorGraph(
        given.backbone, given.model, given.detector, given.config.scoring, given.decisions, given.region
    )
    about, labels = describe(graph) | _about_run(run, given), None
    if given.model.needs_labels:
        labels = np.array([classes.index(name) for name in scores["prompt_class"].iloc[rows]])
    with written_beside(path) as file:
        write_onnx(graph, file)
        del graph, given  # the run is loaded anew to compare with, because the graph was made of its parts
        try:
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no other base
            problem = (
                f"not written, because onnxruntime cannot open the exported model ({' '.join(str(error).split())})"
            )
            raise MintadError(problem, path=path, fix=REPORT) from error
        predictor = Predictor(run.path, device="cpu", any_category=True)
        agreement = compare(session, predictor, scores["image"].iloc[rows].tolist(), labels, progress=progress)
        agreement.require(path)
        add_metadata(file, about | {"compared": {"tolerance": TOLERANCE} | asdict(agreement)})
    return agreement


def _refuse_target(path: Path) -> None:
    """Refuse to replace what is no model: links, folders, and files of other kinds, such as those of a run."""
    refuse_link(path)
    if not path.name:
        raise MintadError("is a folder", path=path, fix="name a file, such as model.onnx")
    for target in (path, data_file(path)):
        if target.is_dir():
            raise MintadError("is a folder", path=target, fix="name another file, such as model.onnx")
    if path.suffix.lower() != ".onnx":
        raise MintadError("must end in .onnx", path=path, fix="name a file such as model.onnx")


def _about_run(run: Run, predictor: Predictor) -> dict[str, Any]:
    decisions = predictor.decisions
    return {
        "classes": predictor.classes,
        "decisions": decisions and decisions.to_json(),
        "map_range": list(predictor.map_range),  # of a heatmap's colours
        "scoring": predictor.config.to_dict()["scoring"],
        "variant": predictor.config.model.variant,
        "weights": run.checkpoint().weights_digest,
        "backbone": {"name": predictor.backbone.name, "weights": predictor.backbone.weights_id},
    }
