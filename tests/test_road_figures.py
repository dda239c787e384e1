"""Figures of notebook 13: planes with a threshold, and arrows from separate to unified."""

from __future__ import annotations

import numpy as np
import pytest

from mintad.plots.roads import HIGHEST, falls, score_planes


def test_a_plane_has_its_colours_its_threshold_and_its_points():
    scores = np.array([[0.0, 1.0], [2.0, 50.0]])
    points, groups = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), [0, 0, 1]
    figure = score_planes({"first": scores, "second": -scores}, points, groups, reach=1.5, title="found")
    kinds = [trace.type for trace in figure.data]
    assert kinds.count("heatmap") == kinds.count("contour") == 2 and kinds.count("scatter") == 4
    heat, line = figure.data[0], figure.data[1]
    assert np.asarray(heat.z).max() == HIGHEST and list(heat.x) == [-1.5, 1.5] and line.contours.start == 1
    assert [len(trace.x) for trace in figure.data[2:4]] == [2, 1]
    assert figure.data[2].marker.color != figure.data[3].marker.color


def test_no_plane_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        score_planes({}, np.zeros((0, 2)), [], reach=1, title="")


def test_an_arrow_has_both_ends_and_a_single_mark_none():
    panels = {"the paper": {"a": (0.9, 0.5), "b": (0.8, 0.8)}, "here": {"a": (None, 0.7), "c": (0.6, None)}}
    figure = falls(panels, title="found", unit="AUROC")
    marks = [(trace.name, list(trace.x), list(trace.y)) for trace in figure.data if trace.mode == "markers"]
    assert marks == [
        ("one model a class", [0.9, 0.8], [0, 1]),
        ("one model for all", [0.5, 0.8], [0, 1]),
        ("one model a class", [0.6], [2]),
        ("one model for all", [0.7], [0]),
    ]
    lines = [list(trace.x) for trace in figure.data if trace.mode == "lines"]
    assert lines == [[0.9, 0.5], [0.8, 0.8]]
    assert [note.text for note in figure.layout.annotations] == ["the paper", "here", "-0.400", "+0.000"]
    assert figure.layout.yaxis.ticktext == ("a", "b", "c")
