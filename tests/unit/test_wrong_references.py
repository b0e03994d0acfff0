"""Cameras of a few references that contradict their pictures are told; right ones pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.nano_eschernet import unseen_objects
from benchmarks.wrong_references import turned
from studio.metrics.consistency import outline_overlaps
from studio.systems.generated import compare, wrong_references
from studio.views import Condition, ViewSet


@pytest.fixture(scope="module")
def car() -> ViewSet:
    """A car from 16 sides."""
    return unseen_objects(1)[0]


def with_cameras(views: ViewSet, order: list[int]) -> ViewSet:
    return replace(views, cameras=views.cameras[order])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_right_cameras_fill_their_outlines(car: ViewSet, count: int) -> None:
    some = car.select(list(range(0, len(car), len(car) // count))[:count])
    assert float(outline_overlaps(some).min()) > 0.95
    assert wrong_references(Condition(views=some)) == []


def test_exchanged_cameras_are_an_alarm(car: ViewSet) -> None:
    some = car.select([0, 3, 6])
    wrong = Condition(views=with_cameras(some, [1, 0, 2]))
    (said,) = wrong_references(wrong)
    assert "the cameras of the 3 references contradict their pictures" in said
    assert compare(wrong, some, {}, [said]).alarms == [said]


def test_the_one_that_fits_none_of_the_others_is_named(car: ViewSet) -> None:
    some = car.select([1, 0, 3, 6, 10])
    wrong = replace(some, cameras=turned(some.cameras))
    (said,) = wrong_references(Condition(views=wrong))
    assert f"Without {some.name(0)} the others fit" in said


def test_nothing_is_said_where_nothing_can_be_known(car: ViewSet) -> None:
    wrong = with_cameras(car.select([0, 3, 6]), [1, 0, 2])
    assert wrong_references(Condition(views=wrong)) != []
    unposed = replace(wrong, meta={"posed": False})
    full = replace(wrong, images=torch.ones_like(wrong.images))
    for views in (unposed, full, wrong.select([0]), None):
        assert wrong_references(Condition(views=views)) == []
