"""The values of single keys: text is read by the key's type, and what is wrong is refused by the name of the key."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintad.config import Config, ModelConfig, TrainConfig, describe_keys, preset
from mintad.errors import ConfigError


def test_unknown_keys_name_the_nearest():
    with pytest.raises(ConfigError, match="'model.widht'.*Did you mean 'model.width'"):
        preset("fast").override(**{"model.widht": 3})
    with pytest.raises(ConfigError, match="Did you mean 'model.inr.layers'"):
        preset("fast").override(**{"model.inr.layer": "3"})
    with pytest.raises(ConfigError, match="Did you mean 'model.width'"):
        Config.from_dict({"model": {"widt": 3}})
    with pytest.raises(ConfigError, match="'train.stepps'.*Did you mean 'steps'"):
        TrainConfig(stepps=3)
    with pytest.raises(ConfigError, match="'model.inr.omga'.*Did you mean 'omega'"):
        ModelConfig(inr={"omga": 3})
    with pytest.raises(ConfigError, match="Did you mean 'paper'"):
        preset("papre")


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("model.width", "wide", "whole number.*'wide'"),
        ("model.width", 2.5, "whole number.*2.5"),
        ("model.width", True, "whole number.*True"),
        ("model.heads", 7, "multiple"),
        ("model.dropout", 1.0, "< 1"),
        ("model.neighbour_mask", 4, "odd"),
        ("model.adapter", "none", "learned, projection, random"),
        ("model.adapter", 1, "learned, projection, random"),
        ("model.adapter", [], "learned, projection, random"),
        ("model.query_layers", "last", "all, first"),
        ("model.attention_init", "stack", "Did you mean 'stacked'"),
        ("scoring.align_corners", "1", "true or false"),
        ("train.lr", -1, "> 0"),
        ("train.lr", True, "number"),
        ("train.steps", 0, ">= 1"),
        ("train.steps", "1:30", "whole number.*'1:30'"),
        ("train.lr", "-.inf", "inf"),
        ("train.schedule", "cosine", "onecycle, step"),
        ("train.precision", "bf61", "Did you mean 'bf16'"),
        ("data.holdout", 0.95, "< 0.9"),
        ("data.options", "x", "mapping"),
        ("features.standardise", "1", "true or false"),
        ("scoring.threshold_quantile", 1, "< 1"),
        ("data.name", None, "text"),
        ("data.name", "", "''"),
        ("data.root", "", "''"),
        ("data.categories", [1], "text.*1"),
        ("data.categories", "[a", r"list.*\[a"),
        ("data.categories", "a,,b", "''"),
        ("data.options", "{a: [", "mapping"),
        ("data.options", "{a: 2024-13-45}", "2024-13-45"),
        ("features.reductions", "4,2", "rising"),
        ("features.reductions", "", "list"),
        ("features.reductions", "0,2", "list"),
        ("features.reductions", "2,x", "whole number.*'x'"),
        ("features.image_size", 10**5, "<= 4096"),
        ("features.grid", 10**4, "<= 128"),
        ("model.width", 10**9, "<= 16384"),
        ("model.encoder_layers", 10**9, "<= 64"),
        ("model.inr.layers", 10**8, "<= 64"),
        ("train.batch_size", 10**12, "<= 16384"),
        ("train.epochs", 1e300, "<= 1000000"),
        ("train.steps", 10**12, "<= 1000000000"),
        ("baselines.length", 1e300, "<= 1000"),
        ("train.seed", 2**64, "< 4294967296"),
        ("model.neighbour_mask", -1, ">= 0"),
        ("data.options", {1: 2}, "text, not 1"),
        ("train.lr", ".nan", "nan"),
        ("train.lr", "inf", "inf"),
        ("train.clip_norm", float("inf"), "inf"),
        ("model.inr.hidden", 0, ">= 1"),
        ("model.inr.layers", -1, ">= 0"),
        ("model.inr.omega", 0, "> 0"),
        ("model.prompt_mapper.gain", 0, "> 0"),
        ("model.prompt_mapper.token_std", 0, "> 0"),
        ("train.sampling", "even", "uniform"),
        ("model.prompt_mapper.token_width", 1, "softmax"),
        ("model.prompt_mapper.hidden", 0, ">= 1"),
        ("train.device", "gpu", "auto, cpu, cuda"),
        ("baselines.setting", "papers", "Did you mean 'paper'"),
        ("baselines.options", {"draem": 3}, "mapping, not 3"),
    ],
)
def test_bad_values_name_the_key(key, value, names):
    with pytest.raises(ConfigError, match=names) as caught:
        preset("fast").override(**{key: value})
    assert key in str(caught.value) and "\n" not in str(caught.value)


def test_a_grid_finer_than_the_image_is_refused():
    with pytest.raises(ConfigError, match="features.grid"):
        preset("fast").override(**{"features.grid": 60, "features.image_size": 32})


def test_a_model_of_billions_of_parameters_is_refused():
    sizes = {"model.width": 8192, "model.ffn_dim": 2**15, "model.encoder_layers": 64}
    with pytest.raises(ConfigError, match="billion"):
        preset("paper").override(**sizes)


def test_a_long_wrong_value_is_cut_in_the_message():
    with pytest.raises(ConfigError) as caught:
        preset("fast").override(**{"train.lr": ["x" * 10**6] * 1000})
    assert len(str(caught.value)) < 3000


def test_text_values_from_a_command_line():
    config = preset("fast").override(
        **{
            "train.lr": "1e-3",
            "features.standardise": "false",
            "data.categories": "mono,poly",
            "model.neighbour_mask": "null",
            "train.precision": "no",
        }
    )
    assert config.train.lr == 1e-3 and config.features.standardise is False
    assert config.data.categories == ("mono", "poly")
    assert config.model.neighbour_mask is None and config.train.precision == "no"


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("features.reductions", "2,4", (2, 4)),
        ("features.reductions", "[2, 4]", (2, 4)),
        ("features.reductions", "16", (16,)),
        ("data.categories", "a, b", ("a", "b")),
        ("data.categories", "[01]", ("01",)),
        ("data.categories", "01, no", ("01", "no")),
        ("data.categories", "", ()),
        ("data.name", "01", "01"),
        ("data.root", "null", None),
        ("data.root", "a: b", "a: b"),
        ("data.options", "{grades: anomalous}", {"grades": "anomalous"}),
        ("model.jitter.scale", "1e1", 10.0),
        ("model.inr.modulator_skip", "true", True),
        ("train.seed", "010", 10),
        ("train.steps", "1e3", 1000),
        ("train.steps", "1_000", 1000),
        ("train.lr", ".5", 0.5),
        ("data.options", "{n: 010, lr: 1e-3, time: 1:30}", {"n": 10, "lr": 1e-3, "time": "1:30"}),
    ],
)
def test_text_is_read_by_the_type_of_its_key(key, text, expected):
    value = preset("fast").override(**{key: text})
    for name in key.split("."):
        value = getattr(value, name)
    assert value == expected


def test_parts_built_directly_are_checked_too():
    with pytest.raises(ConfigError, match="train.lr"):
        TrainConfig(lr=float("inf"))
    with pytest.raises(ConfigError, match="train.device"):
        TrainConfig(device="gpu")
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().lr = 1.0


def test_setting_steps_clears_epochs_and_back():
    config = preset("paper").override(**{"train.steps": 10})
    assert (config.train.steps, config.train.epochs) == (10, None)
    config = config.override(**{"train.epochs": 3})
    assert (config.train.steps, config.train.epochs) == (None, 3.0)
    with pytest.raises(ConfigError, match="train.epochs.*train.steps"):
        dataclasses.replace(config.train, steps=5)


def test_every_key_is_described():
    keys = {key: (value, limits, text) for key, value, limits, text in describe_keys(Config())}
    assert list(keys) == list(Config().flat())
    assert all(text and limits and "\n" not in text for _, limits, text in keys.values())
    assert keys["train.steps"][1] == "whole number >= 1 and <= 1000000000, or null"
    assert keys["data.holdout"][1] == "number >= 0 and < 0.9"
    assert keys["model.jitter.at"][1] == "feature or adapted" and keys["model.inr.omega"][0] == 30.0


def test_flat_values_are_plain():
    flat = preset("fast").flat()
    assert flat["features.reductions"] == [2, 4, 8, 16] and flat["model.prompt_mapper.gain"] == 16.0
    assert json.loads(json.dumps(flat)) == flat
    flat["data.options"]["grades"] = "all"
    assert preset("fast").data.options == {}


@given(st.integers(1, 10**6), st.floats(1e-9, 1e3))
def test_overrides_round_trip(steps, lr):
    config = preset("fast").override(**{"train.steps": steps, "train.lr": lr})
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_configurations_in_published_tables_are_read():
    prefix, configs = "# config: ", []
    for path in sorted((Path(__file__).parent.parent / "data/results").glob("*.csv")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(prefix)]
        configs += [Config.from_dict(json.loads(line.removeprefix(prefix))) for line in lines]
    assert configs and all(config.model.ffn_dim == 512 and config.model.inr.hidden == 128 for config in configs)
