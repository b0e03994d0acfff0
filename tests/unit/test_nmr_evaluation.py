"""Evaluation on NMR with a tiny model of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.nmr import build_guidance, chosen, main
from studio.data.training.nmr_archive import open_archive
from tests.nmr_files import write_archive

MODEL = [
    "resolution=16",
    "inner_channel=16",
    "channel_mults=[1]",
    "attn_res=[]",
    "norm_groups=8",
    "patch=4",
    "steps=1",
]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    none = (0, 0, 0)
    counts = {"train": none, "val": none, "test": (2, 1, 1)}
    return write_archive(tmp_path_factory.mktemp("nmr"), counts, size=16)


def evaluate(top: Path, out: Path, *words: str, options: list[str] = MODEL) -> int:
    command = [str(top), "--weights", "", "--out", str(out), "--sheets", "1", *words, *options]
    torch.manual_seed(0)  # of the random weights
    return main(command)


def result(out: Path) -> dict[str, Any]:
    return json.loads((out / "metrics.json").read_text())["counts"]


def test_choices_are_functions_of_the_name() -> None:
    inputs, targets = chosen("02691156-a", "3", 6, one=True)
    assert len(inputs) == 3 and len(targets) == 1 and targets[0] not in inputs
    assert chosen("02691156-a", "6", 6, one=True)[0][:3] == inputs, "more inputs, the same first"
    assert chosen("02691156-a", "3", 6, one=False) == (inputs, list(range(24)))
    numbers = {len(chosen(f"02691156-{i}", "variable", 6, one=True)[0]) for i in range(60)}
    assert numbers == {1, 2, 3, 4, 5, 6}
    assert chosen("02691156-b", "3", 6, one=True) != (inputs, targets)


def test_every_object_once_per_category_and_number_of_inputs(top: Path, tmp_path: Path) -> None:
    assert evaluate(top, tmp_path, "--counts", "2,variable") == 0
    found = result(tmp_path)
    assert set(found) == {"2", "variable"}
    assert {k: v["objects"] for k, v in found["2"].items()} == {
        "total": 4,
        "airplane": 2,
        "car": 1,
        "chair": 1,
    }
    assert found["2"]["total"]["pictures"] == 4 * 22, "views that are no inputs"
    rows = [json.loads(line) for line in (tmp_path / "rows-1of1.jsonl").read_text().splitlines()]
    two = [row for row in rows if row["count"] == "2"]
    mean = sum(v["made"]["psnr"] for r in two for v in r["views"] if not v["is_input"]) / 88
    assert found["2"]["total"]["metrics"]["psnr"] == pytest.approx(mean)
    views = two[0]["views"]
    exact = [v for v in views if v["view"] in two[0]["inputs"]]
    assert len(exact) == 2 and all(v["is_input"] for v in exact)
    assert all(v["nearest"]["psnr"] == float("inf") for v in exact), "the input is the answer"
    assert len(list((tmp_path / "sheets").iterdir())) == 2


def test_parts_and_stopped_runs_give_the_same_figures(top: Path, tmp_path: Path) -> None:
    words = ("--counts", "1", "--targets", "one")
    assert evaluate(top, tmp_path / "whole", *words) == 0
    whole = result(tmp_path / "whole")
    assert whole["1"]["total"]["pictures"] == 4
    for part in ("1/2", "2/2"):
        assert evaluate(top, tmp_path / "parts", *words, "--part", part) == 0
    assert result(tmp_path / "parts") == whole
    rows = tmp_path / "whole" / "rows-1of1.jsonl"
    rows.write_text(rows.read_text()[:-40])  # killed while it wrote
    assert evaluate(top, tmp_path / "whole", *words) == 0
    assert result(tmp_path / "whole") == whole
    assert len(rows.read_text().splitlines()) == 5, "the broken line and the one made again"


def test_other_settings_are_not_mixed_in(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--counts", "1", "--targets", "one", "--objects", "1")
    assert evaluate(top, tmp_path, *words) == 0
    assert evaluate(top, tmp_path, *words, options=[*MODEL[:-1], "steps=2"]) == 2
    assert "another options" in capsys.readouterr().err


def test_pictures_at_hand_make_the_nearest_answer(top: Path) -> None:
    archive = open_archive(top)
    assert len(archive.keys("test")) == 4
    with pytest.raises(SystemExit):
        main([str(top), "--counts", "24"])
    assert main([str(top.parent / "nothing"), "--weights", "", *MODEL]) == 2


def test_saved_weights_bring_their_network(top: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build_guidance("", MODEL).save_pretrained(tmp_path / "weights")
    command = [str(top), "--weights", str(tmp_path / "weights"), "--out", str(tmp_path / "out")]
    assert main([*command, "--counts", "1", "--targets", "one", "--sheets", "0"]) == 0
    assert evaluate(top, tmp_path / "same", "--counts", "1", "--targets", "one") == 0
    saved, given = (result(tmp_path / name)["1"]["total"] for name in ("out", "same"))
    assert saved["metrics"] == pytest.approx(given["metrics"], rel=1e-4)
    assert main([str(top), "--weights", "nowhere", "--out", str(tmp_path / "no")]) == 2
    assert main([str(top), "--weights", "", "--out", str(tmp_path / "no"), "stepps=3"]) == 2
