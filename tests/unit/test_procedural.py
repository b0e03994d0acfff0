"""Procedural objects: pure functions of their seed, closed, normalised, split without overlap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.cameras import orbit_cameras
from studio.data.procedural import dataset as procedural
from studio.data.procedural.dataset import ProceduralData, render_object
from studio.data.procedural.objects import categories, make_object, split_seed
from studio.data.procedural.sculptor import (
    HELD_OUT_HUE,
    HELD_OUT_STRETCH,
    MAX_REACH,
    TEST_SEED,
    colour_name,
)
from studio.errors import ConfigError
from studio.ops.ray_caster import cast_mesh
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.rigs import RIGS

MAIN = ("car", "house", "armchair", "animal")


def small(**options: object) -> ProceduralData:
    values = {"objects": 4, "val_objects": 2, "resolution": 24, **options}
    return ProceduralData(parse_config(ProceduralData.Config, values, key="data"))


def test_there_are_many_categories_and_every_one_says_what_it_is() -> None:
    assert len(categories()) >= 89
    assert {*MAIN, "sports_car", "cup", "teapot", "shoe", "dining_chair"} <= set(categories())
    for category in categories():
        captions = {make_object(category, seed).caption for seed in range(3)}
        assert all(len(caption.split()) >= 2 and "_" not in caption for caption in captions)


def test_new_kinds_never_changed_the_objects_that_shipped_weights_were_trained_on() -> None:
    for category, sides, caption in (
        ("car", (1.0, 0.5869319, 0.4758238), "a pink car"),
        ("armchair", (0.5987909, 0.9343325, 0.6027127), "a blue sofa"),
    ):
        vertices = make_object(category, 0).arrays[0]
        assert np.ptp(vertices, axis=0) == pytest.approx(sides, abs=1e-6)
        assert make_object(category, 0).caption == caption


@pytest.mark.parametrize("category", categories())
def test_objects_are_normalised_symmetric_and_closed(category: str) -> None:
    for seed in (0, TEST_SEED):
        thing = make_object(category, seed)
        vertices, faces, colours, normals = thing.arrays
        low, high = vertices.min(0), vertices.max(0)
        assert low + high == pytest.approx(np.zeros(3), abs=1e-5)
        longest, reach = (high - low).max(), np.linalg.norm(vertices, axis=1).max()
        assert longest == pytest.approx(1.0, abs=1e-5) or reach == pytest.approx(MAX_REACH)
        assert longest <= 1 + 1e-5 and reach <= MAX_REACH + 1e-5
        assert 0 <= colours.min() and colours.max() <= 1
        assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(len(normals)), abs=1e-5)
        points = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 3))
        mirrored = points * [1, -1, 1]
        assert (thing.occupancy(points) != thing.occupancy(mirrored)).mean() < 0.002
        for part in thing.parts:
            assert_closed(part.corners)


def assert_closed(corners: np.ndarray) -> None:
    """Every edge is used once in each direction, the volume is positive, the part is convex."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() > 0
    assert np.abs(np.cross(b - a, c - a).sum(0)).max() < 1e-9  # a closed surface has no net area
    outward = np.cross(b - a, c - a)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (corners.reshape(-1, 3) @ outward.T - (outward * a).sum(1)).max() < 1e-6


@pytest.mark.parametrize("category", [*MAIN, "sports_car", "cup", "stool"])
def test_occupancy_fills_exactly_the_rendered_silhouette(category: str) -> None:
    thing = make_object(category, 3)
    camera = orbit_cameras([37.0], 30.0, size=32)
    mask = render_object(category, 3, camera, supersample=1).mask[0] > 0.5
    steps = np.linspace(0.85, 2.15, 260)
    pixels = np.stack(np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5), -1).reshape(-1, 2)
    inverse = np.linalg.inv(camera.intrinsics[0].double().numpy())
    rays = np.c_[pixels, np.ones(len(pixels))] @ inverse.T
    pose = camera.c2w[0].double().numpy()
    points = (rays[:, None] * steps[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    seen = thing.occupancy(points.reshape(-1, 3)).reshape(32 * 32, -1).any(1).reshape(32, 32)
    assert not (seen & ~mask).any()
    assert (mask & ~seen).mean() < 0.004  # only rims thinner than a step may be missed


@pytest.mark.parametrize("category", categories())
def test_objects_stay_inside_the_picture_and_look_different_from_behind(category: str) -> None:
    cameras = orbit_cameras([0.0, 180.0, 45.0], [30.0, 30.0, 10.0], size=32)
    rgba = render_object(category, 5, cameras).rgba
    for edge in (rgba[:, 0], rgba[:, -1], rgba[:, :, 0], rgba[:, :, -1]):
        assert edge[..., 3].max() == 0
    white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    assert np.abs(white[0] - white[1]).mean() > 1e-4


def test_the_same_seed_gives_the_same_object_and_another_one_does_not() -> None:
    first, again, other = (make_object("car", seed).arrays for seed in (11, 11, 12))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_splits_are_disjoint_and_training_never_sees_the_held_out_bands() -> None:
    assert split_seed(0, "val") == TEST_SEED == split_seed(TEST_SEED - 1, "train") + 1
    with pytest.raises(ValueError, match="outside"):
        split_seed(TEST_SEED, "train")

    def inside(value: float, band: tuple[float, float]) -> bool:
        return band[0] <= value <= band[1]

    train = [make_object("lamp", seed) for seed in range(60)]
    train += [make_object("animal", seed) for seed in range(20)]
    test = [make_object("lamp", TEST_SEED + index) for index in range(90)]
    assert not any(inside(thing.hue, HELD_OUT_HUE) for thing in train)
    assert not any(inside(thing.stretch, HELD_OUT_STRETCH) for thing in train)
    hue = sum(inside(thing.hue, HELD_OUT_HUE) for thing in test)
    stretch = sum(inside(thing.stretch, HELD_OUT_STRETCH) for thing in test)
    assert 18 <= hue <= 42 and 18 <= stretch <= 42


def test_captions_name_the_colours() -> None:
    assert colour_name((0.9, 0.1, 0.1)) == "red"
    assert colour_name((0.97, 0.97, 0.97)) == "white"
    assert colour_name((0.45, 0.28, 0.15)) == "brown"
    assert make_object("car", 0).caption.startswith("a ")
    assert len({make_object("car", seed).caption for seed in range(12)}) > 5
    seats = [make_object("armchair", seed).caption for seed in range(40)]
    assert 10 <= sum("cushions" in seat for seat in seats) <= 30  # so that the noun says it, too


def test_rolling_the_ring_equals_turning_the_object() -> None:
    ring = RIGS["ele30"].cameras(32)
    still = render_object("animal", 7, ring).rgba
    turned = render_object("animal", 7, ring, yaw_deg=-5 * 22.5).rgba
    difference = np.abs(np.roll(still, -5, axis=0) - turned).max(-1)
    assert (difference > 0.01).mean() < 2e-3  # rays that graze an edge fall either way
    assert np.abs(still - turned).mean() > 0.01


@pytest.mark.parametrize(("rig", "views", "first"), [("ele30", 16, 0), ("epidiff96", 96, 4)])
def test_items_follow_the_batch_contract(rig: str, views: int, first: int) -> None:
    data = small(rig=rig, objects=2, captions=True)
    item = data.dataset("train")[1]
    assert item["images"].shape == (views, 3, 24, 24)
    assert item["c2w"].shape == (views, 4, 4) and item["intrinsics"].shape == (views, 3, 3)
    assert all(item[key].dtype == torch.float32 for key in ("images", "c2w", "intrinsics"))
    assert item["images"].min() >= -1 and item["images"].max() == 1
    assert torch.equal(item["cond_image"], item["images"][first])
    assert torch.equal(item["cond_c2w"], item["c2w"][first])
    azimuth, elevation, radius = data.cameras.spherical()
    step = views // 16
    assert azimuth[::step].numpy() % 360 == pytest.approx(np.arange(16) * 22.5, abs=1e-3)
    assert float(elevation[first]) == pytest.approx(30, abs=1e-3)
    assert radius.numpy() == pytest.approx(np.full(views, 1.5), abs=1e-5)
    assert item["caption"] == make_object("house", 1).caption


def test_another_reference_rolls_pictures_but_not_cameras() -> None:
    data = small(rig="epidiff96", objects=1)
    views = data.dataset("train")
    plain, rolled = views.item(0, 0), views.item(0, 3)
    assert torch.equal(rolled["images"][0], plain["images"][18])
    assert torch.equal(rolled["images"][95], plain["images"][17])
    assert torch.equal(rolled["c2w"], plain["c2w"])


def test_ground_truth_stands_where_the_pictures_show_it() -> None:
    data = small(resolution=32)
    item = data.dataset("train").item(3, 5)
    truth = data.truth("train", 3, reference=5)
    rgba = cast_mesh(truth.mesh(), data.cameras[[0, 4]], geometry=False).rgba
    white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    shown = (item["images"][[0, 4]].permute(0, 2, 3, 1).numpy() + 1) / 2
    assert (np.abs(shown - white).max(-1) > 0.01).mean() < 2e-3

    plain = make_object("animal", 3)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3))
    quarter = points[:, [1, 0, 2]] * [-1, 1, 1]
    assert np.array_equal(plain.turned(90).occupancy(quarter), plain.occupancy(points))
    assert plain.occupancy(points).any()


def test_random_references_follow_torch_and_first_is_fixed() -> None:
    views = small(objects=1).dataset("train")
    torch.manual_seed(3)
    drawn = [views[0]["images"] for _ in range(4)]
    torch.manual_seed(3)
    assert all(torch.equal(a, views[0]["images"]) for a in drawn)
    assert any(not torch.equal(drawn[0], other) for other in drawn[1:])
    fixed = small(objects=1, reference="first").dataset("train")
    assert torch.equal(fixed[0]["images"], fixed[0]["images"])


def test_cache_holds_the_same_pictures_and_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = small().views_array("val")
    cached = small(cache_dir=str(tmp_path))
    assert np.array_equal(cached.views_array("val"), fresh)
    assert [path.name for path in tmp_path.iterdir()] == [cached.cache_path("val").name]
    monkeypatch.setattr(procedural, "caster_of", None)
    assert np.array_equal(small(cache_dir=str(tmp_path)).views_array("val"), fresh)


def test_cache_name_depends_on_what_decides_the_pictures() -> None:
    data = small(cache_dir="cache")
    path = data.cache_path("train")
    for change in ({"seed": 9}, {"resolution": 32}, {"yaw_jitter": False}, {"categories": ["car"]}):
        assert ProceduralData(replace(data.cfg, **change)).cache_path("train") != path
    same = replace(data.cfg, captions=True, reference="first")
    assert ProceduralData(same).cache_path("train") == path
    assert data.cache_path("val") != path


@pytest.mark.parametrize(
    ("options", "given", "allowed"),
    [
        ({"categories": ["car", "unicorn"]}, "unicorn", "armchair"),
        ({"rig": "dome"}, "dome", "epidiff96"),
        ({"reference": "last"}, "last", "random"),
        ({"input_elevation_deg": 12.0}, "12", "30"),
    ],
)
def test_wrong_options_say_what_is_allowed(
    options: dict[str, object], given: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build("data", "procedural", options, key="data")
    assert given in str(caught.value) and allowed in str(caught.value)
