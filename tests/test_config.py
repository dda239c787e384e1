"""Configuration: validation, unknown keys with the nearest valid name, round trips, configurations of older runs."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mintad.config import (
    PRESETS,
    Config,
    ModelConfig,
    TrainConfig,
    describe_keys,
    is_published_uniad,
    load_config,
    preset,
)
from mintad.config.tree import UNIAD_RECIPE
from mintad.config.yaml_text import Loader
from mintad.errors import ConfigError

RESULTS = Path(__file__).parent.parent / "data" / "results"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_json(name):
    config = preset(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_paper_preset_is_the_published_configuration():
    config = preset("paper")
    assert (config.train.epochs, config.train.lr, config.train.weight_decay) == (1000, 1e-4, 1e-4)
    assert (config.train.weight_ce, config.train.weight_prior, config.train.batch_size) == (1, 0.1, 32)
    features, model, mapper = config.features, config.model, config.model.prompt_mapper
    assert (features.backbone, features.grid, features.image_size) == ("tf_efficientnet_b4", 14, 224)
    assert (model.width, model.ffn_dim, model.heads, model.dropout) == (256, 1024, 8, 0.1)
    assert mapper.class_encoder_softmax and mapper.token_softmax and mapper.head_input == "token"
    assert not config.features.standardise and config.data.holdout == 0


def test_uniad_preset_is_uniad_as_published_and_no_other():
    uniad, paper = preset("uniad"), preset("paper")
    differing = {key for key, value in uniad.flat().items() if value != paper.flat()[key]}
    assert differing == set(UNIAD_RECIPE) - {"scoring.pool"}, "all else is the paper's, which adopts it from UniAD"
    assert (uniad.train.lr, uniad.train.clip_norm, uniad.train.batch_size) == (1e-4, 0.1, 8)
    assert (uniad.model.jitter.scale, uniad.model.attention_dropout, uniad.scoring.pool) == (20, 0.1, 16)
    assert is_published_uniad(uniad.override(**{"data.name": "visa", "train.seed": 2, "train.batch_size": 64}))
    for name in ("paper", "fast"):
        assert not is_published_uniad(preset(name).override(**{"model.variant": "uniad"}))
    for key in UNIAD_RECIPE:
        if key not in ("train.batch_size", "scoring.pool"):
            assert not is_published_uniad(uniad.override(**{key: paper.flat()[key]})), key
    assert not is_published_uniad(uniad.override(**{"train.epochs": 100}))


@pytest.mark.parametrize(
    ("given", "read"),
    [(True, "learned"), (False, "random"), ("true", "learned"), ("false", "random"), ("projection", "projection")],
)
def test_an_adapter_that_was_on_or_off_is_read_as_what_it_was(given, read):
    assert preset("fast").override(**{"model.adapter": given}).model.adapter == read
    assert Config.from_dict({"model": {"adapter": given}}).model.adapter == read


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


def test_an_option_of_what_is_no_mapping_is_refused():
    with pytest.raises(ConfigError, match="data.options must be a mapping"):
        preset("fast").override(**{"data.options": "3", "data.options.a": "1"})


def test_a_single_option_has_a_dotted_key_too():
    config = preset("lesson").override(**{"data.options.n_train": "7", "model.options.hidden": "16"})
    assert config.data.options == {**preset("lesson").data.options, "n_train": 7}
    assert config.model.options == {"hidden": 16} and preset("lesson").data.options["n_train"] == 30


def test_options_of_single_baselines_have_dotted_keys_too():
    config = preset("fast").override(**{"baselines.options": "{draem: {width: 8}, cfa: {steps: 3}}"})
    config = config.override(**{"baselines.options.draem.steps": "50", "baselines.options.mkd": "{rate: 0.1}"})
    assert config.baselines.options == {"draem": {"width": 8, "steps": 50}, "cfa": {"steps": 3}, "mkd": {"rate": 0.1}}
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config and not Config().baselines.options


def test_a_mapping_of_the_caller_is_left_alone():
    given, other = {"draem": {"steps": 3}}, {"n_train": 3}
    changes = {"baselines.options": given, "baselines.options.draem.steps": 5, "data.options": other}
    config = preset("fast").override(**changes, **{"data.options.seed": 1})
    assert given == {"draem": {"steps": 3}} and other == {"n_train": 3}
    given["draem"]["steps"] = 7
    assert config.baselines.options == {"draem": {"steps": 5}} and config.data.options == {"n_train": 3, "seed": 1}


@pytest.mark.parametrize("key", ["baselines.options.draem.steps.x", "data.options.n_train.x", "model.options.a.b"])
def test_an_option_of_an_option_is_refused(key):
    with pytest.raises(ConfigError, match=key):
        preset("fast").override(**{key: 3})


def test_the_paper_preset_has_the_papers_baselines_and_the_others_the_lessons():
    assert {name: config.baselines.setting for name, config in PRESETS.items()} == {
        "paper": "paper", "uniad": "paper", "small": "lesson", "fast": "lesson", "lesson": "lesson"
    }  # fmt: skip


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


def test_another_data_set_drops_what_belonged_to_the_former():
    lesson = preset("lesson")
    assert lesson.data.options["n_train"] == 30
    other = lesson.override(**{"data.name": "elpv"})
    assert other.data.options == {} and other.model == lesson.model
    assert lesson.override(**{"data.name": "mini"}).data == lesson.data
    assert lesson.override(**{"data.name": "folder", "data.root": "parts"}).data.root == "parts"


def test_another_variant_drops_the_options_of_the_former():
    config = preset("fast").override(**{"model.variant": "mlp_query", "model.options.hidden": 8})
    assert config.model.options == {"hidden": 8}
    assert config.override(**{"model.variant": "mlp_query"}).model.options == {"hidden": 8}
    assert config.override(**{"model.variant": "uniad"}).model.options == {}


OLD = {
    "variant": "mlp_query",
    "ffn": 512,
    "jitter_scale": 8.0,
    "jitter_prob": 0.5,
    "jitter_at": "adapted",
    "token_width": 16,
    "token_hidden": 64,
    "class_encoder_softmax": False,
    "token_softmax": False,
    "head_reads": "logits",
    "prompt_mapper_gain": 4.0,
    "inr_width": 32,
    "inr_layers": 2,
    "inr_omega": 10.0,
    "modulator_skip": True,
    "mlp_hidden": 99,
    "text_encoder": "clip",
    "min_log_variance": -3.0,
}


def read_old(**changes):
    return Config.from_dict({"model": {**OLD, **changes}}).model


def test_configurations_of_older_runs_are_read():
    model = read_old()
    assert (model.ffn_dim, model.options, model.prior.min_log_variance) == (512, {"hidden": 99}, -3.0)
    assert dataclasses.astuple(model.jitter) == (8.0, 0.5, "adapted")
    assert dataclasses.astuple(model.prompt_mapper) == (16, 64, False, False, "logits", 4.0, None)
    assert dataclasses.astuple(model.inr) == (32, 2, 10.0, True)
    assert read_old(variant="text_prompt").options == {"encoder": "clip"}
    assert read_old(variant="uniad").options == {}
    assert read_old(mlp_hidden=256).options == {}, "the default is not an option that was given"


@pytest.mark.parametrize("key", [f"model.{name}" for name in OLD if name != "variant"])
def test_an_old_key_is_refused_by_its_new_name(key):
    with pytest.raises(ConfigError, match=key) as caught:
        preset("fast").override(**{key: OLD[key.removeprefix("model.")]})
    new = str(caught.value).split("'")[-2]
    assert new in Config().flat() or new.startswith("model.options.")


def test_configurations_in_published_tables_are_read():
    prefix, configs = "# config: ", []
    for path in sorted(RESULTS.glob("*.csv")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(prefix)]
        configs += [Config.from_dict(json.loads(line.removeprefix(prefix))) for line in lines]
    assert configs and all(config.model.ffn_dim == 512 and config.model.inr.hidden == 128 for config in configs)


def test_importing_the_configuration_is_light():
    code = "import sys, mintad.config; print([m for m in ('torch', 'pandas', 'numpy', 'timm') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
