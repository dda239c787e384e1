"""The command line: exact counts, refused options, exit codes, and the repository's own papers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from mintad.cli import app, resolve_config
from mintad.errors import ConfigError
from mintad.runs.directory import Run

if sys.version_info >= (3, 11):
    import tomllib
else:  # tomllib came with 3.11; on 3.10 pip's vendored copy of its ancestor serves
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).parents[1]


def mintad(*arguments, **environment):
    command = [sys.executable, "-m", "mintad", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_describe_gives_the_papers_counts():
    done = mintad("describe", "--preset", "paper", "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    expected = {
        "inr": 602_368,
        "distribution_decoder": 263_168,
        "prompt_mapper": 2_296_367,
        "encoder_layer": 789_760,
        "decoder_layer": 1_053_440,
        "backbone": 3_635_984,
    }
    assert {name: counts[name] for name in expected} == expected
    macs = counts["macs"]
    assert macs["backbone"] / 1e9 == pytest.approx(0.920, abs=0.001)
    tokens, width = 196, 256
    assert macs["inr"] == tokens * (3 * 256 + 35 * 256 + 9 * 256 * 256)
    attention = 4 * width * width + 2 * tokens * width
    assert macs["encoder_layer"] == tokens * (attention + 2 * width * 1024)
    assert macs["decoder_layer"] == tokens * (2 * attention + 2 * width * 1024)
    parts = ("adapter", "prompt_mapper", "inr", "distribution_decoder", "transformer", "output")
    assert macs["total"] == sum(macs[name] for name in parts)


def test_unknown_names_are_refused_with_the_nearest(tmp_path):
    done = mintad("train", "--presett", "fast")
    assert done.returncode == 2 and "--preset" in done.stderr
    done = mintad("train", "--set", "train.stepps=3")
    assert done.returncode == 2 and "Did you mean 'train.steps'" in done.stderr and "Traceback" not in done.stderr
    done = mintad("train", "--data", "elvp", "--set", "train.steps=1", "--out", tmp_path / "run")
    assert done.returncode == 2 and "Did you mean 'elpv'" in done.stderr
    assert not (tmp_path / "run").exists()
    done = mintad("trian")
    assert done.returncode == 2 and "train" in done.stderr


def test_options_become_a_configuration(tmp_path):
    config = resolve_config(None, None, ["model.width=64"], "folder", tmp_path, "a, b")
    assert config.model.width == 64 and config.data.name == "folder"
    assert config.data.root == str(tmp_path) and config.data.categories == ("a", "b")
    assert resolve_config(categories="").data.categories == ()
    with pytest.raises(ConfigError, match=r"data.options = '\{a: \[' cannot be read"):
        resolve_config(settings=["data.options={a: ["])
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        resolve_config(settings=["model.width"])
    with pytest.raises(ConfigError, match="not both"):
        resolve_config("fast", tmp_path / "x.yaml")


def test_evaluate_and_predict_take_a_device(tmp_path, monkeypatch):
    asked = []
    table = pd.DataFrame(columns=["image", "pred_score", "anomalous", "pred_class"])
    monkeypatch.setattr("mintad.runs.train.evaluate_run", lambda run, **options: asked.append(options) or Run(run))
    monkeypatch.setattr(
        "mintad.runs.predict.predict_files", lambda *paths, **options: asked.append(options) or (table, [])
    )
    monkeypatch.setattr("mintad.cli.print_results", lambda run: None)
    for command in (["evaluate", "run"], ["predict", "run", "images"]):
        for option, device in ([], "auto"), (["--device", "cuda"], "cuda"):
            done = CliRunner().invoke(app, [*command, *option])
            assert done.exit_code == 0 and asked.pop()["device"] == device, done.output


def test_data_check_and_cache_commands(tmp_path):
    (tmp_path / "set/cat/train").mkdir(parents=True)
    done = mintad("data", "check", tmp_path / "set")
    assert done.returncode == 1 and "cat" in done.stdout
    done = mintad("cache", "list", MINTAD_CACHE=str(tmp_path))
    assert done.returncode == 0
    done = mintad("cache", "clear", "--yes", MINTAD_CACHE=str(tmp_path))
    assert done.returncode == 0 and "freed 0.0 MiB" in done.stdout
    description = {"backbone": "resnet18", "grid": [7, 7]}
    (tmp_path / "features/resnet18-key").mkdir(parents=True)
    (tmp_path / "features/resnet18-key/key.json").write_text(json.dumps(description))
    done = mintad("cache", "list", MINTAD_CACHE=str(tmp_path))
    assert done.returncode == 0 and "resnet18-key" in done.stdout, done.stderr
    done = mintad("data", "get", "mvtek", "--yes")
    assert done.returncode == 2 and "Did you mean 'mvtec'" in done.stderr


def test_licence_must_be_accepted(tmp_path):
    done = mintad("data", "get", "cifar10", "--root", tmp_path)
    assert done.returncode == 2 and "licence" in done.stderr.lower()


def test_conda_environment_and_project_agree():
    """Every dependency of pyproject.toml has its line with a use in environment.yml, and no other has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in wanted} - {"mintad"}
    text = (ROOT / "environment.yml").read_text()
    commented = dict(re.findall(r"^ +# ([\w-]+) {2,}(\S.*)$", text, flags=re.M))
    assert set(commented) == names
    environment = yaml.safe_load(text)
    assert environment["dependencies"][:2] == [f"python{project['requires-python']}", "pip"]
    assert environment["dependencies"][2] == {"pip": ["-e .[dev]"]}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.M)
    assert {name.lower() for name in pinned} == names


@pytest.mark.parametrize("page", ["README.md", "data/results/README.md"])
def test_readmes_name_real_files_and_keys(page):
    readme = (ROOT / page).read_text()
    for path in re.findall(r"`((?:mintad|data|tests|benchmarks|toy)/[\w/.]+)`", readme):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([\w/.]+)\)", readme):
        assert ((ROOT / page).parent / target).exists(), target
    for setting in re.findall(r"--set ([a-z_.]+=[\w.]+)", readme):
        resolve_config(settings=[setting])


def test_every_result_is_explained():
    results = ROOT / "data" / "results"
    named = re.findall(r"`([\w*]+\.csv)`", (results / "README.md").read_text())
    assert all(list(results.glob(name)) for name in named)
    assert {file.name for name in named for file in results.glob(name)} == {file.name for file in results.glob("*.csv")}
