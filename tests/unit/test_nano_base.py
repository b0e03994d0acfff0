"""The benchmark of Zero-1-to-3 models alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.nano_base import Objects, main

TRAINING = "configs/train/nano128-base.yaml"


def test_answers_are_measured_at_one_resolution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--objects", "1", "--steps", "1", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "figures.json").read_text())["objects"]
    assert found["input repeated"]["PSNR"][0] > found["white"]["PSNR"][0]
    assert found["load/nano/zero123-any"]["PSNR"][0] > found["input repeated"]["PSNR"][0] + 3
    assert "| car |" in capsys.readouterr().out
    assert (tmp_path / "views.png").is_file()


def test_true_views_are_like_themselves_and_photos_are_of_the_same_side() -> None:
    framed, photos = (Objects(TRAINING, 1, 1, photos) for photos in (False, True))
    assert framed.figures(framed.truth)["PSNR"][0] > 60
    assert photos.given[0].image is not None and framed.given[0].image is not None
    assert photos.given[0].image.shape == framed.given[0].image.shape == (4, 128, 128)
    assert not torch.equal(photos.given[0].image, framed.given[0].image)
    assert -20 <= (photos.given[0].elevation_deg or 0) <= 70
