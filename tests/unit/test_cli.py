"""The command line from outside: verbs, messages, exit codes, interruption and exact resuming."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from studio.app.cli import main
from studio.errors import WeightsError
from studio.io.files import write_json
from studio.runs.checkpoints import load_checkpoint, plain_tree
from tests.conftest import REPOSITORY, Launch, environment

RUN = Path("outputs/tiny/run")


def run_here(*words: str) -> int:
    """The command line inside this process."""
    os.environ.pop("STUDIO_RUN_DIR", None)
    try:
        return main(list(words))
    finally:
        os.environ.pop("STUDIO_RUN_DIR", None)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)["state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


# --- looking around -----------------------------------------------------------------------------


def test_help_and_list_do_not_import_torch(project: Path) -> None:
    for words in (["--help"], ["--list"]):
        code = (
            "import sys; sys.argv = ['launch.py']\n"
            "from studio.app.cli import main\n"
            f"try: main({words!r})\n"
            "except SystemExit: pass\n"
            "heavy = {'torch', 'pytorch_lightning', 'diffusers'} & set(sys.modules)\n"
            "print('HEAVY', sorted(heavy))"
        )
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
        )
        assert "HEAVY []" in answer.stdout, answer.stderr


def test_help_and_list_are_quick(project: Path, launch: Launch) -> None:
    for words in ("--help", "--list"):
        before = os.times()
        assert launch(words).returncode == 0
        after = os.times()  # processor time: other programs on the machine do not count
        seconds = after.children_user + after.children_system
        assert seconds - before.children_user - before.children_system < 1.0


def test_list_shows_kind_name_line_and_origin(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert "system:\n" in text
    assert "Learns to add four numbers" in text
    assert "[custom/tiny-net]" in text
    assert "studio/geometry/" in text


def test_doctor_tells_what_is_missing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "load" / "nano" / "empty-method").mkdir(parents=True)
    assert main(["--doctor"]) == 0
    text = capsys.readouterr().out
    assert f"torch {torch.__version__}" in text
    assert "pytorch-lightning" in text
    assert "empty-method holds no file of weights: train it or fetch it again" in text


def test_a_reader_that_leaves_is_no_error(project: Path) -> None:
    command = f"{sys.executable} {REPOSITORY / 'launch.py'} --list | true; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment()
    )
    assert answer.stdout.strip() == "0"
    assert answer.stderr == ""


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--train"], "--config is missing"),
        (["--config", "tiny.yaml"], "nothing to do"),
        (["--config", "tiny.yaml", "--train", "max_steps"], "'max_steps' is not key=value"),
        (["--config", "tiny.yaml", "--train", "--steps=3"], "--help says what they do"),
        (["--config", "tiny.yaml", "--train", "-x"], "'-x' is an option that does not exist"),
        (["--config", "none.yaml", "--train"], "none.yaml does not exist"),
        (["--config", "tiny.yaml", "--train", "system.lrr=1"], "did you mean 'system.lr'"),
        (["--config", "tiny.yaml", "--train", "data.missing=true"], "the picture is missing"),
        (["--config", "tiny.yaml", "--export", "resume=last"], "resume is 'last'"),
        (["--config", "tiny.yaml", "--train", "resume=x.ckpt"], "x.ckpt does not exist"),
        (["--config", "tiny.yaml", "--train", "checkpoint=x.ckpt"], "x.ckpt does not exist"),
        (["--config", "tiny.yaml", "--export"], "--export needs something trained"),
        (["--config", "tiny.yaml", "--train", "trainer.accelerator=abacus"], "is 'abacus'"),
        (["--config", "tiny.yaml", "--train", "trainer.accelerator=mps"], "has no float64"),
        (["--config", "tiny.yaml", "--train", "trainer.precision=17"], "trainer.precision is '17'"),
    ],
)
def test_mistakes_end_with_one_message_and_leave_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert run_here(*words) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
    assert not Path("outputs").exists()


def test_verbose_shows_the_traceback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "system.lrr=1", "--verbose") == 2
    assert "Traceback" in capsys.readouterr().err


# --- training -----------------------------------------------------------------------------------


def test_train_and_export_then_export_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "--export") == 0
    output = capsys.readouterr()
    assert output.err == ""
    last_line = output.out.splitlines()[-1]
    assert last_line == str(RUN / "export" / "weights.pt")
    exported = torch.load(last_line, weights_only=True)
    names = sorted(p.name for p in (RUN / "ckpts").iterdir())
    assert names == ["last.ckpt", "step=00000020.ckpt", "step=00000030.ckpt"]
    for path in ("configs/config.yaml", "configs/environment.json", "configs/code.zip", "cmd.txt"):
        assert (RUN / path).is_file()
    assert "train/loss" in (RUN / "logs" / "metrics.csv").read_text()

    trained = weights(RUN / "ckpts" / "last.ckpt")
    mean = load_checkpoint(RUN / "ckpts" / "last.ckpt")["callbacks"]["EMA"]["shadow"]
    for name in trained:  # the mean is exported, and it is not the weights of the last step
        torch.testing.assert_close(exported[name], mean[name], rtol=0, atol=0)
        assert not torch.equal(exported[name], trained[name])

    Path(last_line).unlink()
    saved_config = str(RUN / "configs" / "config.yaml")
    assert run_here("--config", saved_config, "--export", "resume=last") == 0
    assert capsys.readouterr().out.splitlines()[-1] == last_line
    repeated = torch.load(last_line, weights_only=True)
    for name in exported:
        torch.testing.assert_close(repeated[name], exported[name], rtol=0, atol=0)


def test_killed_run_resumes_exactly(project: Path, launch: Launch) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "tag=whole") == 0
    killed = launch(
        "--config", "tiny.yaml", "--train", "system.signal_at=17", f"system.signal={signal.SIGKILL}"
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(RUN / "ckpts" / "last.ckpt")["global_step"] == 10
    assert run_here("--config", "tiny.yaml", "--train", "resume=last") == 0
    assert_same_weights(RUN / "ckpts" / "last.ckpt", Path("outputs/tiny/whole/ckpts/last.ckpt"))
    first, second = (
        load_checkpoint(Path(f"outputs/tiny/{tag}/ckpts/last.ckpt"))["callbacks"]["EMA"]
        for tag in ("run", "whole")
    )
    for name in first["shadow"]:
        torch.testing.assert_close(first["shadow"][name], second["shadow"][name], rtol=0, atol=0)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_tells_how_to_go_on(
    project: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    before = signal.getsignal(number)
    words = ["system.signal_at=13", f"system.signal={number}"]
    assert run_here("--config", "tiny.yaml", "--train", *words) == 128 + number
    assert signal.getsignal(number) == before
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert f"resume={RUN / 'ckpts' / 'last.ckpt'}" in error
    assert load_checkpoint(RUN / "ckpts" / "last.ckpt")["global_step"] == 14
    assert run_here("--config", "tiny.yaml", "--train", "tag=whole") == 0
    assert run_here("--config", "tiny.yaml", "--train", "resume=last") == 0
    assert_same_weights(RUN / "ckpts" / "last.ckpt", Path("outputs/tiny/whole/ckpts/last.ckpt"))


def test_a_run_goes_on_in_its_own_folder_and_another_one_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=2") == 0
    on = ("--config", "tiny.yaml", "--train", "trainer.max_steps=3")
    for elsewhere in ("tag=mine", "name=other", "exp_root_dir=there"):
        for of in (RUN, RUN / "ckpts" / "last.ckpt"):
            capsys.readouterr()
            assert run_here(*on, f"resume={of}", elsewhere) == 2
            error = capsys.readouterr().err
            assert f"{elsewhere} beside resume=" in error and f"its own folder, {RUN}." in error
            assert f"checkpoint={RUN / 'ckpts' / 'last.ckpt'} {elsewhere}" in error
    assert sorted(p.name for p in Path().iterdir()) == ["custom", "outputs", "tiny.yaml"]
    own = ("tag=run", "name=tiny", f"exp_root_dir={Path('outputs').absolute()}")
    assert run_here(*on, f"resume={RUN}", *own) == 0


def test_what_was_stopped_before_its_first_checkpoint_is_begun_anew(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = ("--config", "tiny.yaml", "--train", "resume=last", "trainer.max_steps=2")
    assert run_here(*on) == 0  # nothing was begun
    assert f"there is no checkpoint yet, training begins at step 0 in {RUN}\n" in (
        capsys.readouterr().out
    )
    shutil.rmtree(RUN / "ckpts")
    write_json(RUN / "logs" / "stage-views.json", {})
    assert run_here(*on) == 0
    assert f"in {RUN}; what is finished there stays: views\n" in capsys.readouterr().out
    assert run_here(*on) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_going_on_with_other_options_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=10") == 0
    on = ("--config", "tiny.yaml", "--train", "resume=last")
    capsys.readouterr()
    assert run_here(*on, "trainer.max_steps=20") == 0
    assert "WARNING" not in capsys.readouterr().out
    assert run_here(*on, "trainer.max_steps=30", "system.lr=0.5", "seed=7") == 0
    assert "other options: seed 0 -> 7; system.lr 0.01 -> 0.5\n" in capsys.readouterr().out


def test_truncated_checkpoint_names_the_previous_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train") == 0
    last = RUN / "ckpts" / "last.ckpt"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert run_here("--config", "tiny.yaml", "--train", "resume=last") == 2
    error = capsys.readouterr().err
    assert str(last) in error
    assert f"{len(whole) // 2} bytes" in error
    good = RUN / "ckpts" / "step=00000020.ckpt"  # that of step 30 is the same file
    assert f"resume={good}" in error
    assert run_here("--config", "tiny.yaml", "--train", f"resume={good}") == 0


def test_checkpoint_of_another_model(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=2") == 0
    own = (RUN / "configs" / "config.yaml").read_bytes()
    for verb in ("--train", "--export"):
        capsys.readouterr()
        assert run_here("--config", "tiny.yaml", verb, "resume=last", "system.width=8") == 2
        assert "does not fit this config's model" in capsys.readouterr().err
        assert (RUN / "configs" / "config.yaml").read_bytes() == own, "the run's own stays"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "step 12: loss = nan (train/loss = nan"),
        (["system.nan_gradient=true"], "step 12: the gradient of net.0.bias is not finite"),
    ],
)
def test_nan_stops_before_the_weights(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "system.nan_at=12", *words) == 2
    assert text in capsys.readouterr().err
    saved = weights(RUN / "ckpts" / "last.ckpt")
    assert all(torch.isfinite(value).all() for value in saved.values())


def test_weights_only_start(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "tag=first") == 0
    start = "checkpoint=outputs/tiny/first/ckpts/last.ckpt"
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=1", start) == 0
    assert load_checkpoint(RUN / "ckpts" / "last.ckpt")["global_step"] == 1
    assert "weights: outputs/tiny/first/ckpts/last.ckpt (step 30)" in capsys.readouterr().out


# --- checkpoints --------------------------------------------------------------------------------


class Opens:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("opened",))


def test_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "extra": Opens()}, "trap.ckpt")
    with pytest.raises(WeightsError, match=r"need pickle[\s\S]*allow_pickle=true"):
        load_checkpoint("trap.ckpt")
    assert not Path("opened").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"x\.ckpt is damaged or cut short: {len(content)} b"):
        load_checkpoint(path)


def test_weights_that_are_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match="holds no state_dict"):
        load_checkpoint(tmp_path / "x.ckpt")


def test_plain_tree_names_what_it_cannot_hold() -> None:
    import numpy as np

    plain = plain_tree({"a": np.float64(1), "b": (np.ones(2), Path("x")), "c": {1}})
    assert plain["a"] == 1.0 and type(plain["a"]) is float
    assert torch.equal(plain["b"][0], torch.ones(2, dtype=torch.float64))
    assert (plain["b"][1], plain["c"]) == ("x", [1])
    with pytest.raises(TypeError, match=r"checkpoint\.a\.b\[0\] is a Opens"):
        plain_tree({"a": {"b": [Opens()]}})
