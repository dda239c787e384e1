"""The figure of several measures: what is drawn where."""

from __future__ import annotations

import pytest

from mintad.plots.reconstruction import measures


def test_a_panel_a_measure_and_a_row_a_model():
    rows = {"A & B": {"copied": 0.5, "AUROC": 0.875}, "C": {"copied": 0.25}}
    figure = measures(rows, title="finding", references={"AUROC": 0.5})
    copied, auroc = figure.data
    assert list(copied.y) == list(auroc.y) == ["A &amp; B", "C"]
    assert list(copied.x) == [0.5, 0.25] and list(auroc.x) == [0.875, None]
    assert list(auroc.text) == ["0.875", ""]
    assert [note.text for note in figure.layout.annotations] == ["copied", "AUROC"]
    assert len(figure.layout.shapes) == 1 and figure.layout.shapes[0].x0 == 0.5
    assert figure.layout.title.text == "finding"


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        measures({}, title="")
