"""Figures and pictures show every value, readable, and nothing where there is none."""

import json

import numpy as np
import plotly.io as pio
import pytest
import torch
import torch.nn.functional as F

from mintad import plots
from mintad.plots.arrays import measures


def test_groups_are_rows_and_names_are_hues():
    figure = plots.grouped_bars({"a": {"x": 0.5, "y": 0.25}, "<b>": {"y": 1.0}}, title="found", unit="share")
    assert [trace.name for trace in figure.data] == ["x", "y"]
    assert list(figure.data[0].x) == [0.5, None] and list(figure.data[1].x) == [0.25, 1.0]
    assert list(figure.data[0].y) == ["a", "&lt;b&gt;"] and figure.data[0].text == ("0.500", "")
    assert figure.data[0].marker.color != figure.data[1].marker.color
    assert figure.layout.title.text == "found" and figure.layout.xaxis.title.text == "share"


def test_numbers_stand_where_they_are_seen_if_the_axis_does_not_begin_at_0():
    anchors = [
        plots.grouped_bars({"a": {"x": 0.9}}, title="", unit="share", value_range=(low, 1)).data[0].insidetextanchor
        for low in (0, 0.5)
    ]
    assert anchors == ["start", "end"]


def test_counts_are_written_in_full():
    figure = plots.bars({"INR": 602368, "share": 0.12345}, title="found", unit="parameters")
    assert list(figure.data[0].y) == ["INR  <b>602,368</b>", "share  <b>0.1235</b>"]


def test_a_value_has_no_more_digits_than_its_interval_can_bear():
    values = {"a": (0.04119, 0.011, 0.071), "b": (1234.5, 1100.0, 1400.0), "c": (0.5, 0.5, 0.5)}
    figure = plots.bars(values, title="found", unit="share")
    assert list(figure.data[0].y) == ["a  <b>0.04</b>", "b  <b>1,234</b>", "c  <b>0.5</b>"]


def test_many_pictures_in_a_row_fit_a_column():
    picture = np.zeros((8, 8), dtype=np.uint8)
    few, many = (plots.gallery({str(n): picture for n in range(count)}, columns=count) for count in (3, 8))
    assert few.layout.width < many.layout.width <= 1000


def test_overlay_is_the_grey_image_where_the_score_is_low():
    image = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    scores = np.zeros((8, 9))
    scores[2, 3] = 5
    shown = plots.overlay(image, scores, (0, 1))
    grey = image.mean(axis=-1).round()
    elsewhere = scores == 0
    assert np.abs(shown[elsewhere] - grey[elsewhere][:, None]).max() <= 1
    top = [int(plots.SCORE_COLOURS[-1][k : k + 2], 16) for k in (1, 3, 5)]
    assert shown[2, 3] == pytest.approx(0.25 * image[2, 3].mean() + 0.75 * np.array(top), abs=1)


def test_colours_run_from_the_first_to_the_last_and_are_common():
    colours = plots.colourise(np.array([[-1.0, 0.0, 1.0, 2.0]]), (0.0, 1.0))
    assert colours.dtype == np.uint8
    assert (colours[0, 0] == colours[0, 1]).all() and (colours[0, 2] == colours[0, 3]).all()
    brightness = plots.colourise(np.linspace(0, 1, 50)[None], (0, 1)).astype(float).mean(axis=-1)[0]
    assert (np.diff(brightness) > -2).all()
    assert np.isfinite(plots.colourise(np.full((2, 2), 0.3), (0.3, 0.3)).astype(float)).all()


def test_maps_are_interpolated_as_for_scoring():
    grid = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    size = (56, 56)
    expected = F.interpolate(torch.from_numpy(grid)[None, None], size, mode="bilinear", align_corners=False)[0, 0]
    assert plots.resize_map(grid, size) == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize("with_masks", [True, False])
def test_case_panel_has_a_picture_for_each_cell(with_masks):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 30, 3), dtype=np.uint8) for _ in range(3)]
    masks = [np.zeros((20, 30), bool)] * 3 if with_masks else None
    figure = plots.case_panel(images, masks, list(rng.random((3, 4, 4))), ["a", "b", "<c>"])
    assert sum(trace.type == "image" for trace in figure.data) == 3 * (3 if with_masks else 2)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert titles.count("ground truth") == (3 if with_masks else 0)
    assert "&lt;c&gt;" in titles
    assert len(figure.to_json()) < 60_000
    with pytest.raises(ValueError):
        plots.case_panel(images, masks, list(rng.random((2, 4, 4))), ["a", "b", "c"])


def test_template_is_lean_and_changes_no_default():
    before, known = pio.templates.default, set(pio.templates)  # a notebook's set-up may have registered ours before
    assert len(plots.template().to_plotly_json()["layout"]) < 15
    assert len(json.dumps(plots.template().to_plotly_json(), default=list)) < 2000
    assert pio.templates.default == before
    assert set(pio.templates) == known


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
