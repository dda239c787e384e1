"""Copies of training images among the held-out and the test images are named before they flatter a result."""

import logging
import shutil

import pandas as pd
import pytest
from synthetic import small

from mintad.runs.prepare import log_leaks, prepare_data


def test_a_copied_test_image_is_named_with_its_training_image(products, cache, tmp_path, caplog):
    root = shutil.copytree(products, tmp_path / "data")
    source = root / "mesh/train/good/003.png"
    with caplog.at_level(logging.WARNING):
        prepare_data(small(root), progress=False)
        assert not caplog.messages
        shutil.copy(source, root / "mesh/test/good/000.png")
        prepare_data(small(root), progress=False)
    (line,) = caplog.messages
    assert str(source) in line and str(root / "mesh/test/good/000.png") in line and "1 test" in line


@pytest.mark.parametrize("row, kind", [(1, "held-out"), (2, "test")])
def test_copies_are_counted_where_they_are(caplog, row, kind):
    records = pd.DataFrame({"image": ["a", "b", "c"], "split": ["train", "train", "test"]})
    hashes = ["x", "y", "z"]
    log_leaks(records, [0], [1], hashes)
    assert not caplog.messages
    hashes[row] = "x"
    log_leaks(records, [0], [1], hashes)
    assert [f"1 {kind} images" in line for line in caplog.messages] == [True]
