"""Configuration: validation, unknown keys with the nearest valid name, round trips."""

import dataclasses
import json
import typing

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mintad.config import PRESETS, Config, ModelConfig, TrainConfig, flat_keys, load_config, preset
from mintad.errors import ConfigError
from mintad.model import VARIANTS


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_json(name):
    config = preset(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_paper_preset_is_the_published_configuration():
    config = preset("paper")
    assert (config.train.epochs, config.train.lr, config.train.weight_decay) == (1000, 1e-4, 1e-4)
    assert (config.train.weight_ce, config.train.weight_prior, config.train.batch_size) == (1, 0.1, 32)
    assert (config.features.backbone, config.features.grid, config.features.image_size) == (
        "tf_efficientnet_b4",
        14,
        224,
    )
    assert (config.model.width, config.model.ffn, config.model.heads, config.model.dropout) == (256, 1024, 8, 0.1)
    assert config.model.class_encoder_softmax and config.model.token_softmax and config.model.head_input == "token"
    assert not config.features.standardise and config.data.holdout == 0


def test_unknown_keys_name_the_nearest():
    with pytest.raises(ConfigError, match="'model.widht'.*Did you mean 'model.width'"):
        preset("fast").override(**{"model.widht": 3})
    with pytest.raises(ConfigError, match="Did you mean 'width'"):
        Config.from_dict({"model": {"widt": 3}})
    with pytest.raises(ConfigError, match="Did you mean 'paper'"):
        preset("papre")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.width", "wide", "whole number"),
        ("model.width", 2.5, "whole number"),
        ("model.width", True, "whole number"),
        ("model.heads", 7, "multiple of heads"),
        ("model.dropout", 1.0, r"\[0, 1\)"),
        ("model.neighbour_mask", 4, "odd"),
        ("train.lr", -1, "positive"),
        ("train.steps", 0, "positive"),
        ("train.schedule", "cosine", "not allowed.*onecycle, step"),
        ("train.precision", "bf61", "Did you mean 'bf16'"),
        ("data.holdout", 0.95, "holdout"),
        ("data.options", "x", "mapping"),
        ("features.standardise", "1", "true or false"),
        ("scoring.threshold_quantile", 1, r"\(0, 1\)"),
        ("data.name", None, "text"),
        ("data.name", "", "must not be empty"),
        ("data.root", "", "must not be empty"),
        ("data.categories", [1], "text"),
        ("data.categories", "[a", "cannot be read"),
        ("data.categories", "a,,b", "must not be empty"),
        ("data.options", "{a: [", "cannot be read"),
        ("data.options", "{a: 2024-13-45}", "month must be"),
        ("features.reductions", "4,2", "rising order"),
        ("features.reductions", "", "rising order"),
        ("features.reductions", "2,x", "whole number"),
        ("train.lr", ".nan", "finite"),
        ("train.lr", "inf", "finite"),
        ("train.clip_norm", float("inf"), "finite"),
        ("model.inr_width", 0, "at least 1"),
        ("model.inr_layers", -1, "negative"),
        ("model.inr_omega", 0, "positive"),
        ("model.prompt_mapper_gain", 0, "positive"),
        ("model.token_width", 1, "at least 2"),
        ("model.token_hidden", 0, "at least 1"),
        ("model.variant", "unaid", "Did you mean 'uniad'"),
        ("train.device", "gpu", "auto, cpu, cuda"),
    ],
)
def test_bad_values_name_the_key(key, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        preset("fast").override(**{key: value})
    assert key.split(".")[1] in str(caught.value)


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
    ],
)
def test_text_is_read_by_the_type_of_its_key(key, text, expected):
    part, name = key.split(".")
    assert getattr(getattr(preset("fast").override(**{key: text}), part), name) == expected


def test_parts_built_directly_are_checked_too():
    with pytest.raises(ConfigError, match="train.lr must be a finite number"):
        TrainConfig(lr=float("inf"))
    with pytest.raises(ConfigError, match="train.device"):
        TrainConfig(device="gpu")
    assert typing.get_args(typing.get_type_hints(ModelConfig)["variant"]) == tuple(VARIANTS)


def test_setting_steps_clears_epochs_and_back():
    config = preset("paper").override(**{"train.steps": 10})
    assert (config.train.steps, config.train.epochs) == (10, None)
    config = config.override(**{"train.epochs": 3})
    assert (config.train.steps, config.train.epochs) == (None, 3.0)
    with pytest.raises(ConfigError, match="epochs or train.steps"):
        dataclasses.replace(config.train, steps=5)


def test_configuration_files(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"preset": "paper", "train": {"steps": 7}, "data": {"name": "visa"}}))
    config = load_config(file)
    assert config.model == preset("paper").model and config.train.steps == 7 and config.data.name == "visa"
    file.write_text("train: {stepps: 7}")
    with pytest.raises(ConfigError, match="Did you mean 'train.steps'"):
        load_config(file)
    file.write_text("trian: {steps: 7}")
    with pytest.raises(ConfigError, match="run.yaml.*Did you mean 'train'"):
        load_config(file)
    with pytest.raises(ConfigError, match="missing.yaml"):
        load_config(tmp_path / "missing.yaml")
    file.write_text("data: {categories: [01]}")  # YAML reads 1
    with pytest.raises(ConfigError, match="data.categories must be text"):
        load_config(file)
    file.write_text("- a\n- b")
    with pytest.raises(ConfigError, match="mapping"):
        load_config(file)


def test_every_field_is_documented():
    import inspect

    import mintad.config as module

    source = inspect.getsource(module)
    for key in flat_keys():
        name = key.split(".")[1]
        after = source.split(f"    {name}: ", 1)[1].split("\n", 1)[1]
        assert after.lstrip().startswith('"""'), f"{key} has no docstring under it"


@given(st.integers(1, 10**6), st.floats(1e-9, 1e3))
def test_overrides_round_trip(steps, lr):
    config = preset("fast").override(**{"train.steps": steps, "train.lr": lr})
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_another_data_set_drops_what_belonged_to_the_former():
    lesson = preset("lesson")
    assert lesson.data.options["n_train"] == 30
    other = lesson.override(**{"data.name": "elpv"})
    assert other.data.options == {} and other.model == lesson.model
    assert lesson.override(**{"data.name": "mini"}).data == lesson.data
    assert lesson.override(**{"data.name": "folder", "data.root": "parts"}).data.root == "parts"
