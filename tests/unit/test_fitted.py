"""A result that does not look like its pictures says so, and whose poses are to blame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import studio
from benchmarks.captures import exposed
from studio.cameras import Cameras, orbit_cameras
from studio.jobs import Job
from studio.jobs.task import Shelf, Work
from studio.jobs.tasks.make import Make
from studio.metrics.agreement import Agreement
from studio.metrics.consistency import reduced
from studio.metrics.field_of_view import FocalLength, focal_length
from studio.systems.findings import (
    misplaced,
    slightly_misplaced,
    unevenly_exposed,
    wrong_lens,
)
from studio.systems.fitted import against_pictures
from studio.views import ViewSet
from tests.unit.test_captures import photograph

RIG = orbit_cameras(range(0, 360, 30), [20.0, -10.0, 45.0] * 4, 2.0, 45.0, (48, 48))
VIEWS = ViewSet(photograph(RIG), RIG, 0.6, names=tuple(f"shot{i}.png" for i in range(12)))
EXCHANGED = replace(VIEWS, cameras=RIG[[0, 1, 7, 3, 4, 5, 6, 2, 8, 9, 10, 11]])
QUICK = """
name: quick
system_type: reconstruction
system: {reconstruction_type: visual-hull, hull: {resolution: 48}}
data_type: capture
data: {bound: 0.6}
"""


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[[ViewSet], Any]:
    config = tmp_path / "quick.yaml"
    config.write_text(QUICK)
    return lambda views: studio.reconstruct(views, config=config, steps=1)


def test_right_poses_are_left_in_peace(fitted: Any) -> None:
    found = fitted(VIEWS)
    assert found.warnings == [] and found.findings.figures["agreement"]["outline_iou"] > 0.85


def test_wrong_poses_are_the_first_warning_and_named_from_the_worst_on(fitted: Any) -> None:
    found = fitted(EXCHANGED)
    (alarm,) = found.findings.alarms
    assert found.warnings[0] == alarm and alarm.startswith(
        "the poses contradict the pictures: 2 of 12"
    )
    assert "shot2.png (outline" in alarm and "shot7.png (outline" in alarm and "dB)" in alarm
    assert "studio view" in alarm
    worst = [row["picture"] for row in found.findings.figures["agreement"]["pictures"][:2]]
    assert {*worst} == {"shot2.png", "shot7.png"}


def test_a_job_tells_it_apart_from_its_warnings(fitted: Any, tmp_path: Path) -> None:
    EXCHANGED.save(tmp_path / "capture")
    exporter = {"resolution": 32, "faces": 400, "texture_size": 64, "turntable": False}
    off = {"preview": False, "inspect": False}
    options = {f"system.exporter.{key}": value for key, value in {**exporter, **off}.items()}
    job = Job(config=str(tmp_path / "quick.yaml"), options=options, steps=1)
    (tmp_path / "result").mkdir()
    given = [str(tmp_path / "capture")]
    work = Work(job, given, tmp_path / "result", "cpu", lambda *_: None, lambda: False, Shelf(1))
    outcome = Make(Make.Config()).run(work)
    (alarm,) = outcome.alarms
    assert "shot2" in alarm and alarm not in outcome.warnings
    assert outcome.figures["agreement"]["outline_iou"] < 0.95


def test_a_picture_far_below_the_others_is_named_although_its_outline_fits() -> None:
    compared = Agreement((0, 1, 2), (20.0, 21.0, 12.0), (0.95, 0.95, 0.95))
    (alarm,) = misplaced(compared, VIEWS)
    assert "1 of 3" in alarm and "shot2.png (outline 95%, 12.0 dB)" in alarm
    assert misplaced(replace(compared, psnr=(20.0, 21.0, 16.0)), VIEWS) == []


@pytest.mark.parametrize(
    ("noise", "told"),
    [(0.02, "2 of 12 pictures are not what"), (0.4, "")],
    ids=["a good fit", "a fit that shows too little"],
)
def test_pictures_without_outlines_are_compared_with_what_the_fit_shows(
    noise: float, told: str
) -> None:
    opaque = torch.ones_like(VIEWS.images[:, :1])
    whole = replace(VIEWS, images=torch.cat([VIEWS.rgb_on(), opaque], 1))
    order = [0, 1, 7, 3, 4, 5, 6, 2, 8, 9, 10, 11]  # the model shows what was right

    class Shows:
        def render(self, cameras: Cameras, background: float | None = None) -> ViewSet:
            seen, _ = reduced(whole.select(order), cameras.size[0])
            return replace(VIEWS, images=seen + noise * torch.randn_like(seen), cameras=cameras)

    found = against_pictures(Shows(), whole)  # type: ignore[arg-type]
    assert found.figures["seen_again"]["psnr"] > 5
    assert len(found.alarms) == bool(told)
    for alarm in found.alarms:
        assert told in alarm and "shot2.png (" in alarm and "shot7.png (" in alarm


def test_pictures_of_differing_brightness_are_told_and_what_makes_them_even(fitted: Any) -> None:
    (said,) = fitted(exposed(VIEWS)).warnings
    assert "differ in brightness or tint by" in said and "system.correct.exposure=true" in said


def test_poses_that_are_a_little_off_are_told_and_what_corrects_them() -> None:
    compared = Agreement((0, 1, 2), (20.0, 21.0, 19.0), (0.9, 0.9, 0.9), offsets=(0.02, 0.03, 0.0))
    (said,) = slightly_misplaced(compared)
    assert "2.0% of a picture's side" in said and "system.correct.poses=true" in said
    assert slightly_misplaced(replace(compared, offsets=(0.001, 0.003, 0.002))) == []
    assert slightly_misplaced(replace(compared, offsets=(0.2, 0.3, 0.25))) == []
    (alarm,) = misplaced(replace(compared, iou=(0.7, 0.72, 0.75)), VIEWS)
    assert "poses contradict" in alarm and alarm.endswith(
        "system.correct.poses=true (scene model sdf)."
    )
    one = replace(compared, iou=(0.7, 0.9, 0.9))  # the worst of many that are all a little off
    (alarm,) = misplaced(one, VIEWS)
    assert "1 of 3" in alarm and "system.correct.poses=true" in alarm
    for gross in ((0.5, 0.52, 0.51), (0.5, 0.9, 0.9)):  # other pictures, exchanged poses
        (alarm,) = misplaced(replace(compared, iou=gross), VIEWS)
        assert "poses contradict" in alarm and "correct" not in alarm
    (alarm,) = misplaced(replace(one, offsets=(0.1, 0.001, 0.002)), VIEWS)
    assert "correct" not in alarm, "one that is wrong among right ones"


def test_brightness_of_pictures_of_another_object_does_not_count() -> None:
    images = VIEWS.images.clone()
    images[:2, :3] *= 0.5
    mixed = replace(VIEWS, images=images)
    every = tuple(range(len(VIEWS)))
    right = Agreement(every, (20.0,) * len(every), (0.95,) * len(every))
    assert unevenly_exposed(mixed, right)
    assert not unevenly_exposed(mixed, replace(right, iou=(0.5, 0.5, *right.iou[2:])))


def test_a_wrong_field_of_view_is_told_from_wrong_poses() -> None:
    said = wrong_lens(FocalLength(1.4, 0.98, 0.94))
    assert "focal length about 1.4 times as long" in said[0]
    assert wrong_lens(FocalLength(1.4, 0.95, 0.94)) == [] == wrong_lens(None)
    intrinsics = RIG.intrinsics.clone()
    intrinsics[:, :2, :2] *= 0.5
    found = focal_length(replace(VIEWS, cameras=replace(RIG, intrinsics=intrinsics), bound=1.2))
    assert found is not None and found.factor > 1.5 and found.agreement > found.as_given + 0.03
    right = focal_length(VIEWS)
    assert right is not None and 0.8 < right.factor < 1.2 and wrong_lens(right) == []
    assert wrong_lens(focal_length(EXCHANGED)) == []
