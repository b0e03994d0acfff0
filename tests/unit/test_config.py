"""Configs: merging, near misses, types, early checks, and configs that run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from studio.config import ExperimentConfig, load_experiment, parse_config, plain, save_experiment
from studio.errors import ConfigError, PluginError
from studio.options import plugin_kind
from studio.schedule import Schedule


@dataclass
class Inner:
    steps: int = 5


@dataclass
class Outer:
    lr: float = 0.1
    names: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


def test_defaults_are_kept_and_values_converted() -> None:
    parsed = parse_config(Outer, {"lr": "1e-3", "inner": {"steps": 7}})
    assert parsed == Outer(lr=1e-3, inner=Inner(7))
    assert isinstance(parsed.inner, Inner)


def test_nothing_after_the_equals_sign_is_an_empty_text_list_or_group(project: Path) -> None:
    assert load_experiment("tiny.yaml", ["exp_root_dir="]).exp_root_dir == ""
    assert parse_config(Outer, {"names": None}).names == []
    load_experiment("tiny.yaml", ["system=null"])
    with pytest.raises(ConfigError, match="seed is empty"):
        load_experiment("tiny.yaml", ["seed="])


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ({"lrr": 1}, ["'a.b.lrr' is not an option", "did you mean 'a.b.lr'", "lr, names, inner"]),
        ({"inner": {"stpes": 1}}, ["'a.b.inner.stpes'", "did you mean 'a.b.inner.steps'"]),
        ({"inner": {"steps": "many"}}, ["a.b.inner.steps is 'many' (str)", "type int"]),
        ({"inner": 3}, ["a.b.inner"]),
        (7, ["a.b is 7", "group of options"]),
    ],
)
def test_mistakes_name_the_full_key(given: object, texts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Outer, given, key="a.b")  # type: ignore[arg-type]
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("guidance_type", "guidance"),
        ("coarse_geometry_type", "geometry"),
        ("colour_type", None),
        ("guidance", None),
    ],
)
def test_plugin_kind(option: str, kind: str | None) -> None:
    assert plugin_kind(option) == kind


def test_overrides_reach_plugins(project: Path) -> None:
    experiment = load_experiment("tiny.yaml", ["system.lr=0.5", "trainer.max_steps=3", "tag=x"])
    assert experiment.system == {
        "lr": 0.5,
        "width": 16,
        "nan_at": -1,
        "nan_gradient": False,
        "signal_at": -1,
        "signal": 2,
    }
    assert (experiment.trainer.max_steps, experiment.tag) == (3, "x")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["system.lrr=1"], ["'system.lrr'", "did you mean 'system.lr'", "in: tiny.yaml"]),
        (["system.lr=fast"], ["system.lr is 'fast'", "type float"]),
        (["trainer.max_step=1"], ["did you mean 'trainer.max_steps'"]),
        (["trainer.max_steps=0"], ["trainer.max_steps is 0", "1 or more"]),
        (["seed.x=1"], ["seed"]),
        (["name.x=1"], ["name is 'tiny', which has no options"]),
        (["name=a/b"], ["name is 'a/b'", "folder name"]),
        (["trainer.logger=paper"], ["csv, tensorboard, wandb"]),
        (["system_type="], ["system_type is not set"]),
        (["data.missing=perhaps"], ["data.missing is 'perhaps'"]),
    ],
)
def test_mistakes_in_the_whole_config(project: Path, words: list[str], texts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment("tiny.yaml", words)
    for text in texts:
        assert text in str(caught.value)


def test_unknown_plugin_names_the_key_and_the_near_miss(project: Path) -> None:
    with pytest.raises(PluginError, match=r"system_type is 'tinny'[\s\S]*did you mean 'tiny'"):
        load_experiment("tiny.yaml", ["system_type=tinny"])


def test_missing_file_names_neighbours(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"tny\.yaml does not exist[\s\S]*tiny\.yaml"):
        load_experiment("tny.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [1", r"line \d+, column \d+ is not valid YAML"),
        ("- a\n- b\n", "holds a list"),
        ("", "system_type is not set"),
    ],
)
def test_broken_yaml(project: Path, text: str, message: str) -> None:
    Path("bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_experiment("bad.yaml")


def test_saved_config_runs_again(project: Path) -> None:
    experiment = load_experiment("tiny.yaml", ["system.lr=0.5", "resume=last"])
    save_experiment(experiment, Path("saved.yaml"))
    again = load_experiment("saved.yaml")
    assert plain(again) == {**plain(experiment), "resume": None}
    assert yaml.safe_load(Path("saved.yaml").read_text())["system"]["width"] == 16


def test_every_option_of_the_experiment_is_documented() -> None:
    from studio.docs_tables import option_docs, table

    texts = option_docs(ExperimentConfig)
    assert all(texts.get(name) for name in plain(ExperimentConfig()))
    assert "| `seed` | `int` | `0` |" in table(ExperimentConfig)


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (3, 100, 3.0),
        ([10, 0.0, 1.0, 20], 5, 0.0),
        ([10, 0.0, 1.0, 20], 15, 0.5),
        ([10, 0.0, 1.0, 20], 25, 1.0),
        ([10, 0.0, 1.0, 10], 10, 1.0),
    ],
)
def test_schedule(value: object, step: int, expected: float) -> None:
    assert Schedule.parse(value)(step) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["fast", [1, 2], [20, 0, 1, 10], True, None])
def test_schedule_refuses(value: object) -> None:
    with pytest.raises(ConfigError, match="loss.mask is"):
        Schedule.parse(value, "loss.mask")
