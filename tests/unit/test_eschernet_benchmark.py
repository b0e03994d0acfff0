"""`python -m benchmarks.eschernet`: from folders of objects to metrics.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks.eschernet import main
from benchmarks.nano_eschernet import figures, gain, nearest, positions
from studio.data.training.eschernet_eval import EscherNetEvalData
from studio.data.training.eschernet_eval_frames import EvalConfig
from studio.io.images import to_uint8
from studio.metrics.image import psnr
from studio.views import ViewSet
from tests.unit.test_eschernet import tiny
from tests.unit.test_eschernet_eval import ring, write_views

SIDE = 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two objects of 25 views, and a folder that is none."""
    for name, elevation in (("cup", 10.0), ("dog", 40.0)):
        write_views(tmp_path / "gso" / name / "render_mvs_25" / "model", ring(25, elevation))
    (tmp_path / "gso" / "notes").mkdir()
    return tmp_path / "gso"


def measured(out: Path, *words: str) -> dict[str, Any]:
    assert main([*words, "--out", str(out)]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_made_views_of_several_objects(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The authors' strips, one of them 0.2 darker in the measured views only."""
    for name, shade in (("cup", 0.0), ("dog", 0.2)):
        cfg = EvalConfig(root=str(root / name), resolution=SIDE, compositing="released")
        truth = EscherNetEvalData(cfg).ground_truth()
        assert truth is not None
        rgb = truth.rgb_on()
        rgb[10:] = (rgb[10:] - shade).clamp(min=0)
        if name == "dog":
            want = sum(psnr(a, b) for a, b in zip(rgb[10:], truth.rgb_on()[10:], strict=True))
        folder = tmp_path / "logs" / "N2M25" / name
        folder.mkdir(parents=True)
        Image.fromarray(to_uint8(torch.cat(list(rgb), 2))).save(folder / "0.png")
    words = (
        str(root),
        "--references",
        "2",
        "--made",
        str(tmp_path / "logs"),
        "--resolution",
        str(SIDE),
    )
    found = measured(tmp_path / "out", *words)["references"]["2"]
    cup, dog = found["objects"]["cup"], found["objects"]["dog"]
    assert cup["psnr"] == "inf" and cup["ssim"] == pytest.approx(1.0)
    assert dog["psnr"] == pytest.approx(want / 15, abs=1e-3)
    assert [row["view"] for row in dog["views"]] == list(range(10, 25))
    assert dog["references"] == [0, 1] and dog["nearest"]["psnr"] > 10
    assert found["metrics"]["ssim"] == pytest.approx((1 + dog["ssim"]) / 2)
    assert (tmp_path / "out" / "N2M25" / "dog.png").is_file()
    printed = capsys.readouterr()
    assert "left out: notes" in printed.err and "| 2 | " in printed.out


def test_views_are_made_and_can_be_measured_again(root: Path, tmp_path: Path) -> None:
    tiny(azimuths=2).save_pretrained(tmp_path / "weights")
    words = (str(root / "cup"), "--references", "1", "3", "--weights", str(tmp_path / "weights"))
    first = measured(tmp_path / "out", *words, "steps=1")
    assert first["options"] == ["steps=1"] and list(first["references"]) == ["1", "3"]
    figures = {n: part["metrics"] for n, part in first["references"].items()}
    assert figures["1"]["psnr"] != figures["3"]["psnr"]
    words = (str(root / "cup"), "--references", "3", "--resolution", str(SIDE))
    again = measured(tmp_path / "again", *words, "--made", str(tmp_path / "out"))
    assert again["references"]["3"]["metrics"] == pytest.approx(figures["3"], rel=1e-3)


def test_what_cannot_be_measured(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    made = ("--made", str(tmp_path / "empty"), "--references", "1")
    assert main([str(tmp_path / "empty"), *made]) == 2
    assert "no object of type GSO25" in capsys.readouterr().err
    assert main([str(root / "cup"), *made]) == 2
    assert "25 views" in capsys.readouterr().err
    assert main([str(root / "cup"), "--weights", str(tmp_path / "none")]) == 2


# ------------------------------------------------------------------------------- nano references


def test_fewer_references_are_among_more_and_lie_apart() -> None:
    for ring_size in (12, 16, 36):
        order = positions(10, ring_size)
        assert len(set(order)) == 10 and all(0 <= k < ring_size for k in order)
        assert all(positions(n, ring_size) == order[:n] for n in range(1, 10))
    three = sorted(positions(3, 16))
    gaps = [(b - a) % 16 for a, b in zip(three, three[1:] + three[:1], strict=True)]
    assert min(gaps) >= 4
    with pytest.raises(ValueError, match="17 references"):
        positions(17, 16)


def test_gains_are_those_of_pairs() -> None:
    pixels = torch.rand(2, 16, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    objects = [ViewSet(rgba, ring(16, 30.0)) for rgba in pixels]
    fair = [k for k in range(16) if k not in positions(3, 16)]
    found = {}
    for count in (1, 3):
        near = [nearest(views, positions(count, 16)) for views in objects]
        assert torch.equal(near[0].images[0], objects[0].images[0])
        found[f"nearest of {count}"] = figures(near, objects, fair)
    row = gain(found, "nearest of 3", "nearest of 1")
    one, three = (found[f"nearest of {n}"]["PSNR"] for n in (1, 3))
    differences = [b - a for a, b in zip(one, three, strict=True)]
    assert row["PSNR"] == pytest.approx(sum(differences) / 2)
    assert row["PSNR error"] == pytest.approx(abs(differences[0] - differences[1]) / 2)
    assert row["share"] == sum(d > 0 for d in differences) / 2
