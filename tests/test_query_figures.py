"""Figures of notebook 05: what is drawn is what was given."""

from __future__ import annotations

import numpy as np

from mintad.plots.queries import class_tables, dots, growth

TABLE = np.array([[1.0, 2.345], [3.0, 1.0]])


def test_class_tables_share_a_scale_and_keep_rows_on_top():
    figure = class_tables(
        {"one <b>": TABLE, "two": 2 * TABLE, "three": TABLE},
        ["p", "q"],
        title="t",
        rows="true",
        columns="told",
        unit="times",
        per_row=2,
    )
    assert len(figure.data) == 3 and all(trace.coloraxis == "coloraxis" for trace in figure.data)
    np.testing.assert_allclose(figure.data[1].z, 2 * TABLE)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (1.0, 6.0)
    assert figure.layout.yaxis.autorange == "reversed" and figure.data[0].texttemplate == "%{z:.2f}"
    assert figure.layout.annotations[0].text == "one &lt;b&gt;"
    assert figure.layout.yaxis.title.text == "true" and figure.layout.xaxis3.title.text == "told"


def test_shades_can_be_cut_off():
    figure = class_tables({"one": TABLE}, "pq", title="t", rows="r", columns="c", unit="u", value_range=(1, 2))
    assert figure.layout.coloraxis.cmax == 2 and figure.data[0].z.max() > 2


def test_growth_is_logarithmic_with_the_classes_as_ticks():
    figure = growth([1, 10], {"pool": [5, 50], "token": [5, 6]}, title="t", unit="parameters")
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert list(figure.layout.xaxis.ticktext) == ["1", "10"]
    assert [list(line.y) for line in figure.data] == [[5, 50], [5, 6]]
    large = growth([1], {"pool": [5_000_000]}, title="t", unit="parameters").layout.yaxis
    assert dict(zip(large.ticktext, large.tickvals, strict=True))["5 M"] == 5_000_000 and "20 k" in large.ticktext


def test_dots_stand_in_the_row_of_their_name_with_their_interval():
    figure = dots(
        {"a": {"x": (0.5, 0.4, 0.7), "y": (0.6, 0.6, 0.6)}, "b": {"y": (0.9, 0.8, 1.0)}},
        title="t",
        unit="AUROC",
        line=0.5,
    )
    first, second = figure.data
    assert list(figure.layout.yaxis.ticktext) == ["x", "y"]
    np.testing.assert_allclose(first.error_x.array, [0.2, 0.0])
    np.testing.assert_allclose(first.error_x.arrayminus, [0.1, 0.0])
    assert round(first.y[0]) == 0 and round(first.y[1]) == round(second.y[0]) == 1 and first.y[1] < second.y[0]
