"""The ray caster against shapes whose pictures are known, and against the camera convention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.cameras import Cameras, orbit_cameras
from studio.data.procedural.parts import Part, box, ellipsoid
from studio.mesh import Mesh
from studio.ops.ray_caster import RayCaster, cast_mesh, light, render_mesh

WHITE = (1.0, 1.0, 1.0)


def as_mesh(*parts: Part, normals: bool = True) -> Mesh:
    corners = np.concatenate([part.corners for part in parts]).reshape(-1, 3).astype(np.float32)
    colours = np.concatenate([np.tile(part.colour, (3 * len(part.corners), 1)) for part in parts])
    shading = np.concatenate([part.normals for part in parts]).reshape(-1, 3).astype(np.float32)
    return Mesh(
        vertices=corners,
        faces=np.arange(len(corners), dtype=np.int64).reshape(-1, 3),
        colours=colours.astype(np.float32),
        normals=shading if normals else None,
    )


def centroid(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask > 0.5)
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5)


def test_sphere_silhouette_is_the_tangent_cone() -> None:
    size, radius, distance = 96, 0.45, 1.5
    camera = orbit_cameras([40.0], 20.0, radius=distance, size=size)
    mesh = as_mesh(ellipsoid((radius, radius, radius), (0, 0, 0), WHITE))
    mask = cast_mesh(mesh, camera).mask[0]
    focal = float(camera.intrinsics[0, 0, 0])
    expected = np.pi * (focal * radius / np.sqrt(distance**2 - radius**2)) ** 2
    assert mask.sum() == pytest.approx(expected, rel=0.03)  # 320 triangles lie a little inside
    assert mask.sum() < expected
    assert centroid(mask) == pytest.approx((size / 2, size / 2), abs=0.2)


def test_box_covers_exactly_the_projected_front_face() -> None:
    size = 64
    camera = orbit_cameras([0.0], 0.0, size=size)
    mask = cast_mesh(as_mesh(box((0.4, 0.5, 0.3), (0, 0, 0), WHITE)), camera, supersample=4).mask[0]
    scale = float(camera.intrinsics[0, 0, 0]) / (1.5 - 0.2)
    assert mask.sum() == pytest.approx(0.5 * 0.3 * scale**2, rel=0.01)
    assert mask.sum(1).max() == pytest.approx(0.5 * scale, abs=0.26)
    assert mask.sum(0).max() == pytest.approx(0.3 * scale, abs=0.26)


@pytest.mark.parametrize(
    ("place", "azimuth", "column", "row"),
    [
        ((0.4, 0.0, 0.0), 0.0, "centre", "centre"),
        ((0.0, 0.4, 0.0), 0.0, "right", "centre"),
        ((0.0, 0.0, 0.4), 0.0, "centre", "upper"),
        ((0.4, 0.0, 0.0), 90.0, "left", "centre"),
    ],
)
def test_markers_appear_where_the_convention_says(
    place: tuple[float, float, float], azimuth: float, column: str, row: str
) -> None:
    camera = orbit_cameras([azimuth], 0.0, size=64)
    x, y = centroid(cast_mesh(as_mesh(box((0.1, 0.1, 0.1), place, WHITE)), camera).mask[0])
    where = {"left": x < 24, "right": x > 40, "centre": abs(x - 32) < 1, "upper": y < 24}
    assert where[column]
    assert where["upper"] if row == "upper" else abs(y - 32) < 1


def test_pictures_agree_with_the_projection_of_cameras() -> None:
    place = (0.15, -0.22, 0.18)
    cameras = orbit_cameras([10.0, 130.0, 250.0], [-10.0, 30.0, 55.0], size=96)
    masks = cast_mesh(as_mesh(ellipsoid((0.05, 0.05, 0.05), place, WHITE)), cameras).mask
    pixels, _ = cameras.project(torch.tensor([place]))
    for mask, pixel in zip(masks, pixels.reshape(-1, 2).tolist(), strict=True):
        assert centroid(mask) == pytest.approx(tuple(pixel), abs=0.4)


def test_depth_normal_and_light_of_a_plane() -> None:
    camera = orbit_cameras([0.0], 0.0, size=32)
    pictures = cast_mesh(as_mesh(box((0.2, 0.8, 0.8), (0, 0, 0), (0.5, 0.25, 1.0))), camera)
    assert pictures.depth is not None and pictures.normal is not None
    assert pictures.depth[0, 16, 16] == pytest.approx(1.4, abs=1e-4)
    assert pictures.normal[0, 16, 16] == pytest.approx([1, 0, 0], abs=1e-5)
    shade = float(light(np.array([1.0, 0.0, 0.0])))
    assert pictures.rgba[0, 16, 16] == pytest.approx(
        [0.5 * shade, 0.25 * shade, shade, 1], abs=1e-5
    )
    assert pictures.rgba[0, 0, 0].tolist() == [0, 0, 0, 0]


def test_depth_is_that_of_the_surface_at_the_rim_too() -> None:
    camera = orbit_cameras([0.0], 0.0, size=32)
    pictures = cast_mesh(as_mesh(box((0.2, 0.61, 0.61), (0, 0, 0), WHITE)), camera)
    assert pictures.depth is not None
    rim = (pictures.mask[0] > 0) & (pictures.mask[0] < 1)
    assert rim.any()
    assert pictures.depth[0][rim] == pytest.approx(1.4, abs=1e-4)


def test_light_is_brightest_from_above_and_ignores_the_azimuth() -> None:
    assert float(light(np.array([0.0, 0.0, 1.0]))) == pytest.approx(1.0)
    sides = light(np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0]]))
    assert np.ptp(sides) == 0
    assert float(light(np.array([0.0, 0.0, -1.0]))) < sides[0] < 1


def test_straight_alpha_keeps_the_colour_at_the_rim() -> None:
    camera = orbit_cameras([0.0], 0.0, size=32)
    mesh = as_mesh(ellipsoid((0.4, 0.4, 0.4), (0, 0, 0), (1.0, 0.5, 0.0)))
    rgba = cast_mesh(mesh, camera, shading=False).rgba[0]
    partly = (rgba[..., 3] > 0) & (rgba[..., 3] < 1)
    assert partly.any()
    assert np.abs(rgba[partly][:, :3] - [1.0, 0.5, 0.0]).max() < 1e-5


def test_texture_wins_and_its_origin_is_bottom_left() -> None:
    vertices = np.array([[0, -0.5, -0.5], [0, 0.5, -0.5], [0, 0.5, 0.5], [0, -0.5, 0.5]])
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0], texture[0, 1] = (255, 0, 0), (0, 255, 0)  # top row: left, right
    texture[1, 0], texture[1, 1] = (0, 0, 255), (255, 255, 255)
    mesh = Mesh(
        vertices=vertices.astype(np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        texture=texture,
    )
    rgba = cast_mesh(mesh, orbit_cameras([0.0], 0.0, size=64), shading=False).rgba[0]
    assert rgba[14, 14, :3] == pytest.approx([1, 0, 0], abs=0.02)
    assert rgba[14, 49, :3] == pytest.approx([0, 1, 0], abs=0.02)
    assert rgba[49, 14, :3] == pytest.approx([0, 0, 1], abs=0.02)
    assert rgba[49, 49, :3] == pytest.approx([1, 1, 1], abs=0.02)


@pytest.mark.parametrize("geometry", [True, False])
def test_compiled_textures_are_those_of_numpy(geometry: bool) -> None:
    ball = as_mesh(ellipsoid((0.5, 0.4, 0.3), (0.1, 0, 0), WHITE))
    random = np.random.default_rng(0)
    texture = random.integers(0, 256, (9, 14, 3)).astype(np.uint8)
    uv = random.uniform(-0.2, 1.2, (len(ball.vertices), 2)).astype(np.float32)
    caster = RayCaster(ball.vertices, ball.faces, normals=ball.normals, uv=uv, texture=texture)
    camera = orbit_cameras([20.0, 110.0], 30.0, size=48)
    given = camera.c2w.numpy(), camera.intrinsics.numpy(), camera.size
    for shading in (True, False):
        caster._compiled = True
        fast = caster.render(*given, shading=shading, geometry=geometry)
        caster._compiled = False
        slow = caster.render(*given, shading=shading, geometry=geometry)
        assert fast.mask.max() == 1 and np.array_equal(fast.rgba, slow.rgba)
        if geometry:
            assert np.array_equal(fast.normal, slow.normal)
            assert np.array_equal(fast.depth, slow.depth)


def test_face_colours_normals_and_bad_counts() -> None:
    part = box((0.4, 0.4, 0.4), (0, 0, 0), WHITE)
    mesh = as_mesh(part, normals=False)
    faces = np.where(part.normals[:, 0, 0:1] > 0.9, [[1.0, 0, 0]], [[0, 0, 1.0]])
    camera = orbit_cameras([0.0], 0.0, size=16)
    caster = RayCaster(mesh.vertices, mesh.faces, faces)
    view = caster.render(camera.c2w.numpy(), camera.intrinsics.numpy(), (16, 16), shading=False)
    assert view.rgba[0, 8, 8].tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match="5 colours"):
        RayCaster(mesh.vertices, mesh.faces, np.zeros((5, 3)))


def test_orthographic_views_do_not_shrink_with_distance() -> None:
    near = orbit_cameras([0.0], 0.0, radius=1.5, size=50)
    camera = Cameras(near.c2w, near.intrinsics, near.size, torch.tensor([1.0]))
    for x in (-0.4, 0.4):
        mask = cast_mesh(as_mesh(box((0.1, 0.4, 0.2), (x, 0, 0), WHITE)), camera).mask[0]
        assert mask.sum() == pytest.approx(20 * 10, rel=0.02)


@pytest.mark.parametrize("change", [(1.0, 0.0, 0.0), (0.6, 9.0, -7.0)])
def test_orthographic_pictures_agree_with_the_projection_of_cameras(change) -> None:
    ring = orbit_cameras([30.0], 25.0, size=80)
    wide, right, down = change  # pixels that are not square, a principal point off the centre
    intrinsics = ring.intrinsics.clone()
    intrinsics[:, 0, 0] *= wide
    intrinsics[:, 0, 2] += right
    intrinsics[:, 1, 2] += down
    camera = Cameras(ring.c2w, intrinsics, ring.size, torch.tensor([1.3]))
    place = (0.2, -0.3, 0.25)
    mask = cast_mesh(as_mesh(ellipsoid((0.06, 0.06, 0.06), place, WHITE)), camera).mask[0]
    pixels, _ = camera.project(torch.tensor([place]))
    assert centroid(mask) == pytest.approx(tuple(pixels.reshape(2).tolist()), abs=0.3)


def test_render_mesh_makes_a_view_set() -> None:
    cameras = orbit_cameras([0.0, 90.0], 30.0, size=24)
    mesh = as_mesh(box((1.0, 0.4, 0.3), (0, 0, 0), (0.2, 0.4, 0.6)))
    views = render_mesh(mesh, cameras)
    assert views.images.shape == (2, 4, 24, 24)
    assert views.images.dtype == torch.float32
    assert 0 <= float(views.images.min()) and float(views.images.max()) <= 1
    assert views.bound == pytest.approx(0.5)
    assert views.mask[1].sum() > views.mask[0].sum() > 0


def test_a_mesh_out_of_sight_gives_an_empty_picture() -> None:
    camera = orbit_cameras([0.0], 0.0, size=16)
    for place in ((0.0, 5.0, 0.0), (9.0, 0.0, 0.0)):
        assert cast_mesh(as_mesh(box((0.2, 0.2, 0.2), place, WHITE)), camera).mask.sum() == 0
