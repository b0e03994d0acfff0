"""Where the object is: masks that disagree, are empty or full, and cameras that cannot be right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.cameras import Cameras
from studio.errors import ConfigError, DataError
from studio.models.object_hull import HullOptions, ObjectHull, find_object
from studio.models.sdf.start_shape import HullConfig, check_surroundings, object_in
from studio.ops.visual_hull import cell_centres
from studio.views import ViewSet
from tests.unit.test_reconstruction import RADIUS, sphere_views

CFG = HullOptions(resolution=48)


def radii(shape: ObjectHull) -> torch.Tensor:
    """Distance from the world's origin of every cell of the hull."""
    assert shape.hull is not None
    cells = cell_centres(len(shape.hull))[shape.hull.reshape(-1)]
    return shape.frame.to_world(cells).norm(dim=-1)


def scaled(views: ViewSet, factor: float) -> ViewSet:
    """The same pictures with camera positions in another unit."""
    return replace(views, cameras=views.cameras.scaled(factor))


def with_masks(views: ViewSet, change: dict[int, torch.Tensor | float]) -> ViewSet:
    images = views.images.clone()
    for i, mask in change.items():
        images[i, 3] = mask
    return replace(views, images=images)


def turned_away(cameras: Cameras) -> Cameras:
    c2w = cameras.c2w.clone()
    c2w[:, :3, 1:3] *= -1  # OpenGL axes taken for OpenCV's
    return replace(cameras, c2w=c2w)


def test_hull_lies_within_the_space_that_is_sampled() -> None:
    shape = find_object(sphere_views(64), CFG)
    assert shape.around is not None and shape.hull is not None
    centres = cell_centres(48)[shape.hull.reshape(-1)]
    cell = ((centres + 1) * (0.5 * len(shape.around))).long()
    assert shape.around[cell.unbind(-1)].all()
    assert RADIUS - 0.03 < float(radii(shape).max()) < RADIUS + 0.12


def test_a_view_that_lost_the_object_does_not_carve(caplog: pytest.LogCaptureFixture) -> None:
    views = replace(sphere_views(64), names=tuple(f"view{i}" for i in range(11)))
    wanted = find_object(views.select([0, 1, 2, *range(4, 11)]), CFG)
    shape = find_object(with_masks(views, {3: 0.0}), CFG)
    assert shape.hull is not None and wanted.hull is not None
    assert torch.equal(shape.hull, wanted.hull) and shape.frame.half == wanted.frame.half
    assert "view3" in caplog.text


def test_silhouettes_shifted_by_pixels_keep_most_of_the_object(
    caplog: pytest.LogCaptureFixture,
) -> None:
    views = sphere_views(64)
    shifted = {i: views.mask[i].roll((-1) ** i * 6, dims=1) for i in (1, 4, 6)}
    strict = find_object(views, CFG)
    shape = find_object(with_masks(views, shifted), CFG)
    assert "in part" in caplog.text
    ball = 4 / 3 * torch.pi * RADIUS**3
    volume = float(shape.hull.sum()) * (2 * shape.frame.half / 48) ** 3  # type: ignore[union-attr]
    whole = float(strict.hull.sum()) * (2 * strict.frame.half / 48) ** 3  # type: ignore[union-attr]
    assert 0.8 * ball < volume < 1.4 * whole


def test_masks_that_never_agree_start_from_a_sphere(caplog: pytest.LogCaptureFixture) -> None:
    views = sphere_views(64)
    rows = torch.arange(64)[:, None].expand(64, 64)
    stripes = {i: ((rows // 2 + i) % 11 == 0).float() for i in range(11)}
    shape = object_in(with_masks(views, stripes), HullConfig(resolution=48))
    assert shape.around is None and shape.hull is None and shape.frame.half == pytest.approx(0.52)
    assert "sphere" in caplog.text


@pytest.mark.parametrize("count", [1, 2])
def test_few_views_give_their_cones(count: int, caplog: pytest.LogCaptureFixture) -> None:
    shape = find_object(sphere_views(64).select(list(range(count))), CFG)
    assert shape.hull is not None and 0.05 < float(shape.hull.float().mean()) < 0.7
    assert "guess" in caplog.text


def test_a_full_mask_among_others_says_nothing() -> None:
    views = sphere_views(64)
    shape = find_object(with_masks(views, {0: 1.0, 5: 1.0}), CFG)
    wanted = find_object(views.select([1, 2, 3, 4, *range(6, 11)]), CFG)
    assert shape.hull is not None and wanted.hull is not None
    assert torch.equal(shape.hull, wanted.hull)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (with_masks(sphere_views(), dict.fromkeys(range(11), 0.0)), "every mask"),
        (with_masks(sphere_views(), dict.fromkeys(range(11), 1.0)), "full"),
        (scaled(sphere_views(), 1000.0), "larger than its cube"),
        (scaled(sphere_views(), 0.01), "cameras stand inside the object's cube"),
        (
            replace(sphere_views(), cameras=turned_away(sphere_views().cameras)),
            "none of the 11 cameras looks",
        ),
    ],
    ids=["empty", "full", "millimetres", "kilometres", "other axes"],
)
def test_what_cannot_be_is_one_clear_error(views: ViewSet, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        find_object(views, CFG)
    assert len(str(caught.value).splitlines()) in (2, 3)


def test_the_same_is_fitted_without_hull_where_that_is_wanted() -> None:
    views = with_masks(sphere_views(), dict.fromkeys(range(11), 1.0))
    assert object_in(views, HullConfig(enabled=False)).hull is None


def test_a_small_object_gets_a_small_cube() -> None:
    shape = find_object(sphere_views(128, (0.1, 0.0, 0.05), radius=0.03), CFG)
    assert torch.allclose(shape.frame.centre, torch.tensor([0.1, 0.0, 0.05]), atol=0.01)
    assert 0.03 < shape.frame.half < 0.06


def test_cameras_inside_the_object_are_refused() -> None:
    views = sphere_views(64)
    c2w = views.cameras.c2w.clone()
    c2w[10, :3, 3] = 0
    inside = replace(views, cameras=replace(views.cameras, c2w=c2w))
    with pytest.raises(DataError, match="1 of 11 cameras stand inside"):
        find_object(with_masks(inside, {10: 1.0}), CFG)


def test_views_without_masks_need_a_background() -> None:
    views = with_masks(sphere_views(), dict.fromkeys(range(11), 1.0))
    check_surroundings(views, sees_outside=True, mask_loss=False)
    for outside, loss in ((False, False), (True, True)):
        with pytest.raises(ConfigError, match=r"no masks(.|\n)*configs/reconstruct-scene.yaml"):
            check_surroundings(views, outside, loss)
    with pytest.raises(DataError, match="configs/reconstruct-scene.yaml"):
        find_object(views, HullOptions())
