"""Configuration files: what they say is read, and mistakes in them are named with file and key."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mintad.config import load_config, preset
from mintad.config.yaml_text import Loader
from mintad.errors import ConfigError


def test_configuration_files(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"preset": "paper", "train": {"steps": 7}, "data": {"name": "visa"}}))
    config = load_config(file)
    assert config.model == preset("paper").model and config.train.steps == 7 and config.data.name == "visa"
    file.write_text("model: {inr: {layers: 2}, jitter.scale: 8}\ntrain.lr: 1e-3\ntrain: {precision: no}")
    config = load_config(file)
    assert (config.model.inr.layers, config.model.jitter.scale, config.train.lr) == (2, 8.0, 1e-3)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("train: {stepps: 7}", "Did you mean 'train.steps'"),
        ("trian: {steps: 7}", "Did you mean 'train.steps'"),
        ("model: {ffn: 7}", "'model.ffn_dim'"),
        ("model: 3", "'model' must be a mapping"),
        ("data: {categories: [01]}", "data.categories.*text"),  # YAML reads 1
        ("- a\n- b", "mapping"),
    ],
)
def test_mistakes_in_configuration_files_name_file_and_key(tmp_path, text, names):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"run.yaml.*{names}"):
        load_config(file)
    with pytest.raises(ConfigError, match="missing.yaml"):
        load_config(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("preset: 5", "preset"),
        ("preset: [paper]", "preset"),
        ("preset: {paper: 1}", "preset"),
        ("train: {lr: 1, lr: 2}", "lr"),
        ("train: {lr: 1}\ntrain.lr: 2", "train.lr.*twice"),
        ("model.inr: {layers: 1}\nmodel: {inr.layers: 2}", "model.inr.layers.*twice"),
        ("train: &a [*a]", "inside"),
        ("train: {lr: " + "[" * 5000, "levels"),
        ("\n".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}' if n else '1'] * 9)}]" for n in range(9)), "values"),
        ("train: {schedule: on}", "'on'"),
    ],
)
def test_a_hostile_or_careless_file_is_refused_in_one_line(tmp_path, text, names):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"run.yaml.*{names}") as caught:
        load_config(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_a_configuration_is_read_from_a_file_alone(tmp_path, make_pipe):
    for path, kind in ((make_pipe(tmp_path / "pipe"), "named pipe"), (Path("/dev/zero"), "device")):
        with pytest.raises(ConfigError, match=kind):
            load_config(path)


def test_no_preset_in_a_file_is_no_fault(tmp_path):
    (tmp_path / "run.yaml").write_text("preset: null\ntrain.steps: 5")
    assert load_config(tmp_path / "run.yaml") == preset("fast").override(**{"train.steps": 5})


_TEXT = st.text(st.characters(codec="ascii", exclude_characters="\x7f"))
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT


@given(st.recursive(_SCALAR, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=30))
def test_json_is_yaml(value):
    assert yaml.load(json.dumps(value), Loader) == value
