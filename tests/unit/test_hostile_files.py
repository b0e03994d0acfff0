"""Files that others damaged or made up: each is refused in a sentence, without harm."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.app.early_checks import check_early
from studio.config import MOST_CONFIG, read_experiment
from studio.errors import ConfigError, DataError, StudioError, WeightsError
from studio.geometry.instant_nsr_checkpoint import read_instant_nsr
from studio.geometry.neus_checkpoint import read_neus
from studio.guidance.hub import cached
from studio.guidance.licences import CARD, licence_of
from studio.io.pickled import TensorPickle
from studio.io.weights import read_tensors
from studio.io.yaml_text import Plain
from studio.models.sdf.fit_state import checked_state
from studio.plugins.options import build
from studio.plugins.overrides import check_overrides
from studio.plugins.sources import MOST_SOURCE, read_source
from studio.runs.checkpoints import load_checkpoint
from studio.runs.snapshot import pack_code
from tests.conftest import REPOSITORY, environment
from tests.unit.test_captures import RIG, write_ngp
from tests.unit.test_cli import RUN, run_here
from tests.unit.test_instant_nsr import exported, small, small_renderer

# --- weights and checkpoints ----------------------------------------------------------------------


def test_a_pickle_that_speaks_of_many_objects_takes_no_memory() -> None:
    """A dict under the number 2,147,483,647 of the unpickler's notes: 16 GB in that in C."""
    tracemalloc.start()
    try:
        assert TensorPickle.load(io.BytesIO(b"\x80\x02}r\xff\xff\xff\x7f.")) == {}
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_holds_no_more_than_its_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 24))
    for read in (read_tensors, load_checkpoint):
        with pytest.raises(WeightsError, match=r"a\.ckpt"):
            read(tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match="speaks of 16777216 bytes of a/data.pkl"):
        read_tensors(tmp_path / "a.ckpt")


def test_mappings_in_mappings_are_passed_over(tmp_path: Path) -> None:
    nested: dict[str, Any] = {}
    nested["a"] = nested  # without end
    torch.save({"nerf": nested}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="no tensors"):
        read_neus(tmp_path / "a.pth")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    content = exported(small(radius=1.5), small_renderer())
    path = tmp_path / "official.ckpt"
    torch.save({"state_dict": content}, path)
    with pytest.raises(WeightsError, match=r"official\.ckpt: weights of a cube"):
        read_instant_nsr(path, small())
    with pytest.raises(WeightsError, match=r"official\.ckpt: .* numbers, the options make"):
        read_instant_nsr(path, small(radius=1.5, hidden=8))
    del content["model.geometry.network.layers.0.bias"]
    torch.save({"state_dict": content}, path)
    with pytest.raises(WeightsError, match=r"official\.ckpt: the weights lack geometry\.network"):
        read_instant_nsr(path, small(radius=1.5))


def test_one_other_byte_of_a_checkpoint_is_noticed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train") == 0
    last = RUN / "ckpts" / "last.ckpt"
    with zipfile.ZipFile(last) as archive:
        names = [i.filename for i in archive.infolist() if "/data/" in i.filename]
        stored = archive.read(names[0])
    content = bytearray(last.read_bytes())
    content[content.index(stored)] ^= 1
    last.write_bytes(content)
    load_checkpoint(last)  # torch does not look
    for words in (["--train", "resume=last", "trainer.max_steps=40"], ["--export", "resume=last"]):
        capsys.readouterr()
        assert run_here("--config", "tiny.yaml", *words) == 2
        assert f"{last} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pytorch-lightning_version", "nan"), ("loops", {}), ("global_step", "x"),
        ("lr_schedulers", None), ("callbacks", []), ("state_dict", {"a": 1}),
    ],
)  # fmt: skip
def test_a_state_of_another_program_is_refused_in_a_sentence(
    key: str, value: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("--config", "tiny.yaml", "--train", "trainer.max_steps=2") == 0
    last = RUN / "ckpts" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    if value is None:
        del content[key]
    else:
        content[key] = value
    torch.save(content, last)
    capsys.readouterr()
    words = ["--train", "resume=last", "trainer.max_steps=4"]
    assert run_here("--config", "tiny.yaml", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("WeightsError: ") and str(last) in error and "Traceback" not in error


@pytest.mark.parametrize("key", ["step_count", "rays", "elapsed_s"])
def test_the_state_of_a_fit_is_numbers(key: str) -> None:
    state = {"step_count": 3, "rays": 256, "seed": 0, "elapsed_s": 1.5}
    assert checked_state(state) == {**state, "max_steps": 0, "seconds": 0.0}, "of earlier versions"
    with pytest.raises(ValueError, match="x"):
        checked_state({**state, key: "x"})
    with pytest.raises(KeyError):
        checked_state({k: v for k, v in state.items() if k != key})


def test_angles_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "angles.npy", np.full((6, 2), np.nan))
    options = {"root": str(tmp_path), "type": "Franka", "resolution": 16}
    with pytest.raises(DataError, match=r"angles\.npy holds values that are not finite"):
        build("data", "eschernet-eval", options, key="data").condition()


@pytest.mark.parametrize("value", [math.nan, 1e300])
def test_cameras_that_are_no_numbers_in_float32_are_named(tmp_path: Path, value: float) -> None:
    matrix = np.eye(4)
    matrix[3, 0] = value
    for number in range(3):
        camera = {"camera_data": {"cam2world": matrix.tolist()}}
        (tmp_path / f"{number:05}.json").write_text(json.dumps(camera))
    options = {"root": str(tmp_path), "type": "RTMV", "resolution": 16}
    with pytest.raises(StudioError, match=re.escape(str(tmp_path))):
        build("data", "eschernet-eval", options, key="data").targets()


def test_captures_that_give_no_size_are_named(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG[[0, 0, 0]])
    for centre in ("keep", "masks", "look-at-pairs"):
        data = build("data", "capture", {"root": str(tmp_path), "centre": centre}, key="data")
        with pytest.raises(DataError, match=re.escape(str(tmp_path))):
            data.load()


@pytest.mark.parametrize("options", [{"in_channels": {"a": 1}}, {"nothing": 1}])
def test_options_that_describe_no_autoencoder(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="describe no network"):
        build("system", "autoencoder-training", {"autoencoder": options}, key="system")


def test_a_word_of_two_lines_is_shown_on_one() -> None:
    with pytest.raises(ConfigError, match=r"^'a\\nb: c' is not key=value"):
        check_overrides(["a\nb: c"])


def test_numbers_that_never_end_are_words(tmp_path: Path) -> None:
    digits = "9" * 5001
    assert Plain(digits).value == digits
    path = tmp_path / "c.yaml"
    for line in (f"trainer: {{max_steps: {digits}}}", f"system_type: {digits}"):
        path.write_text(f"{line}\n")
        with pytest.raises(StudioError, match="999") as caught:
            check_early(str(path), [])
        assert str(path) in str(caught.value)


# --- configs, cards, the hub's cache --------------------------------------------------------------


def test_configs_are_small_text_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        read_experiment(tmp_path / "pipe.yaml")
    path = tmp_path / "c.yaml"
    for content, text in (
        (b"a: " + b"x" * MOST_CONFIG, "such files have up to"),
        ("name: café".encode("latin-1"), "UnicodeDecodeError"),
        (b"a: [" + b"1, " * 150_000 + b"1]", "too many values: more than 100,000"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"c\.yaml.*{text}"):
            read_experiment(path)


def test_a_card_that_is_none_states_nothing(tmp_path: Path) -> None:
    card = tmp_path / CARD
    os.mkfifo(card)
    assert licence_of(str(tmp_path)) == "not stated"
    card.unlink()
    card.symlink_to("/dev/zero")
    assert licence_of(str(tmp_path)) == "not stated"
    card.unlink()
    card.write_text("---\nlicense: mit\n---\n" + "x" * (2 << 20))
    assert licence_of(str(tmp_path)) == "not stated"


@pytest.mark.parametrize(
    "ref", [b"../../other/snapshots/b", b"/", b"\xff", b"\0", b"", b"x" * 5000]
)
def test_a_broken_ref_leads_nowhere_else(
    ref: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "other/snapshots/b").mkdir(parents=True)
    folder = tmp_path / "models--owner--name"
    (folder / "snapshots" / "a").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_bytes(ref)
    assert cached("owner/name") == folder / "snapshots" / "a"
    (folder / "refs" / "main").unlink()
    os.mkfifo(folder / "refs" / "main")
    assert cached("owner/name") == folder / "snapshots" / "a"


# --- plugins --------------------------------------------------------------------------------------


def test_code_of_endless_files_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    custom = tmp_path / "custom"
    custom.mkdir()
    (custom / "a.py").symlink_to("/dev/zero")
    (custom / "b.py").write_text("x = 1\n")
    os.utime(custom / "b.py", (0, 0))  # zip archives know no time before 1980
    monkeypatch.setenv("STUDIO_CUSTOM", str(custom))
    pack_code(tmp_path / "code.zip")
    with zipfile.ZipFile(tmp_path / "code.zip") as archive:
        kept = [n for n in archive.namelist() if n.startswith("custom/")]
    assert kept == ["custom/b.py"]


def test_sources_are_small_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("#" * (MOST_SOURCE + 1))
    (tmp_path / "b.py").symlink_to("/dev/zero")
    for name in ("a.py", "b.py"):
        with pytest.raises(ValueError, match="it "):
            read_source(tmp_path / name)


def test_a_plugin_of_no_kind_is_spoken_of(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "from studio import register\n@register('nothing', 'odd')\nclass Odd: ...\n"
    (project / "custom" / "odd.py").write_text(source)
    assert run_here("--list") == 0
    assert "custom/odd.py: plugin kind 'nothing' does not exist" in capsys.readouterr().out
    assert run_here("--config", "tiny.yaml", "--train", "system_type=odd") == 2
    assert "custom/odd.py" in capsys.readouterr().err


def test_a_plugin_that_closes_the_streams_is_listed(project: Path) -> None:
    (project / "custom").mkdir(exist_ok=True)
    (project / "custom" / "closing.py").write_text("import os\nfor n in (1, 2): os.close(n)\n")
    words = [sys.executable, str(REPOSITORY / "launch.py"), "--list", "--verbose"]
    given = environment() | {"STUDIO_CUSTOM": str(project / "custom")}
    done = subprocess.run(words, cwd=project, env=given, capture_output=True, text=True)
    assert done.returncode == 0 and "custom plugins are read from" in done.stdout
