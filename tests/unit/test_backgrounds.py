"""What is cut out of made pictures, whose backgrounds are only nearly white."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.guidance.backgrounds import cut_out, generated_views
from studio.models.object_hull import HullOptions, find_object
from tests.unit.test_reconstruction import sphere_views


def block() -> tuple[Tensor, Tensor]:
    """A red block with a white window on white, and where it is."""
    picture, mask = torch.ones(3, 64, 64), torch.zeros(64, 64, dtype=torch.bool)
    mask[20:44, 16:50] = True
    picture[:, mask] = torch.tensor([0.7, 0.2, 0.1])[:, None]
    picture[:, 30:34, 28:34] = 1.0
    return picture, mask


def agreement(picture: Tensor, mask: Tensor) -> float:
    found = cut_out(picture.clamp(0, 1))[3] > 0.5
    return float((found & mask).sum() / (found | mask).sum())


def test_white_parts_inside_the_object_stay() -> None:
    pixels = torch.ones(2, 3, 32, 32)
    pixels[:, :, 8:24, 8:24] = -1.0  # a black square
    pixels[:, :, 14:18, 14:18] = 1.0  # with a white spot
    pixels[:, :, 8:24, 24] = 0.8  # and an anti-aliased edge
    views = generated_views(pixels, orbit_cameras([0, 90], 30.0, size=32), {"guidance": "test"})
    assert views.mask[0, 2, 2] == 0 and views.mask[0, 16, 16] == 1 and views.mask[0, 10, 10] == 1
    assert 0 < views.mask[0, 12, 24] < 1
    torch.testing.assert_close(views.rgb_on(1.0), pixels / 2 + 0.5, atol=1e-5, rtol=0)
    assert views.meta == {"guidance": "test"}


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1, 0.2])
def test_noise_on_the_background_is_background(noise: float) -> None:
    picture, mask = block()
    draw = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    assert agreement(picture + noise * draw, mask) > 0.95


@pytest.mark.parametrize("tint", [[0.93] * 3, [0.75] * 3, [1.0, 0.9, 0.7]])
def test_another_bright_background_becomes_white(tint: list[float]) -> None:
    picture, mask = block()
    picture = picture * torch.tensor(tint)[:, None, None]
    assert agreement(picture, mask) > 0.99
    cut = cut_out(picture)
    torch.testing.assert_close(cut[:3, mask], picture[:, mask], atol=1e-5, rtol=0)


def test_a_shade_across_the_picture_is_background() -> None:
    picture, mask = block()
    assert agreement(picture - torch.linspace(0, 0.4, 64), mask) > 0.95


@pytest.mark.parametrize("grey", [127 / 255, 0.0, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_known_grey_background_is_cut_out(grey: float, noise: float) -> None:
    """The block's window has the background's colour and stays; edges get their own colour back."""
    picture, mask = block()
    alpha = mask.float()
    alpha[20:44, 50] = 0.5
    picture[:, 20:44, 50] = torch.tensor([0.7, 0.2, 0.1])[:, None]
    picture[:, 30:34, 28:34] = grey
    shown = picture * alpha + grey * (1 - alpha)
    shown += noise * torch.randn(shown.shape, generator=torch.Generator().manual_seed(0))
    views = generated_views(
        shown.clamp(0, 1)[None] * 2 - 1, orbit_cameras([0], 30.0, size=64), {}, background=grey
    )
    found, there = views.mask[0] > 0.5, alpha > 0
    assert (found & there).sum() / (found | there).sum() > 0.98
    torch.testing.assert_close(views.rgb_on(grey)[0], shown.clamp(0, 1), atol=0.1, rtol=0)


def test_grey_is_taken_for_the_object_unless_it_is_known() -> None:
    """What the option is for: nothing tells grey paper from a grey wall that fills the picture."""
    picture, mask = block()
    picture = torch.where(mask, picture, 0.4)
    cameras = orbit_cameras([0], 30.0, size=64)
    pixels = picture[None] * 2 - 1
    assert generated_views(pixels, cameras, {}).mask.min() == 1
    assert generated_views(pixels, cameras, {}, background=0.4).mask.mean() < 0.25


def test_normals_are_kept_where_the_object_is() -> None:
    picture, mask = block()
    normals = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(1, 3, 64, 64)
    cameras = orbit_cameras([0], 30.0, size=64)
    views = generated_views(picture[None] * 2 - 1, cameras, {}, bound=0.7, normals=normals)
    assert views.normals is not None and views.bound == 0.7
    assert (views.normals[0, 2] == (views.mask[0] > 0).float()).all() and mask.any()


def test_specks_are_left_out_and_a_tiny_object_is_not() -> None:
    picture, mask = block()
    picture[:, 3:5, 60] = 0.2
    assert agreement(picture, mask) == 1
    alone = torch.ones(3, 64, 64)
    alone[:, 30, 30:32] = 0.0
    assert int((cut_out(alone)[3] > 0.5).sum()) == 2


def test_an_object_that_reaches_the_edge_stays_whole() -> None:
    picture, mask = torch.ones(3, 64, 64), torch.zeros(64, 64, dtype=torch.bool)
    mask[:, 24:] = True  # more than half of the edge
    picture[:, mask] = 0.3
    assert agreement(picture, mask) == 1


def test_noisy_views_on_a_tinted_ground_still_tell_where_the_object_is() -> None:
    views, cfg = sphere_views(64), HullOptions(agreement=0.85, resolution=48)
    rgb = views.rgb_on(1.0) * torch.tensor([0.9, 0.85, 0.8])[:, None, None]
    rgb += 0.08 * torch.randn(rgb.shape, generator=torch.Generator().manual_seed(0))
    made = generated_views(rgb * 2 - 1, views.cameras, {})
    wanted, shape = find_object(views, cfg), find_object(made, cfg)
    assert shape.hull is not None and wanted.hull is not None
    sizes = [float(s.hull.sum()) * s.frame.half**3 for s in (shape, wanted)]  # type: ignore[union-attr]
    assert 0.8 < sizes[0] / sizes[1] < 1.2
