"""Configurations of older versions are read as what they were, and old keys are refused by their new names."""

import dataclasses
import json
from pathlib import Path

import pytest

from mintad.config import Config, preset
from mintad.errors import ConfigError

RESULTS = Path(__file__).parent.parent / "data" / "results"


@pytest.mark.parametrize(
    ("given", "read"),
    [(True, "learned"), (False, "random"), ("true", "learned"), ("false", "random"), ("projection", "projection")],
)
def test_an_adapter_that_was_on_or_off_is_read_as_what_it_was(given, read):
    assert preset("fast").override(**{"model.adapter": given}).model.adapter == read
    assert Config.from_dict({"model": {"adapter": given}}).model.adapter == read


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
