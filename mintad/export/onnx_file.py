"""An ONNX file: the graph as PyTorch's exporter writes it, and what a user of the file must know."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mintad.disk import UNFINISHED, published
from mintad.errors import MintadError
from mintad.export.graph import INPUT, LABEL, DetectorGraph

OPSET = 18
"""Version of ONNX's operations, of December 2022: older programs can run the file, too."""
MAX_SINGLE_FILE = 1_900_000_000  # bytes of numbers; a protobuf message ends at 2 GiB, more lies in a file beside it
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
KEY = "mintad"  # of the metadata, JSON


def require_packages() -> None:
    """Refuse to begin where a package of the extra `export` is missing."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            fix = "pip install 'mintad[export]' brings it"
            raise MintadError(f"the export needs {name}, which cannot be imported ({error})", fix=fix) from error


def data_file(path: Path) -> Path:
    """Return the name of the file with the numbers of a model that is too large for one file."""
    return path.with_name(f"{path.name}.data")


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a file to write an ONNX model into, which comes to `path` when the block has ended without an error.

    It lies in a folder of its own beside `path`. The second file of a large model comes with it: first, and after the
    old model is gone, so that no model is ever read with the numbers of another.

    Raises:
        OSError: it cannot be written; nothing new is at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
    try:
        yield folder / path.name
        if data_file(folder / path.name).exists() or data_file(path).exists():
            path.unlink(missing_ok=True)
            data_file(path).unlink(missing_ok=True)
        for written in (data_file(folder / path.name), folder / path.name):
            if written.exists():
                with published(path.with_name(written.name)) as file, open(written, "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_onnx(graph: DetectorGraph, path: Path) -> None:
    """Write a graph as an ONNX model for batches of any size, with a second file (`data_file`) if it is large."""
    size = graph.backbone.image_size
    examples = (torch.zeros(2, 3, size, size), *([torch.zeros(2, dtype=torch.long)] if LABEL in graph.inputs else []))
    batch = torch.export.Dim("batch")
    with torch.no_grad(), _quiet():
        graph(*examples)  # what images are compared by is known from then on, and exported as numbers
        program = torch.onnx.export(
            graph,
            examples,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=dict.fromkeys(graph.inputs, {0: batch}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        numbers = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
        program.save(path, external_data=numbers > MAX_SINGLE_FILE)


def add_metadata(path: Path, about: dict[str, Any]) -> None:
    """Append metadata to a model's file, whose bytes stay as they are: two messages in a row are one with both."""
    from onnx import ModelProto, StringStringEntryProto

    entry = StringStringEntryProto(key=KEY, value=json.dumps(about, ensure_ascii=False))
    with open(path, "ab") as file:
        file.write(ModelProto(metadata_props=[entry]).SerializeToString())


def describe(graph: DetectorGraph) -> dict[str, Any]:
    """Say what goes into a graph and what comes out, for the metadata."""
    size, classes = graph.backbone.image_size, "index into 'classes'"
    texts = {
        "anomaly_map": f"float32 (batch, {size}, {size}), larger is more anomalous; scoring.blur is in it",
        "score": "float32 (batch,), larger is more anomalous",
        "p_value": "float32 (batch,), of the score among held-out normal images of the class, see 'decisions'",
        "anomalous": "bool (batch,), the score is above the threshold of the class, see 'decisions'",
        "class": f"int64 (batch,), {classes}",
        "probability": "float32 (batch, classes), the class head's",
    }
    inputs = {
        INPUT: {
            "type": "float32",
            "shape": ["batch", 3, size, size],
            "values": "0 to 255, red, green, blue; the graph scales them as the backbone needs it",
            "outside": f"8-bit RGB, resized to {size} x {size} pixels whatever its shape, by Pillow's bilinear filter, "
            "which smooths before it takes fewer pixels: Image.convert('RGB').resize(size, Image.Resampling.BILINEAR). "
            "16-bit grey is divided by 257; transparency is dropped; EXIF rotation is not applied",
        },
        LABEL: {"type": "int64", "shape": ["batch"], "values": classes},
    }
    return {
        "mintad": importlib.metadata.version("mintad"),
        "inputs": {name: inputs[name] for name in graph.inputs},
        "outputs": {name: texts[name] for name in graph.outputs},
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks, which are about its own workings, from the user's terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
