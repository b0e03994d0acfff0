"""Every YAML file we ship parses, names existing plugins and options, and no option is dead."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from studio.app.docs_tables import nested, option_docs
from studio.config import ExperimentConfig, TrainerConfig, load_experiment
from studio.errors import ConfigError
from studio.plugins import discovery as plugins
from studio.plugins.discovery import find
from studio.plugins.registry import OPTIONLESS, config_class
from tests.conftest import REPOSITORY

CONFIGS = sorted([*REPOSITORY.glob("configs/**/*.yaml"), *REPOSITORY.glob("custom/**/*.yaml")])
BUILT_IN = [
    p for p in plugins.listing() if p.module.startswith("studio.") and p.kind not in OPTIONLESS
]


def left_open(path: Path) -> list[str]:
    """Keys whose value the user has to give."""
    return sorted(OmegaConf.missing_keys(OmegaConf.load(path)))


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None) -> None:
    monkeypatch.chdir(REPOSITORY)
    given = [f"{key}=somewhere" for key in left_open(path)]
    experiment = load_experiment(path, given)
    assert experiment.name != ExperimentConfig().name, "give the experiment its own name"


@pytest.mark.parametrize("path", [p for p in CONFIGS if left_open(p)], ids=name_of)
def test_open_values_are_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ConfigError, match=left_open(path)[0] + ".* has to be given"):
        load_experiment(path)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_a_trial_run_replaces_no_shipped_weights(path: Path) -> None:
    system = OmegaConf.load(path).get("system") or {}
    assert system.get("output", "outputs/").startswith("outputs/")


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_is_short_and_flat(path: Path) -> None:
    given = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(given, dict)
    assert len(path.read_text().splitlines()) <= 80
    unknown = set(given) - {f.name for f in dataclasses.fields(ExperimentConfig)}
    assert not unknown


def read_names() -> set[str]:
    """Every attribute that any module of the package reads, and every key between brackets."""
    names: set[str] = set()
    for path in (REPOSITORY / "studio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                names.add(str(node.slice.value))
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
                names |= {a.value for a in node.args if isinstance(a, ast.Constant)}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                names |= {e.value for e in node.value.elts if isinstance(e, ast.Constant)}
    return names


def option_classes() -> list[tuple[str, type]]:
    """Every dataclass of options: the experiment's, the plugins' and those nested in them."""
    found: list[tuple[str, type]] = [
        ("experiment", ExperimentConfig),
        ("trainer", TrainerConfig),
    ]
    for plugin in BUILT_IN:
        queue = [config_class(find(plugin.kind, plugin.name))]
        while queue:
            config = queue.pop()
            found.append((f"{plugin.kind} {plugin.name}: {config.__qualname__}", config))
            queue += nested(config)
    return found


def test_no_option_is_dead() -> None:
    read = read_names()
    dead = [
        f"{where}.{option.name}"
        for where, config in option_classes()
        for option in dataclasses.fields(config)
        if option.name not in read
    ]
    assert not dead, "no code reads these options"


def test_every_option_has_its_line() -> None:
    silent = []
    for where, config in option_classes():
        texts = option_docs(config)
        silent += [f"{where}.{f.name}" for f in dataclasses.fields(config) if not texts.get(f.name)]
    assert not silent, "these options have no text below them"


def test_every_plugin_has_its_line() -> None:
    assert not [f"{p.kind} {p.name}" for p in BUILT_IN if not p.summary]
    assert not [f"{p.kind} {p.name}: {p.error}" for p in BUILT_IN if p.error]
