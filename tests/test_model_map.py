"""The pictures of the model and of its INR, and the page of symbols beside them."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from grade_builders import FOLDER

from mintad.course import notebook
from mintad.course.exercises import source_of
from mintad.errors import ConfigError
from mintad.model.inr import INR
from mintad.plots import inr_paths as paths
from mintad.plots.model_map import BOXES, HEIGHT, PARTS, SYMBOLS, WIDTH, model_map
from mintad.plots.theme import OKABE_ITO

SVG = "{http://www.w3.org/2000/svg}"


def boxes(svg: str) -> dict[str, str]:
    """Name of each box -> its hue."""
    found = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    return dict(zip(BOXES, (box.get("stroke") for box in found), strict=True))


def test_only_the_named_parts_are_in_colour():
    assert set(boxes(model_map()).values()) <= set(OKABE_ITO)
    lit = {name for name, hue in boxes(model_map(["inr", "adapter"])).items() if hue != "currentColor"}
    assert lit == {"inr", "adapter", "clean_adapter"}, "both places of the adapter, and nothing else"
    assert model_map(["inr"]) == model_map(("inr",)) != model_map()


def test_the_picture_of_the_readme_is_this_map():
    written = (FOLDER / "model.svg").read_text(encoding="utf-8")
    assert written == model_map(ground="#fff") + "\n", "write it again: model_map(ground='#fff')"
    assert "notebooks/model.svg" in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


def test_an_unknown_part_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="'encodr'.*'encoder'"):
        model_map(["encodr"])


@pytest.mark.parametrize(
    ("svg", "size"), [(model_map(), (WIDTH, HEIGHT)), (paths.inr_paths(), (paths.WIDTH, paths.HEIGHT))]
)
def test_all_text_takes_the_colour_of_the_page_and_stays_inside(svg, size):
    assert 'fill="#000' not in svg and "black" not in svg and "white" not in svg
    for item in [*ElementTree.fromstring(svg).iter(f"{SVG}text"), *ElementTree.fromstring(svg).iter(f"{SVG}rect")]:
        assert 0 <= float(item.get("x")) <= size[0] - float(item.get("width", 0))
        assert 0 <= float(item.get("y")) <= size[1] - float(item.get("height", 0))
        assert item.get("fill") in (None, "currentColor", *OKABE_ITO)


def test_the_picture_of_the_inr_has_its_layers():
    inr = INR()
    sizes = {"T": 32, "D": 256}
    drawn = {(box.y, box.x): [eval(part, sizes) for part in box.note.split("→")] for box in paths.BOXES}
    top, bottom = ([drawn[key] for key in sorted(drawn) if key[0] == y] for y in sorted({key[0] for key in drawn}))
    layers = [
        [[layer.in_features, layer.out_features] for layer in network]
        for network in (inr.modulation_network, [*inr.synthesis_network, inr.output])
    ]
    assert top == [layers[0][0], layers[0][1], layers[0][-1]], "first, second and last"
    assert bottom == [layers[1][0], layers[1][1], layers[1][-2], layers[1][-1]]
    last = max(index for _, _, name, *_ in paths.SYMBOLS for index in re.findall(r"α_(\d)", name))
    assert int(last) == len(inr.modulation_network)
    assert notebook.inr_paths().data == paths.inr_paths()


def test_a_shape_stands_by_its_letter():
    for _, _, letter, shape, *away in SYMBOLS:
        assert not away or max(map(abs, away)) <= 20, (letter, shape)


def test_every_equation_is_in_the_picture_and_written_out_once():
    text = " ".join(ElementTree.fromstring(model_map()).itertext())
    named = set()
    for numbers in re.findall(r"Eqs?\.? (\d(?:[–, ]+\d)*)", text):
        digits = [int(n) for n in re.findall(r"\d", numbers)]
        named |= set(range(digits[0], digits[-1] + 1))
    assert named == set(range(1, 10))
    page = (FOLDER / "SYMBOLS.md").read_text(encoding="utf-8")
    assert re.findall(r"^\*\*Eq\. (\d),", page, re.MULTILINE) == list("123456789") and page.count("$$") == 18
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert links and all((FOLDER / link).exists() for link in links)


def test_the_notebooks_show_the_map_with_parts_that_there_are():
    shown = {}
    for path in sorted(FOLDER.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code" and "model_map(" in source_of(cell):
                (call,) = (n for n in ast.walk(ast.parse(source_of(cell))) if isinstance(n, ast.Call))
                shown[path.name[:2]] = [argument.value for argument in call.args]
    assert set(shown) >= {"00", "04", "06", "07", "08", "09", "10"}
    assert shown["00"] == shown["10"] == [] and {part for parts in shown.values() for part in parts} <= set(PARTS)
    for parts in shown.values():
        assert notebook.model_map(*parts).data == model_map(parts)
