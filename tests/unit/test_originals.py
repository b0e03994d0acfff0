"""Given pictures among the views made of them: their cameras, their weight, what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studio.cameras import orbit_cameras
from studio.metrics.consistency import ViewConsistency
from studio.metrics.likeness import Likeness, likeness
from studio.models.sdf.fit_state import cut_short
from studio.models.sdf.given import for_fit, replaced_views
from studio.models.sdf.ray_pool import RayPool
from studio.ops.visual_hull import Frame
from studio.systems.findings import KNOWS, contradicting, empty, known_objects, unlike
from studio.systems.originals import posed_originals, read_cameras, written_cameras
from studio.views import Condition, Original, ViewSet


def disc(size: int, radius: float = 0.3, colour: float = 0.6) -> torch.Tensor:
    """A round grey object in the middle of a picture; the radius is a share of its side."""
    at = (torch.arange(size) + 0.5) / size - 0.5
    image = torch.full((4, size, size), colour)
    image[3] = (at[:, None].hypot(at) < radius).float()
    return image


def ring(size: int = 32) -> ViewSet:
    cameras = orbit_cameras([0, 60, 120, 180, 240, 300], 30.0, size=size)
    return ViewSet(disc(size).expand(6, -1, -1, -1).clone(), cameras)


def given(size: int = 200, azimuth: float = 60.0) -> tuple[Condition, ViewSet]:
    """A picture of 200 px seen as the second view is, and the views."""
    condition = Condition(
        image=disc(32), originals=(Original(disc(size), 0.0, 0.0, float(size)).trimmed(),)
    )
    eye = written_cameras(orbit_cameras([azimuth], 30.0, size=32))
    return condition, replace(ring(), meta={"condition_cameras": json.loads(json.dumps(eye))})


def test_a_picture_is_posed_and_takes_the_place_of_the_view_with_its_camera() -> None:
    condition, views = given()
    (original,) = posed_originals(condition, views)
    centre = original.cameras.project(torch.zeros(1, 3))[0][0, 0]
    assert torch.allclose(centre, torch.tensor(original.cameras.size).flip(0) / 2, atol=0.01)
    assert replaced_views(views, [original]) == [1]
    assert replaced_views(views, posed_originals(*given(azimuth=64.0))) == []
    assert posed_originals(condition, ring()) == []  # nobody knows where it was taken from
    full = Condition(originals=(Original(torch.ones(4, 64, 64), 0.0, 0.0, 64.0),))
    assert posed_originals(full, views) == []  # not cut out


def test_cameras_are_written_as_they_are_read() -> None:
    cameras = replace(orbit_cameras([10, 20], 5.0, size=(8, 12)), ortho_scale=torch.ones(2))
    again = read_cameras(json.loads(json.dumps(written_cameras(cameras))))
    assert torch.equal(again.c2w, cameras.c2w) and again.size == (8, 12)
    assert torch.equal(again.intrinsics, cameras.intrinsics)
    assert again.ortho_scale is not None and torch.equal(again.ortho_scale, torch.ones(2))


def test_a_picture_is_shown_to_the_fit_at_twice_the_resolution_with_its_surroundings() -> None:
    condition, views = given()
    (original,) = posed_originals(condition, views)
    shown = for_fit(original, views, Frame(torch.zeros(3), 0.5))
    h, w = shown.cameras.size
    covered = shown.mask[0] > 0.5
    assert float(covered.sum()) == pytest.approx(4 * float((views.mask[0] > 0.5).sum()), rel=0.1)
    assert not covered[0].any() and not covered[:, 0].any() and h * w < 64**2
    corner = original.cameras.rays(torch.tensor([[[0.0, 0.0]]])).directions
    uv, _ = shown.cameras.project(original.cameras.centres + corner)
    assert 0 < float(uv.min()) < 12  # a camera of the same rays


def test_rays_of_a_picture_count_as_those_of_several_views() -> None:
    condition, views = given()
    frame, originals = Frame(torch.zeros(3), 0.5), posed_originals(condition, views)

    def pool(weight: float, **options: object) -> RayPool:
        return RayPool(
            views,
            frame,
            lambda rays: torch.ones(len(rays), dtype=torch.bool),
            torch.device("cpu"),
            without=replaced_views(views, originals),
            originals=[for_fit(view, views, frame) for view in originals],
            original_weight=weight,
            **options,  # type: ignore[arg-type]
        )

    for weight in (0.0, 5.0, 15.0):
        batch = pool(weight).batch(1000, seed=0, step=3)
        assert int((batch.view == 6).sum()) == round(1000 * weight / (weight + 5))
        assert 1 not in batch.view  # its own camera's view says nothing more
    in_turn = pool(5.0, rays_from="one-view")
    seen = {int(v) for step in range(6) for v in in_turn.batch(20, seed=0, step=step).view}
    assert seen == {0, 2, 3, 4, 5, 6}


def test_a_view_is_compared_with_the_picture_of_its_camera() -> None:
    views, eye = ring(), orbit_cameras([60.0], 30.0, size=32)
    other = disc(64, radius=0.2, colour=0.2)
    found = likeness([other], eye, views)
    assert found is not None
    assert found.mask_iou == pytest.approx((0.2 / 0.3) ** 2, abs=0.05)
    assert 0.25 < found.colour_error < 0.4
    assert likeness([disc(32)], eye, views) is None  # the view is the picture itself
    assert likeness([other], orbit_cameras([30.0], 30.0, size=32), views) is None


def test_what_went_wrong_is_said_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / KNOWS).write_text('{"objects": ["cars", "armchairs", "mugs"]}')
    known = known_objects([tmp_path / "none", tmp_path])
    (said,) = unlike(Likeness(0.75, 0.13), known)
    assert "does not look like your picture" in said
    assert "These weights know cars, armchairs and mugs." in said
    assert "know" not in unlike(Likeness(0.75, 0.13), [])[0]
    assert unlike(Likeness(0.9, 0.05), known) == unlike(None, known) == []
    assert contradicting(ViewConsistency(0.95, 0, 0.1, 20.0, 0.9)) == []
    assert "62%" in contradicting(ViewConsistency(0.62, 0, 0.1, 20.0, 0.9))[0]
    part = ring()
    part.images[2:, 3] = 0
    assert empty(ring()) == []
    assert "4 of 6 generated views show nothing" in empty(part)[0]
    assert cut_short({"step_count": 1500, "max_steps": 1500, "seconds": 600.0}) == []
    assert cut_short({"step_count": 40, "max_steps": 0, "seconds": 600.0}) == []
    (said,) = cut_short({"step_count": 65, "max_steps": 1500, "seconds": 20.0})
    assert "65 of 1,500 steps" in said and "budget of 20 s" in said
    assert "budget of" not in cut_short({"step_count": 65, "max_steps": 1500})[0]
