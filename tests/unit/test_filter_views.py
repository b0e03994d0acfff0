"""`--filter-views`: which objects of a views_release folder can be trained on."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
import time
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.app.cli import main
from studio.data.training import filter_views
from studio.data.training.filter_views import FilterConfig, inspect, object_folders, scan
from studio.data.training.views_release import ViewsReleaseData
from studio.plugins.options import build

VIEWS = 4
WORDS = (f"views={VIEWS}", "transparent=2", "processes=1")


def make_object(folder: Path, transparent: int = 0) -> None:
    """Views with an object in the middle, the first ones without."""
    folder.mkdir(parents=True)
    for k in range(VIEWS):
        pixels = np.zeros((8, 8, 4), dtype=np.uint8)
        pixels[..., :3] = 90
        if k >= transparent:
            pixels[3, 3, 3] = 1  # barely there, but there
        Image.fromarray(pixels).save(folder / f"{k:03d}.png")
        np.save(folder / f"{k:03d}.npy", np.eye(4)[:3])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Valid: a, b (one view empty), shard/e. The others: c empty, d cut off, f, g and h."""
    root = tmp_path / "views_release"
    for name, transparent in {"a": 0, "b": 1, "c": 2, "d": 0, "shard/e": 0, "f": 0, "g": 0}.items():
        make_object(root / name, transparent)
    whole = (root / "d" / "002.png").read_bytes()
    (root / "d" / "002.png").write_bytes(whole[: len(whole) // 2])
    (root / "f" / "003.npy").unlink()
    np.save(root / "g" / "001.npy", np.eye(4))
    (root / "h").mkdir()
    return root


def lists(root: Path) -> tuple[list[str], dict[str, list[str]]]:
    texts = [(root / f"{name}_paths.json").read_text() for name in ("valid", "invalid")]
    return json.loads(texts[0]), json.loads(texts[1])


def test_lists(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(p for p in root.rglob("*"))
    assert main(["--filter-views", str(root), *WORDS]) == 0
    valid, invalid = lists(root)
    assert valid == ["a", "b", "shard/e"]
    assert invalid == {
        "too_few_views": ["f", "h"],
        "transparent": ["c"],
        "unreadable": ["d", "g"],
    }
    written = {root / "valid_paths.json", root / "invalid_paths.json"}
    assert sorted(p for p in root.rglob("*") if p not in written) == before  # nothing moved or left
    text = capsys.readouterr().out
    assert "3 of 8 objects are valid" in text and "f: no 003.npy" in text
    assert "c: 2 of 4 views" in text and "002.png" in text


def test_the_lists_can_be_trained_from(root: Path) -> None:
    assert main(["--filter-views", str(root), *WORDS]) == 0
    given = {"root": str(root), "size": 8, "total_view": VIEWS, "references": 1}
    data = build("data", "views-release", given, key="data")
    assert isinstance(data, ViewsReleaseData) and data.paths == ["a", "b", "shard/e"]
    for index in range(2):
        assert data.dataset("train")[index]["ref_images"].shape == (1, 3, 8, 8)
    given |= {"invalid": "invalid_paths.json", "objects": "all.txt"}
    (root / "all.txt").write_text("\n".join(object_folders(root)))
    assert build("data", "views-release", given, key="data").paths == data.paths


def test_several_processes_find_the_same(root: Path) -> None:
    for k in range(12):
        make_object(root / f"more{k:02d}", k % 4)
    cfg = FilterConfig(views=VIEWS, transparent=2, processes=2)
    names = list(object_folders(root))
    assert len(names) == 20
    began = time.monotonic()
    assert scan(root, names, cfg) == [inspect(root, cfg, name) for name in names]
    assert time.monotonic() - began < 20


def test_a_stopped_scan_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def stopping(folder: Path, cfg: FilterConfig, name: str) -> filter_views.Finding:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(name)
        return inspect(folder, cfg, name)

    monkeypatch.setattr(filter_views, "inspect", stopping)
    assert main(["--filter-views", str(root), *WORDS]) == 130
    journal = root / "valid_paths.progress.jsonl"
    assert seen == ["a", "b", "c"] and not (root / "valid_paths.json").exists()
    with journal.open("a") as file:
        file.write('{"name": "d", "sta')  # as a killed process leaves it
    monkeypatch.setattr(filter_views, "inspect", inspect)
    (root / "a" / "000.png").unlink()  # known already, so not looked at again
    assert main(["--filter-views", str(root), *WORDS]) == 0
    assert lists(root)[0] == ["a", "b", "shard/e"] and not journal.exists()
    assert main(["--filter-views", str(root), *WORDS]) == 0  # a new scan sees it
    assert lists(root)[0] == ["b", "shard/e"]


def test_other_options_start_anew(root: Path) -> None:
    cfg = FilterConfig(views=VIEWS, transparent=2, processes=1)
    scan(root, ["a", "b", "c"], cfg)
    strict = FilterConfig(views=VIEWS, transparent=1, processes=1)
    assert [f.state for f in scan(root, ["a", "b", "c"], strict)] == [
        "valid",
        "transparent",
        "transparent",
    ]


def test_lists_given_are_filtered_in_their_order(root: Path) -> None:
    (root / "valid_paths.json").write_text(json.dumps(["shard/e", "c", "gone", "a"]))
    assert main(["--filter-views", str(root), *WORDS]) == 2  # would overwrite somebody's list
    assert main(["--filter-views", str(root), *WORDS, "objects=valid_paths.json"]) == 0
    valid, invalid = lists(root)
    assert valid == ["shard/e", "a"]
    assert invalid["too_few_views"] == ["gone"] and invalid["transparent"] == ["c"]


def test_objects_are_moved_only_when_asked(root: Path) -> None:
    assert main(["--filter-views", str(root), *WORDS, "move=../invalid"]) == 0
    assert sorted(p.name for p in (root.parent / "invalid").iterdir()) == ["c", "d", "f", "g", "h"]
    assert list(object_folders(root)) == ["a", "b", "shard/e"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["move=away"], "outside"),
        (["views=0"], "1 to 10000"),
        (["view=4"], "did you mean 'views'"),
        (["objects=none.json"], "none.json"),
    ],
)
def test_words_that_cannot_be_used(
    root: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--filter-views", str(root), *words]) == 2
    assert text in capsys.readouterr().err
    assert not (root / "valid_paths.json").exists()


def test_folders_without_valid_objects(root: Path, tmp_path: Path) -> None:
    assert main(["--filter-views", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["--filter-views", str(tmp_path / "empty")]) == 2
    assert main(["--filter-views", str(root), "views=9", "processes=1"]) == 2
    assert lists(root)[0] == []  # said on disk, too


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("stop", range(3))
def test_a_kill_while_objects_are_moved_loses_no_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, stop: int, across: bool
) -> None:
    """Also onto another disk, where moving is copying and removing."""
    words = ["--filter-views", str(root), *WORDS, "move=../invalid"]
    rename, moved = Path.rename, []

    def renamed(self: Path, target: Path) -> Path:
        if across and ".tmp" not in self.name:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        if len(moved) == stop:
            raise KeyboardInterrupt
        moved.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    assert main(words) == 130
    monkeypatch.undo()
    if across:  # killed before the last step
        shutil.copytree(root / "h", root.parent / "invalid" / "h")
    assert main(words) == 0
    valid, invalid = lists(root)
    assert valid == ["a", "b", "shard/e"]
    assert sorted(sum(invalid.values(), [])) == ["c", "d", "f", "g", "h"]
    assert sorted(p.name for p in (root.parent / "invalid").iterdir()) == ["c", "d", "f", "g", "h"]
    assert not [p for p in root.iterdir() if p.name in "cdfgh" or "progress" in p.name]


def state(root: Path) -> dict[str, bytes | None]:
    """Everything beside and below the root, by path."""
    found = sorted(root.parent.rglob("*"))
    return {str(p.relative_to(root.parent)): p.read_bytes() if p.is_file() else None for p in found}


COMMANDS = {
    "all": (),
    "moved": ("move=../invalid",),
    "listed": ("objects=all.txt", "move=../invalid"),
    "itself": ("objects=valid_paths.json", "move=../invalid"),
    "itself, in place": ("objects=valid_paths.json",),
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, root: Path) -> list[str]:
    """A command on objects of which whole shards are invalid, and one of a list is not there."""
    for name in ("b", "d", "g"):  # fewer will do
        shutil.rmtree(root / name)
    for name in ("lost/i", "lost/j"):
        make_object(root / name, 3)
    words = COMMANDS[request.param]
    names = ["shard/e", "lost/j", "c", "nowhere", "a", "lost/i", "f"]
    for word in words:
        if word == "objects=all.txt":
            (root / "all.txt").write_text("\n".join(names))
        elif word.startswith("objects="):
            (root / "valid_paths.json").write_text(json.dumps(names))
    return ["--filter-views", str(root), *WORDS, *words]


def test_a_finished_command_repeated_changes_nothing(root: Path, command: list[str]) -> None:
    assert main(command) == 0
    before = state(root)
    assert main(command) == 0
    assert state(root) == before
    assert sorted(lists(root)[1]["transparent"]) == ["c", "lost/i", "lost/j"]


def test_a_command_stopped_before_any_change_and_repeated_ends_equal(
    root: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Stopped before each change to files; what a list names is moved onto another disk."""
    start = tmp_path_factory.mktemp("start") / root.name
    copytree(root, start)
    done, stop, across = 0, -1, any("objects=all" in word for word in command)

    def counted(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def change(*args: Any, **kwargs: Any) -> Any:
            nonlocal done, stop
            done += name != "open" or "w" in str(args) or "a" in args[1:]
            if done == stop:
                stop = -1
                raise KeyboardInterrupt
            if across and name == "rename" and ".tmp" not in args[0].name:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, change)

    for name in ("mkdir", "open", "rename", "replace", "rmdir", "unlink", "write_bytes"):
        counted(Path, name)
    counted(filter_views, "_report")
    counted(shutil, "copytree")
    assert main(command) == 0
    wanted = state(root)
    for number in itertools.count(1):
        shutil.rmtree(root.parent)
        root.parent.mkdir()
        copytree(start, root)
        done, stop = 0, number
        code = main(command)
        assert code == (130 if stop < 0 else 0)
        stop = -1
        assert main(command) == 0
        assert state(root) == wanted, f"stopped before change {number}"
        if code == 0:
            break
    assert number > 5


def test_objects_that_were_moved_are_not_lost_when_others_follow(root: Path) -> None:
    words = ["--filter-views", str(root), *WORDS, "move=../invalid"]
    assert main(words) == 0
    make_object(root / "k", 3)
    make_object(root / "l")
    assert main([*words, "transparent=3"]) == 0
    valid, invalid = lists(root)
    assert valid == ["a", "b", "l", "shard/e"]
    assert invalid == {
        "too_few_views": ["f", "h"],
        "transparent": ["c", "k"],
        "unreadable": ["d", "g"],
    }
    shutil.move(root.parent / "invalid" / "f", root / "f")
    shutil.copy(root / "a" / "003.npy", root / "f")  # mended and put back
    assert main(words) == 0
    assert lists(root)[0] == ["a", "b", "f", "l", "shard/e"]
    assert lists(root)[1]["too_few_views"] == ["h"]


@pytest.mark.parametrize("text", ['["a", "b"]', '{"why": ["a"]}', '{"unreadable": [1]}', "{"])
def test_lists_of_others_that_are_not_ours_are_left_alone(
    root: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "invalid_paths.json"
    path.write_text(text)
    assert main(["--filter-views", str(root), *WORDS]) == 2
    assert "invalid_paths.json" in (said := capsys.readouterr().err) and "invalid=<" in said
    assert path.read_text() == text
    assert main(["--filter-views", str(root), *WORDS, "invalid=others.json"]) == 0
