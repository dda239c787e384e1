"""Bars show every value, readable, and none where there is none."""

import numpy as np

from mintad.plots import bars, gallery
from mintad.plots.grouped import grouped_bars


def test_groups_are_rows_and_names_are_hues():
    figure = grouped_bars({"a": {"x": 0.5, "y": 0.25}, "<b>": {"y": 1.0}}, title="found", unit="share")
    assert [trace.name for trace in figure.data] == ["x", "y"]
    assert list(figure.data[0].x) == [0.5, None] and list(figure.data[1].x) == [0.25, 1.0]
    assert list(figure.data[0].y) == ["a", "&lt;b&gt;"] and figure.data[0].text == ("0.500", "")
    assert figure.data[0].marker.color != figure.data[1].marker.color
    assert figure.layout.title.text == "found" and figure.layout.xaxis.title.text == "share"


def test_counts_are_written_in_full():
    figure = bars({"INR": 602368, "share": 0.12345}, title="found", unit="parameters")
    assert list(figure.data[0].y) == ["INR  <b>602,368</b>", "share  <b>0.1235</b>"]


def test_many_pictures_in_a_row_fit_a_column():
    picture = np.zeros((8, 8), dtype=np.uint8)
    few, many = (gallery({str(n): picture for n in range(count)}, columns=count) for count in (3, 8))
    assert few.layout.width < many.layout.width <= 1000
