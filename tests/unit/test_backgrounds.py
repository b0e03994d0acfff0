"""What is cut out of made pictures, whose backgrounds are only nearly white."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.guidance.backgrounds import cut_out, views_on_white
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
    views = views_on_white(pixels, orbit_cameras([0, 90], 30.0, size=32), {"guidance": "test"})
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
    made = views_on_white(rgb * 2 - 1, views.cameras, {})
    wanted, shape = find_object(views, cfg), find_object(made, cfg)
    assert shape.hull is not None and wanted.hull is not None
    sizes = [float(s.hull.sum()) * s.frame.half**3 for s in (shape, wanted)]  # type: ignore[union-attr]
    assert 0.8 < sizes[0] / sizes[1] < 1.2
