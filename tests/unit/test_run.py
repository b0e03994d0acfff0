"""Run folders, stage stamps and hashes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.errors import ConfigError
from studio.progress import RANK_VARIABLES, first_process
from studio.runs.choosing import choose_run, find_resume
from studio.runs.folder import RUN_VARIABLE, RunFolder
from studio.runs.hashing import hash_of


@dataclass
class Options:
    steps: int = 3


@pytest.fixture(autouse=True)
def no_inherited_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (RUN_VARIABLE, "WORLD_SIZE", "SLURM_NTASKS", "SLURM_JOB_START_TIME"):
        monkeypatch.setenv(name, "")  # so that it is taken back after the test
        monkeypatch.delenv(name)


def test_nothing_is_written_before_create(tmp_path: Path) -> None:
    run = choose_run("toy", "a", exp_root_dir=str(tmp_path), use_timestamp=False)
    assert run.root == tmp_path / "toy" / "a"
    assert not run.root.exists()
    run.create().unlock()
    assert sorted(p.name for p in run.root.iterdir()) == sorted(
        ["ckpts", "configs", "views", "save", "export", "logs"]
    )


def test_the_folder_is_chosen_once(tmp_path: Path) -> None:
    first = choose_run("toy", "a", exp_root_dir=str(tmp_path))
    assert first.root.name.startswith("a@")
    assert choose_run("other", "b").root == first.root  # a process started by the first one
    assert os.environ[RUN_VARIABLE] == str(first.root)


def test_several_processes_need_a_common_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="use_timestamp=false"):
        choose_run("toy", "a", exp_root_dir=str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_START_TIME", "1700000000")
    assert choose_run("toy", "a", exp_root_dir=str(tmp_path)).root.name.startswith("a@2023111")


def test_resuming_continues_the_folder(tmp_path: Path) -> None:
    run = choose_run("toy", "a", resume=tmp_path / "toy" / "old" / "ckpts" / "last.ckpt")
    assert run.root == tmp_path / "toy" / "old"


def test_find_resume(tmp_path: Path) -> None:
    root = str(tmp_path)
    for age, folder in enumerate(["a@2", "a@1", "b@9", "a"]):
        path = tmp_path / "toy" / folder / "ckpts" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        os.utime(path, (1000 - age, 1000 - age))
    assert find_resume("last", "toy", "a", root, True).parts[-3] == "a@2"
    assert find_resume("last", "toy", "a", root, False).parts[-3] == "a"
    assert find_resume(f"{root}/toy/a@1", "toy", "a", root, True).parts[-3] == "a@1"
    with pytest.raises(ConfigError, match=r"the newest checkpoint.*a@2"):
        find_resume("last", "toy", "zzz", root, True)
    with pytest.raises(ConfigError, match="does not exist"):
        find_resume("nowhere.ckpt", "toy", "a", root, True)


def test_what_has_no_checkpoint_yet_is_begun_anew_in_training(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert find_resume("last", "toy", "a", root, True, training=True) is None
    run = RunFolder(tmp_path / "toy" / "a@1").create()
    run.write_command(["studio", "run", "toy"])
    for word in ("last", str(run.root), str(run.ckpts)):
        assert find_resume(word, "toy", "a", root, True, training=True) == run.last_checkpoint
        with pytest.raises(ConfigError, match="does not exist|there is no"):
            find_resume(word, "toy", "a", root, True)
    step = run.ckpts / "step=00000010.ckpt"  # killed before it got its second name
    step.write_bytes(b"x")
    assert find_resume("last", "toy", "a", root, True, training=True) == step
    step.rename(run.last_checkpoint)
    with pytest.raises(ConfigError, match=r"the newest checkpoint.*a@1"):  # not that of another tag
        find_resume("last", "toy", "b", root, True, training=True)


def test_stage_is_current_only_with_same_key_and_outputs(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    output = run.views / "0.png"
    output.write_bytes(b"picture")
    assert not run.stage_current("views", "k1")
    run.stage_done("views", "k1", [run.views])
    assert run.stage_current("views", "k1")
    assert not run.stage_current("views", "k2")
    assert not run.stage_current("mesh", "k1")
    output.write_bytes(b"cut")
    assert not run.stage_current("views", "k1")
    output.unlink()
    assert not run.stage_current("views", "k1")


def test_damaged_stamp_means_not_done(tmp_path: Path) -> None:
    run = RunFolder(tmp_path).create()
    run.stage_done("views", "k1")
    stamp = next(run.logs.glob("stage-*.json"))
    stamp.write_text(stamp.read_text()[:10])
    assert not run.stage_current("views", "k1")


def test_hash_follows_content(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"1")
    base = hash_of(Options(), {"b": 1, "a": 2}, file, tmp_path, torch.ones(2), np.ones(2))
    assert base == hash_of(Options(), {"a": 2, "b": 1}, file, tmp_path, torch.ones(2), np.ones(2))
    file.write_bytes(b"2")
    changed = hash_of(Options(), {"b": 1, "a": 2}, file, tmp_path, torch.ones(2), np.ones(2))
    assert changed != base
    different = [
        hash_of(x)
        for x in (1, "1", 1.0, True, None, [1], [[1]], [1, 1], Options(), Options(4), b"1")
    ]
    assert len(set(different)) == len(different)
    with pytest.raises(TypeError, match="cannot hash a object"):
        hash_of(object())


def test_metrics_merge_and_stay_valid_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_metrics({"psnr": 20.0, "loss": float("nan")})
    path = run.write_metrics({"psnr": torch.tensor(21.0), "nested": {"x": np.float32(0.5)}})
    assert json.loads(path.read_text()) == {"psnr": 21.0, "loss": None, "nested": {"x": 0.5}}


def test_commands_are_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_command(["python", "launch.py", "data.image=my picture.png"])
    run.write_command(["studio", "--export"])
    text = (tmp_path / "cmd.txt").read_text()
    assert "python launch.py 'data.image=my picture.png'\n" in text
    assert text.count("# ") == 2


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_one_process_of_a_job_prints(
    variables: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert first_process() is first
