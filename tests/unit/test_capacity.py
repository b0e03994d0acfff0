"""The size of a fit follows what its pictures show, where options leave it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.geometry.base import Detail
from studio.geometry.hash_sdf import FINEST_CHOSEN, ROWS, SMALL, HashSDF
from studio.models.base import SceneModel
from studio.models.sdf.capacity import steps_for
from studio.models.sdf.model import SDFModel
from studio.plugins.options import build
from studio.renderers.neus_occupancy import NeuSOccupancyRenderer as Renderer
from studio.views import ViewSet
from tests.unit import public_scenes as made

OPEN = {"levels": None, "max_resolution": None, "log2_rows": None}
SIZES = [SMALL, Detail(170, 400_000, 36), Detail(300, 4_000_000, 100), Detail(600, 16_000_000, 100)]


def model(geometry: dict[str, Any], renderer: dict[str, Any]) -> SDFModel:
    hull = {"resolution": 24, "fit_steps": 2}
    options = {"geometry": geometry, "renderer": renderer, "hull": hull, "samples_per_step": 256}
    made: SDFModel = build("model", "sdf", options)
    return made


@pytest.fixture(scope="module")
def views() -> ViewSet:
    return made.views(5, size=48)


def test_small_pictures_get_what_they_always_had() -> None:
    cfg = HashSDF.Config(**OPEN)
    assert HashSDF.follows(cfg, SMALL) == {"max_resolution": 256, "levels": 8, "log2_rows": 15}
    assert Renderer.follows(Renderer.Config(sharpness_end=None), SMALL) == {"sharpness_end": 250.0}
    assert steps_for(SMALL) == 4000
    assert HashSDF(cfg).layout == HashSDF(HashSDF.Config()).layout, "without pictures, too"


def test_more_pixels_get_more_of_everything() -> None:
    grids = [HashSDF.follows(HashSDF.Config(**OPEN), detail) for detail in SIZES]
    for name in OPEN:
        sizes = [grid[name] for grid in grids]
        assert sizes == sorted(sizes) and sizes[0] < sizes[2]
    ends = [
        Renderer.follows(Renderer.Config(sharpness_end=None), d)["sharpness_end"] for d in SIZES
    ]
    steps = [steps_for(detail) for detail in SIZES]
    assert ends == sorted(set(ends)) and steps == sorted(set(steps))
    few = Detail(300, 100_000, 3)
    assert HashSDF.follows(HashSDF.Config(**OPEN), few)["log2_rows"] < grids[2]["log2_rows"]
    huge = Detail(1e5, 10**12, 1000)
    assert HashSDF.follows(HashSDF.Config(**OPEN), huge)["log2_rows"] == ROWS[1]
    assert HashSDF.follows(HashSDF.Config(**OPEN), huge)["max_resolution"] == FINEST_CHOSEN
    assert steps_for(huge) == 40_000


def test_given_options_win() -> None:
    for given in ({"levels": 5}, {"max_resolution": 99}, {"log2_rows": 12}):
        found = HashSDF.follows(HashSDF.Config(**{**OPEN, **given}), SIZES[2])
        assert not set(found) & set(given)
    assert HashSDF.follows(HashSDF.Config(), SIZES[2]) == {}
    assert Renderer.follows(Renderer.Config(), SIZES[2]) == {}


def test_a_model_takes_what_its_views_ask_for(views: ViewSet, tmp_path: Path) -> None:
    fit = model({**OPEN, "max_resolution": 40}, {"sharpness_end": None})
    assert fit.steps_to_make(None) == 0, "without views nothing says how many"
    fit.begin(views, seed=1)
    chosen = fit.choices()
    assert fit.steps_to_make(None) == fit.steps_to_make(0) == chosen["steps"] > 5
    assert fit.steps_to_make(5) == 5
    assert set(chosen) == {
        "geometry.levels",
        "geometry.log2_rows",
        "renderer.sharpness_end",
        "steps",
    }
    assert fit.cfg.geometry["levels"] == chosen["geometry.levels"] == fit.geometry.layout.levels
    assert fit.cfg.geometry["max_resolution"] == 40
    again = model({**OPEN, "max_resolution": 40}, {"sharpness_end": None})
    again.begin(views, seed=1)
    weights = fit.geometry.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.geometry.state_dict().items())
    again.begin(views, seed=1)
    assert again.choices() == chosen, "asked once more, the answer is the same"
    loaded = SceneModel.load(fit.save(tmp_path / "model"))
    assert isinstance(loaded, SDFModel)
    assert loaded.geometry.layout == fit.geometry.layout


def test_a_resumed_fit_keeps_what_was_chosen(views: ViewSet) -> None:
    """Also where the rule would say something else now."""
    before = model({"levels": 3, "max_resolution": 40, "log2_rows": 9}, {"sharpness_end": 90})
    before.begin(views)
    chosen = {
        "geometry.levels": 3,
        "geometry.max_resolution": 40,
        "geometry.log2_rows": 9,
        "renderer.sharpness_end": 90.0,
        "steps": 7,
    }
    state = {**before.fit_state(), "chosen": chosen, "step_count": 1, "max_steps": 7}
    now = model(OPEN, {"sharpness_end": None})
    now.begin(views)
    assert now.geometry.layout != before.geometry.layout
    now.load_fit_state(state)
    now.load_state_dict(before.state_dict())
    assert now.choices() == chosen and now.cfg.renderer == {"sharpness_end": 90.0}
    optimised = {id(p) for group in now.optimizer.param_groups for p in group["params"]}
    assert id(now.geometry.table) in optimised
    now.start(steps=7)
    now.step()
    assert now.fit_state()["chosen"] == chosen and now.fit_state()["step_count"] == 2
