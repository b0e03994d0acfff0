"""The commands, and the program's own files seen from another folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studio.app.cli import main
from studio.app.parser import NEEDS, in_flags
from studio.config import load_experiment
from studio.errors import ConfigError
from studio.io import shipped
from tests.conftest import REPOSITORY, environment


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["run", "a.yaml"], ["--config", "a.yaml", "--train", "--export"]),
        (["run", "a", "--export", "x=1"], ["--config", "a", "--export", "x=1"]),
        (["list"], ["--list"]),
        (["list", "mesh"], ["--list", "mesh"]),
        (["evaluate", "pred=a"], ["--evaluate", "pred=a"]),
        (["prepare", "nmr", "out=x"], ["--prepare", "nmr", "out=x"]),
        (["--config", "run"], ["--config", "run"]),
        ([], []),
    ],
)
def test_a_command_is_another_word_for_a_flag(words: list[str], flags: list[str]) -> None:
    assert in_flags(words) == flags


@pytest.mark.parametrize("command", NEEDS)
@pytest.mark.parametrize("more", [[], ["--verbose"], ["data.image=a.png"]])
def test_a_command_without_what_it_is_about(
    command: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *more]) == 2
    assert f"ConfigError: {command} needs {NEEDS[command][0]}.\n" in capsys.readouterr().err


def test_a_flag_without_its_word_and_one_that_takes_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--batch"]) == 2
    assert capsys.readouterr().err.startswith("ConfigError: --batch needs a folder")
    assert main(["--doctor=3"]) == 2
    assert "--help shows all" in capsys.readouterr().err


def test_a_folder_with_an_equals_sign_in_its_name_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed=3").mkdir()
    assert in_flags(["view", "seed=3"]) == ["--view", "seed=3"]
    with pytest.raises(ConfigError, match="view needs"):
        in_flags(["view", "seed=4"])


def test_a_config_that_does_not_exist_names_a_near_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "epidif-neus"]) == 2
    assert "did you mean epidiff-neus?" in capsys.readouterr().err


def test_a_misspelt_command_names_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctr"]) == 2
    assert "did you mean 'doctor'?" in capsys.readouterr().err


def test_list_shows_the_options_of_a_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "single-image"]) == 0
    text = capsys.readouterr().out
    assert "data 'single-image'" in text
    assert "elevation_deg = 30.0    (float | None; -89.9 to 89.9)" in text
    assert main(["list", "sinle-image"]) == 2
    assert "did you mean 'single-image'?" in capsys.readouterr().err


def test_configs_and_weights_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = shipped.config_file("epidiff-neus")
    assert file == shipped.ROOT / "configs" / "epidiff-neus.yaml"
    experiment = load_experiment(file, ["data.image=load/images/car.png"])
    assert experiment.data["image"] == str(shipped.ROOT / "load/images/car.png")
    weights = Path(experiment.system["guidance"]["weights"])
    assert (weights / "blocks.safetensors").is_file()


def test_what_lies_in_the_working_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "epidiff-neus.yaml").write_text("name: mine\n")
    (tmp_path / "load" / "images").mkdir(parents=True)
    (tmp_path / "load" / "images" / "car.png").touch()
    assert shipped.config_file("epidiff-neus") == Path("configs/epidiff-neus.yaml")
    assert shipped.found("load/images/car.png") == "load/images/car.png"
    assert shipped.found("load/none.png") == "load/none.png"


def test_the_module_is_the_program() -> None:
    command = [sys.executable, "-m", "studio", "--version"]
    answer = subprocess.run(
        command, capture_output=True, text=True, env=environment(), cwd=REPOSITORY
    )
    assert answer.returncode == 0
    assert answer.stdout.startswith("studio ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "reconstruct", "--trian"], "did you mean '--train'?"),
        (["--confg=reconstruct", "--train"], "did you mean '--config'?"),
        (["run", "reconstruct", "--exprot"], "did you mean '--export'?"),
        (["doctor", "--lits"], "did you mean '--list'?"),
        (["doctor", "seed=1"], "--doctor takes no 'seed=1'."),
        (["list", "hash-sdf", "levels=4"], "--list takes no 'levels=4'."),
        (
            ["run", "reconstruct", "data.root=.", "exporter.formats=[glb]"],
            "did you mean 'system.exporter'?",
        ),
        (
            ["run", "reconstruct", "data.root=.", "system.faces=100"],
            "did you mean 'system.exporter.faces'?",
        ),
    ],
)
def test_misspelt_and_misplaced_words_name_the_right_ones(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
