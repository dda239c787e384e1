"""Values that come out of a sandbox: numbers, text, arrays and tensors as JSON and raw bytes, never pickles.

A pickle can run code where it is read. Nothing here can.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

SIZES = struct.Struct("<II")  # of the JSON and of the bytes behind it
MOST_BYTES = 64 * 2**20  # of a message
MOST_JSON = 4 * 2**20  # bytes of it; as objects of Python it is many times as large
MOST_LETTERS = 2_000  # of a text
DEEPEST = 8
KINDS = {"b", "i", "u", "f"}  # of arrays: booleans, whole and floating numbers


class Malformed(Exception):
    """Raised where a message is not as `encode` writes it."""


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as bytes: both sizes, the JSON, the arrays' bytes.

    Raises:
        ValueError: it is larger than `MOST_BYTES`, or what is not in arrays is larger than `MOST_JSON`.
    """
    buffers: list[bytes] = []
    text = json.dumps({key: _pack(value, buffers, 0) for key, value in message.items()}).encode()
    data = b"".join(buffers)
    if len(text) > MOST_JSON:
        raise ValueError(f"the result has more than {MOST_JSON >> 20} MB outside arrays")
    if len(text) + len(data) > MOST_BYTES:
        raise ValueError(f"the result has more than {MOST_BYTES >> 20} MB")
    return SIZES.pack(len(text), len(data)) + text + data


def decode(read: Callable[[int], bytes]) -> dict[str, Any]:
    """Read a message by `read(number of bytes)`, and return it.

    Raises:
        Malformed: the bytes are none of `encode`.
    """
    length, size = SIZES.unpack(read(SIZES.size))
    if length > MOST_JSON or length + size > MOST_BYTES:
        raise Malformed("too long")
    text, data = read(length), read(size)
    try:
        message = json.loads(text)
        return {str(key): _unpack(value, data, 0) for key, value in message.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Malformed(str(error)) from error


def opaque(name: str) -> Any:
    """Return an object whose type has the name of something that cannot be sent."""
    return type(name if name.isidentifier() else "object", (), {})()


def _pack(value: Any, buffers: list[bytes], depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return _pack_array(value, buffers)
    if isinstance(value, int) and abs(value) < 2**63:
        return {"number": int(value)}
    if isinstance(value, float):
        return {"number": float(value)}
    if isinstance(value, str):
        return str(value)[:MOST_LETTERS]
    if isinstance(value, tuple | list) and depth < DEEPEST:
        return {"tuple" if isinstance(value, tuple) else "list": [_pack(item, buffers, depth + 1) for item in value]}
    if isinstance(value, dict) and depth < DEEPEST:
        return {"dict": {str(key): _pack(item, buffers, depth + 1) for key, item in value.items()}}
    return {"other": type(value).__name__}


def _pack_array(value: Any, buffers: list[bytes]) -> dict[str, Any]:
    tensor = isinstance(value, torch.Tensor)
    array = value.detach().cpu().numpy() if tensor else np.asarray(value)
    if array.dtype.kind not in KINDS:
        return {"other": type(value).__name__} if array.ndim else _pack(array.item(), buffers, DEEPEST)
    kind = "tensor" if tensor else "array" if isinstance(value, np.ndarray) else "scalar"
    data = np.ascontiguousarray(array).tobytes()
    where = sum(map(len, buffers))
    buffers.append(data)
    packed = {"dtype": array.dtype.str, "shape": list(array.shape), "at": where, "size": len(data)}
    return {kind: packed, "grad": bool(tensor and value.requires_grad)}


def _unpack(value: Any, data: bytes, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value[:MOST_LETTERS]
    if depth > DEEPEST or not isinstance(value, dict) or not value:
        raise Malformed("neither a value nor a collection")
    kind, inside = next(iter(value.items()))
    if kind == "number" and isinstance(inside, int | float):
        return inside
    if kind == "tuple" or kind == "list":
        items = [_unpack(item, data, depth + 1) for item in inside]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return {str(key)[:MOST_LETTERS]: _unpack(item, data, depth + 1) for key, item in inside.items()}
    if kind == "other":
        return opaque(str(inside)[:MOST_LETTERS])
    if kind in ("array", "scalar", "tensor"):
        array = _array(inside, data)
        if kind == "tensor":
            return torch.from_numpy(array).requires_grad_(bool(value["grad"]) and array.dtype.kind == "f")
        return array if kind == "array" else array[()]
    raise Malformed(f"unknown kind {kind!r}")


def _array(packed: dict[str, Any], data: bytes) -> np.ndarray:
    dtype = np.dtype(str(packed["dtype"]))
    shape = tuple(int(side) for side in packed["shape"])
    at, size = int(packed["at"]), int(packed["size"])
    if dtype.kind not in KINDS or dtype.itemsize > 16 or len(shape) > 32 or min((0, *shape)) < 0:
        raise Malformed("no such array")
    if at < 0 or size < 0 or at + size > len(data) or int(np.prod(shape, dtype=object)) * dtype.itemsize != size:
        raise Malformed("an array and its bytes do not fit")
    return np.frombuffer(data[at : at + size], dtype=dtype).reshape(shape).copy()
