"""Nano EscherNet's views follow all that it is told: pictures, their cameras, target cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.nano_eschernet import positions, unseen_objects
from studio.cameras import Cameras
from studio.guidance.eschernet.guidance import EscherNetGuidance
from studio.views import Condition, ViewSet

WEIGHTS = Path(__file__).parents[2] / "load" / "nano" / "eschernet"
OBJECTS, STEPS = 3, 2
TARGETS = [2, 8, 12]
QUARTER = 4  # views of the ring of 16


@pytest.fixture(scope="module")
def model() -> EscherNetGuidance:
    return EscherNetGuidance.from_pretrained(WEIGHTS, steps=STEPS).eval()


@pytest.fixture(scope="module")
def objects() -> list[ViewSet]:
    """Rings of objects that the training never saw."""
    return unseen_objects(OBJECTS)


@pytest.mark.parametrize("count", [1, 2])
def test_every_condition_changes_views_more_than_noise_does(
    model: EscherNetGuidance, objects: list[ViewSet], count: int
) -> None:
    chosen = positions(count, len(objects[0]))
    for i, views in enumerate(objects):
        ring, other = views.cameras, objects[(i + 1) % OBJECTS]
        given, targets = views.select(chosen), ring[TARGETS]

        def made(references: ViewSet, cameras: Cameras, seed: int = 0) -> torch.Tensor:
            noise = torch.Generator().manual_seed(seed)
            return model.generate(Condition(views=references), cameras, generator=noise).rgb_on()

        before = made(given, targets)
        ways = {
            "seed": made(given, targets, seed=1),
            "pictures": made(replace(given, images=other.images[chosen]), targets),
            "cameras of the pictures": made(
                replace(given, cameras=ring[[k + QUARTER for k in chosen]]), targets
            ),
            "target cameras": made(given, ring[[(k + QUARTER) % len(ring) for k in TARGETS]]),
        }
        change = {name: (after - before).abs().mean().item() for name, after in ways.items()}
        noise = change.pop("seed")
        assert 0 < noise and all(size > 2 * noise for size in change.values()), (noise, change)
