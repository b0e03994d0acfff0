"""`--filter-views`: which objects of a views_release folder can be trained on."""

from __future__ import annotations

import errno
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.cli import main
from studio.data import filter_views
from studio.data.filter_views import FilterConfig, inspect, object_folders, scan
from studio.data.views_release import ViewsReleaseData
from studio.registry import build

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
