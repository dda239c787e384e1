"""Tiny data sets in the true on-disk layouts."""

from __future__ import annotations

import csv
import hashlib
import pickle
import struct
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 36)  # width, height
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def picture(seed: object, size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise; another seed is another picture."""
    rng = np.random.default_rng(zlib.crc32(str(seed).encode()))
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def mask(size: tuple[int, int] = SIZE, value: int = 255) -> Image.Image:
    """A marked rectangle of 3 x 2 pixels."""
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    values[2:4, 1:4] = value
    return Image.fromarray(values)


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def pictures(folder: Path, number: int, suffix: str = ".png") -> list[Path]:
    """000, 001, ...; each a picture of its own."""
    return [save(path, picture(path)) for path in (folder / f"{number:03d}{suffix}" for number in range(number))]


def mvtec_category(
    folder: Path,
    *,
    train: int = 3,
    good: int = 2,
    defects: Mapping[str, int] | None = None,
    suffix: str = ".png",
    mask_name: str | None = "{stem}_mask.png",
) -> Path:
    """One category; `mask_name` None leaves ground_truth/ out."""
    pictures(folder / "train" / "good", train, suffix)
    pictures(folder / "test" / "good", good, suffix)
    for defect, number in ({"dent": 2, "scratch": 1} if defects is None else defects).items():
        for path in pictures(folder / "test" / defect, number, suffix):
            if mask_name:
                save(folder / "ground_truth" / defect / mask_name.format(stem=path.stem), mask())
    return folder


def mvtec(root: Path, categories: Sequence[str] = ("bottle", "screw")) -> Path:
    for name in categories:
        mvtec_category(root / name)
    return root


def btad(root: Path) -> Path:
    """Image and mask formats as published: 01 bmp/png, 02 png/png, 03 bmp/bmp."""
    for name, suffix, mask_suffix in (("01", ".bmp", ".png"), ("02", ".png", ".png"), ("03", ".bmp", ".bmp")):
        pictures(root / name / "train" / "ok", 3, suffix)
        pictures(root / name / "test" / "ok", 2, suffix)
        for path in pictures(root / name / "test" / "ko", 2, suffix):
            save(root / name / "ground_truth" / "ko" / f"{path.stem}{mask_suffix}", mask())
    return root


def visa(root: Path, categories: Sequence[str] = ("candle", "pcb1")) -> Path:
    """The published form: upper-case JPG images, masks of small integers, the split in a table."""
    lines = []
    for name in categories:
        data = Path(name) / "Data"
        for number in range(5):
            image = data / "Images" / "Normal" / f"{number:04d}.JPG"
            save(root / image, picture(image))
            lines.append((name, "train" if number < 3 else "test", "normal", image.as_posix(), ""))
        for number in range(2):
            image, spot = (
                data / "Images" / "Anomaly" / f"{number:03d}.JPG",
                data / "Masks" / "Anomaly" / f"{number:03d}.png",
            )
            save(root / image, picture(image))
            save(root / spot, mask(value=number + 1))
            lines.append((name, "test", "anomaly", image.as_posix(), spot.as_posix()))
    visa_table(root, lines)
    return root


def visa_table(root: Path, lines: Sequence[Sequence[str]], heading: str = "object,split,label,image,mask") -> None:
    (root / "split_csv").mkdir(exist_ok=True)
    with (root / "split_csv" / "1cls.csv").open("w", newline="") as file:
        file.write(heading + "\n")
        csv.writer(file, lineterminator="\n").writerows(lines)


def elpv(root: Path, cells: Sequence[tuple[str, str, str]]) -> Path:
    """`cells`: (name, probability, type); labels.csv is aligned by blanks, as published."""
    for name, *_ in cells:
        save(root / "images" / name, picture(name).convert("L"))
    lines = [f"images/{name}  {probability:<17}   {kind}\n" for name, probability, kind in cells]
    (root / "labels.csv").write_text("".join(lines))
    return root


def cifar_folders(root: Path, train: int = 2, test: int = 1) -> Path:
    for name in CIFAR_CLASSES:
        for split, number in (("train", train), ("test", test)):
            for k in range(number):
                path = root / split / name / f"{k}.png"
                save(path, picture(path, (32, 32)))
    return root


def cifar_batches(folder: Path, per_batch: int = 20) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The seven files, pickled as by Python 2. Returns their MD5, and the pixels (N, 3072) of each batch."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    md5, pixels = {}, {}
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    for name in names:
        pixels[name] = rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        labels = [k % 10 for k in range(per_batch)]
        md5[name] = _write(folder / name, {b"data": pixels[name], b"labels": labels, b"batch_label": b"part"})
    label_names = [name.encode() for name in CIFAR_CLASSES]
    md5["batches.meta"] = _write(folder / "batches.meta", {b"label_names": label_names, b"num_vis": 3072})
    return md5, pixels


def _write(path: Path, content: object) -> str:
    data = python2_pickle(content)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()


class _Python2Pickler(pickle._Pickler):
    """Writes both kinds of text as Python 2 wrote its str."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str | bytes) -> None:
        raw = text if isinstance(text, bytes) else text.encode("ascii")
        head = b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))
        self.write(head + raw)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def python2_pickle(content: object) -> bytes:
    """Protocol 2 with Python 2's strings and the module names of NumPy 1."""
    buffer = BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings almost no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def counts(table) -> dict:
    """Return the number of images of each category, split and defect of a record table."""
    return table.groupby(["category", "split", "defect"]).size().to_dict()
