"""The command line: exact counts, refused options, exit codes, help; and the repository's own pages."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from data_builders import elpv, pictures
from report_builders import write_run
from typer.testing import CliRunner

from mintad.__main__ import start
from mintad.baselines import BASELINES
from mintad.cli import app, main
from mintad.config import Config
from mintad.data import DATASETS
from mintad.errors import ConfigError, DataError, MintadError
from mintad.model import VARIANTS
from mintad.runs.directory import Run
from mintad.runs.options import resolve_config
from mintad.runs.predict import COLUMNS, JudgingRules
from mintad.scoring.metrics import METRICS

if sys.version_info >= (3, 11):
    import tomllib
else:  # tomllib came with 3.11; on 3.10 pip's vendored copy of its ancestor serves
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).parents[1]


HEAVY = {"torch", "timm", "sklearn", "plotly"}
RUN_AND_LIST = f"""
import contextlib, io, json, sys
from mintad.cli import main
for arguments in json.load(sys.stdin):
    sys.argv, said, code = ["mintad", *arguments], io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, said.getvalue(), sorted({HEAVY!r} & set(sys.modules))]))
"""
ANSWERED = [
    (["--help"], 0, "notebooks"),
    (["train", "--help"], 0, "patchcore"),
    (["data", "get", "--help"], 0, "mvtec"),
    (["train", "--presett", "fast"], 2, "--preset"),
    (["train", "--set", "train.stepps=3"], 2, "'train.steps'"),
    (["trian"], 2, "train"),
]


def invoke(*arguments, **environment):
    """Run a command in this process."""
    environment = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"} | environment
    return CliRunner().invoke(app, [*map(str, arguments)], env=environment)


def test_describe_gives_the_papers_counts():
    result = invoke("describe", "--preset", "paper", "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
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


def test_help_and_mistakes_are_answered_before_anything_heavy_is_imported():
    """One after the other in one process: what one imports, all after it have imported."""
    environment = os.environ | {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    given = json.dumps([arguments for arguments, *_ in ANSWERED])
    command = [sys.executable, "-c", RUN_AND_LIST]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    for (arguments, code, text), line in zip(ANSWERED, done.stdout.splitlines(), strict=True):
        ended, said, heavy = json.loads(line)
        assert (ended, heavy) == (code, []) and text in said and "Traceback" not in said, (arguments, said)


def test_help_and_list_name_the_entries_of_a_plug_in(tmp_path, monkeypatch):
    plug_in = '''
from mintad.baselines import BASELINES

class NearestMean:
    """Distance to the mean."""

BASELINES.add("nearest_mean", NearestMean)
'''
    (tmp_path / "a_plug_in_for_help.py").write_text(plug_in)
    monkeypatch.syspath_prepend(tmp_path)
    before = invoke("list").output
    monkeypatch.setattr(BASELINES, "_entries", dict(BASELINES._entries))  # it stays in this test
    for name in (*VARIANTS, *BASELINES, *DATASETS, *METRICS, *(metric.title for metric in METRICS.values())):
        assert name in before
    assert "nearest_mean" not in before + invoke("evaluate", "--help").output
    assert "nearest_mean" in invoke("evaluate", "--help", MINTAD_PLUGINS="a_plug_in_for_help").output
    after = invoke("list", MINTAD_PLUGINS="a_plug_in_for_help").output
    assert re.search("nearest_mean +Distance to the mean", after)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        (["train", "--data", "elvp", "--set", "train.steps=1"], MintadError, "'elpv'"),
        (["train", "--baselines", "padin"], MintadError, "'padim'"),
        (["train", "--baselines", "draem", "--set", "baselines.options.draem.step=1"], MintadError, "'steps'"),
        (["config", "train.stepps"], ConfigError, "'train.steps'"),
        (["notebooks", "train", "unaid"], ConfigError, "'uniad'"),
        (["notebooks", "train", "--preset", "lession"], ConfigError, "'lesson'"),
        (["notebooks", "pages", ".", "site", "07"], MintadError, "07"),
        (["data", "get", "mvtek", "--yes"], MintadError, "'mvtec'"),
        (["data", "get", "cifar10"], MintadError, "licence"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unknown_names_are_refused_with_the_nearest(arguments, error, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert isinstance(result.exception, error) and name in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_config_prints_values_limits_and_meaning():
    output = invoke("config", "train", "--set", "train.steps=7").output
    assert "train.steps = 7" in output and "train.lr = " in output and "model.width" not in output
    everything = invoke("config").output
    assert all(f"{key} = " in everything for key in Config().flat())


def test_ctrl_c_ends_with_its_own_exit_code(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mintad.runs.train.train_run", interrupt)
    result = invoke("train")
    assert result.exit_code == 130 and "again to resume" in result.output


def test_ctrl_c_while_the_commands_are_imported_is_no_traceback(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("mintad.cli.main", interrupt)
    with pytest.raises(SystemExit) as caught:
        start()
    assert caught.value.code == 130


def test_options_become_a_configuration(tmp_path):
    config = resolve_config(None, None, ["model.width=64"], "folder", tmp_path, "a, b")
    assert config.model.width == 64 and config.data.name == "folder"
    assert config.data.root == str(tmp_path) and config.data.categories == ("a", "b")
    assert resolve_config(categories="").data.categories == ()
    with pytest.raises(ConfigError, match="data.options"):
        resolve_config(settings=["data.options={a: ["])
    with pytest.raises(ConfigError, match="model.width"):
        resolve_config(settings=["model.width"])
    with pytest.raises(ConfigError, match="--config"):
        resolve_config("fast", tmp_path / "x.yaml")


def test_a_root_without_a_name_is_recognised(tmp_path, caplog):
    pictures(tmp_path / "parts/nut/OK", 3)
    elpv(tmp_path / "cells", [("a.png", "0.0", "mono"), ("b.png", "1.0", "mono")])
    assert resolve_config(root=tmp_path / "parts").data.name == "folder"
    assert resolve_config("paper", root=tmp_path / "parts").data.name == "folder"
    assert resolve_config(root=tmp_path / "cells").data.name == "elpv"
    assert resolve_config(root=tmp_path / "nowhere").data.name == "folder"
    assert resolve_config("lesson", root=tmp_path / "nowhere").data.name == "mini"  # which is generated there
    assert resolve_config(data="mvtec", root=tmp_path / "parts").data.name == "mvtec"
    assert resolve_config(settings=["data.name=btad"], root=tmp_path / "parts").data.name == "btad"
    assert resolve_config().data.name == "elpv"
    told = resolve_config(root=tmp_path / "parts", normal="prima, ok", abnormal="Schrott").data
    assert told.name == "folder" and told.options == {"normal": ["prima", "ok"], "abnormal": ["Schrott"]}


def test_evaluate_and_predict_take_a_device(tmp_path, monkeypatch):
    asked = []
    table = pd.DataFrame(columns=list(COLUMNS))
    monkeypatch.setattr("mintad.runs.evaluate.evaluate_run", lambda run, **options: asked.append(options) or Run(run))
    monkeypatch.setattr(
        "mintad.runs.predict_files.predict_files", lambda *paths, **options: asked.append(options) or (table, [])
    )
    monkeypatch.setattr("mintad.runs.summary.print_results", lambda run, console: None)
    for command in (["evaluate", "run"], ["predict", "run", "images"]):
        for option, device in ([], "auto"), (["--device", "cuda"], "cuda"):
            result = invoke(*command, *option)
            assert result.exit_code == 0 and asked.pop()["device"] == device, result.output


def test_predict_hands_on_what_decides(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mintad.runs.predict_files.predict_files",
        lambda run, images, out, rules, **_: asked.append(rules) or (pd.DataFrame(columns=list(COLUMNS)), []),
    )
    invoke("predict", "run", "images", "--quantile", "0.9", "--expect", "screw")
    invoke("predict", "run", "images", "--threshold", "3.5", "--category", "nut")
    assert asked == [JudgingRules(quantile=0.9, expect="screw"), JudgingRules(threshold=3.5, category="nut")]


def test_a_run_of_an_older_version_shows_its_results_and_how_to_get_thresholds(tmp_path, monkeypatch):
    run = Run(write_run(tmp_path / "run", {"a": 0.75, "b": 0.5}, data="folder"))
    run.write("threshold", {"value": 3.0, "quantile": 0.95, "n": 9, "rank": 9, "reached": False})
    monkeypatch.setattr("mintad.runs.evaluate.evaluate_run", lambda path, **options: run)
    result = invoke("evaluate", run.path)
    assert result.exit_code == 0 and "0.75" in result.output and f"mintad evaluate {run.path}" in result.output


def test_brackets_in_names_are_no_markup(tmp_path, monkeypatch):
    category = "größe [red]"
    row = {"image": "a [b].png", "pred_score": 0.5, "threshold": "", "p_value": 0.01, "anomalous": True}
    table = pd.DataFrame([row | {"pred_class": category, "unknown_product": True, "wrong_product": False}])
    monkeypatch.setattr("mintad.runs.predict_files.predict_files", lambda *paths, **options: (table, []))
    shown = invoke("predict", "run", "images", "--out", "out [red]").output
    assert "a [b].png" in shown and category in shown and "out [red]" in shown and "unknown" in shown
    values = dict.fromkeys((category, "other"), 0.75)
    monkeypatch.setattr("mintad.runs.evaluate.evaluate_run", lambda run, **options: Run(run))
    write_run(tmp_path / "run", values, data="folder", baselines={"padim": values})
    assert category in invoke("evaluate", tmp_path / "run").output


def test_data_check_and_cache_commands(tmp_path):
    (tmp_path / "set/cat/train").mkdir(parents=True)
    result = invoke("data", "check", tmp_path / "set")
    assert result.exit_code == 1 and "cat" in result.output
    assert invoke("cache", "list", MINTAD_CACHE=str(tmp_path)).exit_code == 0
    result = invoke("cache", "clear", "--yes", MINTAD_CACHE=str(tmp_path))
    assert result.exit_code == 0 and "freed 0.0 MiB" in result.output
    (tmp_path / "features/resnet18-key").mkdir(parents=True)
    (tmp_path / "features/resnet18-key/key.json").write_text(json.dumps({"backbone": "resnet18", "grid": [7, 7]}))
    result = invoke("cache", "list", MINTAD_CACHE=str(tmp_path))
    assert result.exit_code == 0 and "resnet18-key" in result.output


def test_conda_environment_and_project_agree():
    """Every dependency of pyproject.toml has its line with a use in environment.yml, and no other has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    names = {re.match(r"[\w-]+", line)[0].lower() for line in requirements} - {"mintad"}
    text = (ROOT / "environment.yml").read_text()
    commented = dict(re.findall(r"^ +# ([\w-]+) {2,}(\S.*)$", text, flags=re.M))
    assert set(commented) == names
    environment = yaml.safe_load(text)
    assert environment["dependencies"][:2] == [f"python{project['requires-python']}", "pip"]
    assert environment["dependencies"][2] == {"pip": ["-e .[dev]"]}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.M)
    assert {name.lower() for name in pinned} == names


REFUSALS = {
    "no space": OSError(errno.ENOSPC, "No space left on device", "runs/x/config.json"),
    "no permission": PermissionError(errno.EACCES, "Permission denied", "runs/x"),
    "a disk that fails": OSError(errno.EIO, "Input/output error"),
    "a name that is too long": OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_operating_system_refuses_is_one_line_and_exit_code_2(monkeypatch, capsys, name):
    def refuse(*arguments, **options):
        raise REFUSALS[name]

    monkeypatch.setattr("mintad.runs.train.train_run", refuse)
    monkeypatch.setattr(sys, "argv", ["mintad", "train", "--out", "runs/x"])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err.strip()
    assert caught.value.code == 2 and "\n" not in said and REFUSALS[name].strerror in said
    assert (REFUSALS[name].filename or "") in said and ("space" in said) == (name == "no space")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore"), RuntimeError("a bug")]
)
def test_too_little_memory_is_one_line(monkeypatch, capsys, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr("mintad.runs.train.train_run", refuse)
    monkeypatch.setattr(sys, "argv", ["mintad", "train", "--out", "runs/x"])
    if str(error) == "a bug":
        with pytest.raises(RuntimeError):
            main()
        return
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err.strip()
    assert caught.value.code == 2 and "\n" not in said and "not enough memory" in said and "batch_size" in said


def test_names_with_line_ends_and_commands_stay_in_their_line(tmp_path, monkeypatch, capsys):
    row = {"image": "a\nb\x1b[31m.png", "pred_score": 0.5, "threshold": "", "p_value": 0.01, "anomalous": True}
    table = pd.DataFrame([row | {"pred_class": "x\x1b]0;", "unknown_product": False}])
    problem = str(DataError("cannot be read", path="c\x1b[2J\nd.png"))
    monkeypatch.setattr("mintad.runs.predict_files.predict_files", lambda *paths, **options: (table, [problem]))
    shown = invoke("predict", "run", "images").output
    assert "\x1b[31m" not in shown and "\x1b]" not in shown and "\x1b[2J" not in shown
    assert r"a\nb\x1b[31m.png" in shown and r"c\x1b[2J\nd.png: cannot" in shown
    assert r"lost\nit" in visible_error(["report", str(tmp_path / "lost\nit")], monkeypatch, capsys)


def visible_error(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mintad", *arguments])
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr().err


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "runs/a", {"bottle": 0.75})
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["mintad", "report", str(tmp_path / "runs"), "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2 and str(tmp_path / "file") in said[-1]
