"""`--visualise-epipolar`: lines meet points, masks lie on lines, files appear, words checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.app.cli import main
from studio.app.epipolar_drawing import palette, ray_polyline
from studio.app.epipolar_pictures import (
    lines_picture,
    masks_picture,
    matrix_picture,
    spread_pixels,
    token_mask,
    walk_pixels,
)
from studio.cameras import orbit_cameras
from studio.errors import DataError
from studio.views import ViewSet


@pytest.fixture(scope="module")
def views() -> ViewSet:
    """A ball of radius 0.4 at the origin, seen from three sides, 48 x 64 px."""
    cameras = orbit_cameras([0, 40, 200], [20, 35, 10], 1.5, 49.1, (48, 64))
    y, x = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(64) - 31.5, indexing="ij")
    ball = (x.hypot(y) < 15).float()
    images = torch.stack([x / 64 + 0.5, y / 48 + 0.5, ball / 2, ball]).expand(3, -1, -1, -1)
    return ViewSet(images.contiguous(), cameras)


def test_polylines_hold_the_projected_points(views: ViewSet) -> None:
    pair = views.select([0, 1])
    pixel = torch.tensor([30.0, 20.0])
    ray = pair.cameras[[0]].rays(pixel[None, None])
    line = torch.tensor(ray_polyline(pair.cameras, pixel))
    for depth in (1.1, 1.5, 1.9):
        place, _ = pair.cameras.project(ray.origins + depth * ray.directions)
        assert (line - place[1, 0]).norm(dim=1).min() < 0.6
    inside = torch.tensor(ray_polyline(pair.cameras, pixel, bound=0.5))
    assert (inside.amax(0) - inside.amin(0) < line.amax(0) - line.amin(0) + 1e-3).all()
    assert ray_polyline(pair.cameras, torch.tensor([0.0, 0.0]), bound=0.01) == []


def test_masks_lie_on_lines(views: ViewSet) -> None:
    """Two ways to the same line: every drawn point inside the picture meets the mask."""
    for pair in ([0, 1], [1, 2], [2, 0]):
        two = views.select(pair)
        for pixel in spread_pixels(two.mask[0], 5):
            mask = token_mask(two.cameras, pixel, 32)
            near = torch.nn.functional.max_pool2d(mask[None].float(), 3, 1, 1)[0]
            at = torch.tensor(ray_polyline(two.cameras, pixel)) * 32 / torch.tensor([64.0, 48.0])
            x, y = at[((at > 0) & (at < 32)).all(1)].long().unbind(1)
            assert len(x) > 20 and near[y, x].all()
            assert mask.float().mean() < 0.2


def test_pictures(views: ViewSet) -> None:
    pair = views.select([0, 1])
    pixels = spread_pixels(pair.mask[0], 3)
    assert lines_picture(pair, pixels, 96).shape == (96, 2 * 128 + 8, 3)
    colours = {tuple(c) for c in lines_picture(pair, pixels, 96)[:, 136:].reshape(-1, 3).tolist()}
    assert set(palette(3)) <= colours
    assert masks_picture(pair, pixels, 8, 2, 96).shape == (20 + 3 * (8 + 96), 4 * 136 - 8, 3)
    matrix = matrix_picture(pair.cameras, 8)
    assert matrix.shape == (128, 128, 3) and (matrix[:64, :64] == 255).all()
    assert 0.1 < (matrix[:64, 64:] == 255).mean() < 0.5


def test_pixels(views: ViewSet) -> None:
    mask = views.mask[0]
    pixels = spread_pixels(mask, 6)
    assert mask[pixels[:, 1].long(), pixels[:, 0].long()].all()
    assert torch.cdist(pixels, pixels).add(torch.eye(6) * 99).min() > 8
    assert len(spread_pixels(torch.eye(2), 6)) == 2
    walk = walk_pixels(mask, 24)
    assert walk.amin() > 0 and (walk - walk.roll(1, 0)).norm(dim=1).max() < 12
    with pytest.raises(DataError, match="empty"):
        spread_pixels(torch.zeros(4, 4), 2)


def test_command(views: ViewSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = views.save(tmp_path / "capture"), tmp_path / "out"
    words = [f"out={out}", "views=2,1", "side=8", "frames=3", "tile=48", "points=2"]
    assert main(["--visualise-epipolar", str(folder), *words]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert sorted(p.name for p in out.iterdir()) == [
        "lines.png", "masks.png", "matrix.png", "walk.gif"
    ]  # fmt: skip
    with Image.open(out / "walk.gif") as gif:
        assert gif.n_frames == 3  # type: ignore[attr-defined]
    with Image.open(out / "masks.png") as picture:
        assert np.asarray(picture).std() > 10
    chosen = [*words, "at=32,24,30.5,20", "frames=0", f"out={tmp_path / 'chosen'}"]
    assert main(["--visualise-epipolar", str(folder), *chosen]) == 0
    assert not (tmp_path / "chosen/walk.gif").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["views=0,3"], "0 to 2"),
        (["views=1,1"], "two different"),
        (["views=0"], "views=0"),
        (["views=a,b"], "numbers"),
        (["at=10,99"], "64 x 48"),
        (["level=3"], "level is '3'.\n  allowed: 1, 2, 4, 8"),
        (["side=12", "level=8"], "a level that divides the side"),
        (["tile=8"], "32 to 2048"),
        (["veiws=0,1"], "views"),
        (["--train"], "stands alone"),
    ],
)
def test_wrong_words(
    views: ViewSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    views.save(tmp_path / "capture")
    assert main(["--visualise-epipolar", str(tmp_path / "capture"), *words]) == 2
    assert message in capsys.readouterr().err


def test_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--visualise-epipolar", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
