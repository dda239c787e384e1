"""What passes between a submission's process and the judge."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from grade_builders import Here

from mintad.course.grade.judge import judge
from mintad.course.grade.wire import Malformed, decode, encode


def sent(value):
    return decode(io.BytesIO(encode({"value": value})).read)["value"]


@pytest.mark.parametrize("value", [None, True, 3, -2.5, "ä", (1, [2.0, (None, "x")]), {"a": (1, 2)}, float("inf"), []])
def test_plain_values_come_out_as_they_are(value):
    assert sent(value) == value and type(sent(value)) is type(value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "uint8", "float16"])
def test_arrays_and_tensors_keep_bits_type_and_shape(dtype):
    array = (np.arange(24).reshape(2, 3, 4) % 3).astype(dtype)
    for value in (array, array[:, ::2], array[:0], array[0, 0, 0]):
        assert np.array_equal(sent(value), value) and sent(value).dtype == value.dtype
    tensor = torch.from_numpy(array).transpose(0, 1)
    assert torch.equal(sent(tensor), tensor) and sent(tensor).dtype == tensor.dtype
    assert sent(torch.ones(2, requires_grad=True)).requires_grad


def test_what_cannot_be_sent_keeps_the_name_of_its_type_alone():
    assert type(sent(object)).__name__ == "type" and type(sent({1}.__iter__())).__name__ == "set_iterator"
    assert type(sent(np.array([object()]))).__name__ == "ndarray"
    with pytest.raises(ValueError, match="MB"):
        encode({"value": np.zeros(10**8)})


@pytest.mark.parametrize(
    "packed",
    [
        [],
        {"unknown": 1},
        {"number": "1"},
        {"array": {"dtype": "O", "shape": [1], "at": 0, "size": 8}},
        {"array": {"dtype": "<f8", "shape": [10**9, 10**9], "at": 0, "size": 8}},
        {"array": {"dtype": "<f8", "shape": [-1], "at": 0, "size": 8}},
        {"array": {"dtype": "<f8", "shape": [1], "at": -8, "size": 8}},
        {"array": {"dtype": "V4000000000", "shape": [], "at": 0, "size": 0}},
        {"tuple": [{"list": [{"tuple": [{"list": [{"tuple": [{"list": [{"list": [{"list": [[]]}]}]}]}]}]}]}]},
        {"tensor": {"dtype": "<f8"}},
    ],
)
def test_a_forged_message_is_refused(packed):
    text, data = json.dumps({"value": packed}).encode(), bytes(8)
    stream = io.BytesIO(len(text).to_bytes(4, "little") + len(data).to_bytes(4, "little") + text + data)
    with pytest.raises(Malformed):
        decode(stream.read)


def test_a_message_costs_the_judge_little_memory():
    text = ('{"value": {"list": [' + ",".join(["[]"] * 2_000_000) + "]}}").encode()
    with pytest.raises(Malformed, match="too long"):
        decode(io.BytesIO(len(text).to_bytes(4, "little") + bytes(4) + text).read)
    with pytest.raises(ValueError, match="outside arrays"):
        encode({"value": [0.5] * 10**6})
    text = json.dumps({"value": {"dict": {"k" * 10**5: "v" * 10**5}}}).encode()
    received = decode(io.BytesIO(len(text).to_bytes(4, "little") + bytes(4) + text).read)["value"]
    assert [(len(key), len(value)) for key, value in received.items()] == [(2000, 2000)]


def test_a_message_is_one_printable_line():
    def fails(*_):
        raise ValueError("a\nb\x1b[31m" + "c" * 1000)

    message = judge(Here(fails), "05.ipynb", "pull", "queries.pull", seed=0).message
    assert message.isprintable() and len(message) == 400 and "a b[31mc" in message
