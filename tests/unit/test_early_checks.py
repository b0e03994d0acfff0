"""Usual mistakes are told before torch is loaded, and nothing that works is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from benchmarks.mistakes import MISTAKES, ROOT, make_files, words_of
from studio.app.early_checks import check_early
from studio.errors import ConfigError
from studio.plugins import discovery as plugins
from studio.plugins.defaults import class_value, literal, options_of
from studio.plugins.discovery import find
from studio.plugins.ranges import described
from studio.plugins.registry import OPTIONLESS, config_class

HEAVY = ("torch", "pytorch_lightning", "diffusers", "transformers", "numba")
PROGRAM = f"""
import contextlib, io, json, sys
from studio.app.cli import main
told = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(words)
    told.append([code, said.getvalue(), [name for name in {HEAVY} if name in sys.modules]])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, list[str]]]:
    """Exit code and message of every mistake, and what is loaded by then; all of one process."""
    folder = tmp_path_factory.mktemp("mistakes")
    make_files(folder)
    words = json.dumps([words_of(mistake, folder) for mistake in MISTAKES])
    command = [sys.executable, "-c", PROGRAM, words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return dict(zip(MISTAKES, json.loads(answer.stdout), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_without_torch(
    mistake: str, told: dict[str, tuple[int, str, list[str]]]
) -> None:
    code, said, loaded = told[mistake]
    assert (code, loaded) == (2, []), said
    assert "Error: " in said and "Traceback" not in said


def test_a_gpu_is_refused_early_where_no_device_can_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.runs.distributed.DEV", tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    words = ["data.root=load/posed/car", "trainer.accelerator=gpu"]
    monkeypatch.chdir(ROOT)
    config = ROOT / "configs" / "reconstruct.yaml"
    with pytest.raises(ConfigError, match="accelerator is 'gpu', and there is none here"):
        check_early(config, words, verbs=["train"])
    check_early(config, words)  # of a batch, which may be done elsewhere
    (tmp_path / "nvme0").touch()
    with pytest.raises(ConfigError, match="there is none here"):
        check_early(config, words, verbs=["train"])
    for card in ("nvidia0", "dxg", "kfd"):
        (tmp_path / card).touch()
        check_early(config, words, verbs=["train"])
        (tmp_path / card).unlink()


WITH_OPTIONS = [plugin for plugin in plugins.listing() if plugin.kind not in OPTIONLESS]


@pytest.mark.parametrize("plugin", WITH_OPTIONS, ids=lambda p: f"{p.kind}-{p.name}")
def test_options_read_from_source_are_those_of_the_plugin(plugin: plugins.PluginInfo) -> None:
    if plugin.origin in plugins.catalogue().units:
        assert options_of(plugin) is None
        return
    fields = dataclasses.fields(config_class(find(plugin.kind, plugin.name)))
    found = options_of(plugin)
    assert found is not None and list(found) == [field.name for field in fields]
    for field in fields:
        default = literal(found[field.name].default)
        if field.default is not dataclasses.MISSING and default is not None:
            assert default == field.default


# Losses are read as one group, when torch is there.
READ_EARLY = [plugin for plugin in WITH_OPTIONS if plugin.kind != "loss"]


@pytest.mark.parametrize("plugin", READ_EARLY, ids=lambda p: f"{p.kind}-{p.name}")
def test_types_read_from_source_are_those_of_the_plugin(plugin: plugins.PluginInfo) -> None:
    kinds = typing.get_type_hints(config_class(find(plugin.kind, plugin.name)), include_extras=True)
    found = options_of(plugin) or {}
    told = {name: option.kind for name, option in found.items() if option.kind is not None}
    for name, kind in told.items():
        assert described(kind) == described(kinds[name])
    groups = [name for name, option in found.items() if option.group]
    assert all(dataclasses.is_dataclass(kinds[name]) for name in groups)
    assert len(told) + len(groups) >= 0.8 * len(found)


def test_arithmetics_of_a_system_are_read_from_its_source() -> None:
    systems = {p.name: p for p in plugins.listing() if p.kind == "system"}
    for name in ("image-to-3d", "reconstruction", "guidance-training"):
        cls = find("system", name)
        assert class_value(systems[name], "precisions") in (cls.precisions, None)
    assert class_value(systems["image-to-3d"], "precisions") == ("32-true",)


CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_our_own_configs_pass(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("studio.app.early_checks.locate", Path)  # not shipped
    monkeypatch.setattr("studio.app.early_inputs.existing", lambda root: root)
    content = path.read_text()
    words = ["data.image=load/images/car.png"] if "data_type: single-image" in content else []
    words += ["data.text=a red car"] if "data_type: text" in content else []
    words += ["data.root=elsewhere"] if "root: ???" in content else []
    check_early(path, words)


def test_unknown_options_name_the_near_one_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'data.image'") as caught:
        check_early(ROOT / "configs" / "epidiff-neus.yaml", ["data.imag=x.png"])
    assert "in: " not in str(caught.value)  # it was typed: the file is not to blame
    text = (ROOT / "configs" / "epidiff-neus.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("  image:", "  imag:"))
    with pytest.raises(ConfigError, match="did you mean 'data.image'") as caught:
        check_early(tmp_path / "mine.yaml", ["seed=1"])
    assert f"in: {tmp_path / 'mine.yaml'}" in str(caught.value)
