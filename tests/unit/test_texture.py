"""Unwrapping and baking: charts do not overlap, colours arrive where they belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.export import unwrap as unwrapping
from studio.export.cleanup import face_components
from studio.export.isosurface import extract_mesh
from studio.export.texture import (
    TextureBaker,
    bake_texture,
    fill_texture,
    query_colours,
    rasterise_uv,
)
from studio.export.unseen import continued
from studio.export.unwrap import unwrap
from studio.export.view_colours import Footage, smoothed_normals
from studio.mesh import Mesh
from studio.metrics.renders import mesh_psnr
from studio.ops.ray_caster import cast_mesh, render_mesh


def bean(points: Tensor) -> Tensor:
    """Two balls grown together."""
    one = (points - torch.tensor([0.12, 0.0, -0.1])).norm(dim=1) - 0.25
    two = (points - torch.tensor([-0.1, 0.05, 0.15])).norm(dim=1) - 0.2
    return -0.05 * torch.logsumexp(torch.stack([-one, -two]) / 0.05, 0)


def position_colour(points: Tensor, normals: Tensor) -> Tensor:
    return 0.5 + points


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return extract_mesh(bean, 0.5, 64, faces=4000).with_normals()


@pytest.fixture(scope="module")
def cut(mesh) -> Mesh:
    return unwrap(mesh, 512)


def test_uv_lie_in_the_unit_square_and_the_surface_is_unchanged(mesh, cut):
    assert cut.uv.min() >= 0 and cut.uv.max() <= 1
    assert cut.volume == pytest.approx(mesh.volume, rel=1e-5)
    assert np.array_equal(cut.vertices[cut.faces], mesh.vertices[mesh.faces])  # faces keep order
    assert np.abs(np.linalg.norm(cut.normals, axis=1) - 1).max() < 1e-4


def uv_areas(cut: Mesh) -> np.ndarray:
    a, b, c = (cut.uv[cut.faces[:, i]].astype(np.float64) for i in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    return 0.5 * np.abs(ux * vy - uy * vx)


def test_charts_do_not_overlap(cut):
    """Painted area equals the sum of the triangles' areas, so nothing is painted twice."""
    covered = rasterise_uv(cut, 1024).covered.mean()
    assert covered == pytest.approx(uv_areas(cut).sum(), rel=0.01)
    assert covered > 0.58


def test_a_surface_that_winds_over_itself_is_cut_into_layers():
    """Two turns of a spiral ramp face up, are connected, and lie one over the other."""
    turn, radius = np.meshgrid(np.linspace(0, 4 * np.pi, 121), [0.15, 0.45], indexing="ij")
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), 0.03 * turn - 0.2], -1)
    quad = np.array([0, 1, 3, 0, 3, 2]).reshape(2, 3)
    ramp = Mesh(
        points.reshape(-1, 3).astype(np.float32),
        (2 * np.arange(120)[:, None, None] + quad).reshape(-1, 3),
    )
    assert (ramp.face_normals[:, 2] > 0).all()
    cut = unwrap(ramp, 512, method="box")
    assert rasterise_uv(cut, 1024).covered.mean() == pytest.approx(uv_areas(cut).sum(), rel=0.01)
    beneath, above = cut.uv[cut.faces[0]], cut.uv[cut.faces[122]]  # a turn later
    assert np.abs(beneath - above).max() > 0.1
    assert len(cut.vertices) < 1.1 * len(ramp.vertices), "cut in two, not in pieces"


def test_texels_know_their_place(cut):
    texels = rasterise_uv(cut, 256)
    assert bean(torch.from_numpy(texels.points)).abs().max() < 0.01
    rows, columns = np.nonzero(texels.covered)
    corner = cut.uv[cut.faces[texels.face]]
    at = np.stack([(columns + 0.5) / 256, 1 - (rows + 0.5) / 256], 1)
    assert (at >= corner.min(1) - 1e-6).all() and (at <= corner.max(1) + 1e-6).all()


def test_baked_colours_show_up_in_renders(cut):
    """Seams, the V axis and the filling of gaps all show here."""
    baked = bake_texture(cut, position_colour, 512)
    cameras = orbit_cameras([0, 60, 120, 180, 240, 300], [30, -30] * 3, size=96)
    shown = render_mesh(baked, cameras, shading=False)
    exact = query_colours(cut.vertices, cut.normals, position_colour)
    wanted = render_mesh(replace(cut, uv=None, colours=exact), cameras, shading=False)
    error = ((shown.rgb_on() - wanted.rgb_on()) ** 2).mean(dim=(1, 2, 3))
    assert error.max() < 1e-4  # 40 dB in every view


def test_gaps_take_the_nearest_colour():
    covered = np.zeros((8, 8), dtype=bool)
    covered[1, 1] = covered[6, 6] = True
    texture = fill_texture(np.array([[1.0, 0, 0], [0, 0, 1.0]]), covered)
    assert texture[0, 0].tolist() == [255, 0, 0] and texture[7, 7].tolist() == [0, 0, 255]
    assert texture[2, 3].tolist() == [255, 0, 0] and texture[5, 4].tolist() == [0, 0, 255]


def test_the_clock_decides_nothing_of_an_export():
    """What a busy machine makes is what an idle one makes: only the log looks at the time."""
    for path in Path(unwrapping.__file__).parent.glob("*.py"):
        source = path.read_text()
        assert "timeout" not in source and "monotonic" not in source, path
        assert path.name == "clock.py" or "import time" not in source, path


def test_charts_keep_shape_and_scale(mesh):
    """Flattening stretches the faces of a curved patch, but not much."""
    cut = unwrap(mesh, 512)
    ratio = uv_areas(cut) / np.linalg.norm(cut.face_normals, axis=1)
    assert ratio.max() / np.median(ratio) < 1.3 and ratio.min() / np.median(ratio) > 0.7


@pytest.fixture(scope="module")
def pictures(mesh):
    coloured = replace(mesh, colours=query_colours(mesh.vertices, mesh.normals, position_colour))
    return render_mesh(coloured, orbit_cameras(range(0, 360, 45), 20.0, size=128), shading=False)


def stripes(points: Tensor, normals: Tensor) -> Tensor:
    """Fine detail that the pictures show and the field below does not know."""
    return 0.5 + 0.4 * torch.sin(points * 60)


@pytest.fixture(scope="module")
def striped(mesh):
    """Pictures of the striped mesh from two rings, and the field's blurred idea of it."""
    cut = unwrap(mesh, 512, method="box")
    cameras = orbit_cameras(range(0, 360, 30), [40.0, -20.0] * 6, size=160)
    return cut, render_mesh(bake_texture(cut, stripes, 512), cameras, shading=False)


def grey(points: Tensor, normals: Tensor) -> Tensor:
    return torch.full_like(points, 0.5)


def test_pictures_bring_detail_that_the_field_lacks(striped):
    cut, views = striped
    baker = TextureBaker(cut, 256)
    field = baker.query(grey)
    before = mesh_psnr(baker.textured(field), views)
    after = mesh_psnr(baker.textured(baker.refined(field, Footage(cut, views))), views)
    assert after > before + 7


def test_held_out_pictures_gain_as_well(striped):
    cut, views = striped
    baker = TextureBaker(cut, 256)
    field = baker.query(grey)
    given, held_out = views.select(list(range(0, 12, 2))), views.select([1, 5, 9])
    better = baker.textured(baker.refined(field, Footage(cut, given)))
    assert mesh_psnr(better, held_out) > mesh_psnr(baker.textured(field), held_out) + 1


def test_right_colours_are_left_alone(mesh, pictures):
    cut = unwrap(mesh, 256, method="box")
    baker = TextureBaker(cut, 256)
    field = baker.query(position_colour)
    change = np.abs(baker.refined(field, Footage(mesh, pictures)) - field)
    assert change.max() < 0.05 and change.mean() < 0.002


def test_unseen_texels_keep_the_field(mesh, pictures):
    """From 20 degrees above, nothing below is seen."""
    cut = unwrap(mesh, 256, method="box")
    baker = TextureBaker(cut, 256)
    texels = baker.texels
    black = np.zeros_like(texels.points)
    painted = baker.refined(black, Footage(mesh, pictures)).max(1) > 0
    assert not painted[texels.normals[:, 2] < -0.99].any()
    assert painted[texels.normals[:, 2] > 0.5].mean() > 0.85  # beside outlines nothing is certain


def test_what_is_behind_takes_nothing_from_what_is_in_front():
    """A red ball before a large blue one: no red reaches the blue one's shadowed part."""
    front, back = torch.tensor([0.32, 0.0, 0.0]), torch.tensor([-0.15, 0.0, 0.0])

    def field(p: Tensor) -> Tensor:
        return torch.minimum((p - front).norm(dim=1) - 0.1, (p - back).norm(dim=1) - 0.3)

    two = extract_mesh(field, 0.5, 64).with_normals()
    red = two.vertices[:, 0] > 0.19
    colours = np.where(red[:, None], [1.0, 0, 0], [0, 0, 1.0]).astype(np.float32)
    cameras = orbit_cameras([-25.0, 0.0, 25.0], 0.0, size=128)
    views = render_mesh(replace(two, colours=colours), cameras, shading=False)
    start = replace(two, colours=np.full_like(colours, 0.5))
    found = Footage(two, views).refine_vertices(start).colours
    assert found[~red, 0].max() < 0.55
    assert found[red & (two.normals[:, 0] > 0.6)][:, 0].min() > 0.9


def test_orthographic_pictures_paint_too(mesh):
    cameras = orbit_cameras([0, 90, 180, 270], 20.0, size=96)
    cameras = replace(cameras, ortho_scale=torch.full((4,), 1.2))
    views = render_mesh(
        replace(mesh, colours=query_colours(mesh.vertices, mesh.normals, position_colour)),
        cameras,
        shading=False,
    )
    start = replace(mesh, colours=np.full_like(mesh.vertices, 0.5))
    found = Footage(mesh, views).refine_vertices(start)
    assert mesh_psnr(found, views) > mesh_psnr(start, views) + 6


def test_unseen_vertices_continue_the_seen_ones(mesh):
    """Red seen from above and white in the field: nothing of the underside stays white."""
    red = replace(mesh, colours=np.tile(np.float32([1, 0, 0]), (len(mesh.vertices), 1)))
    cameras = orbit_cameras(range(0, 360, 45), 30.0, size=96)
    views = render_mesh(red, cameras, shading=False)
    white = replace(mesh, colours=np.ones_like(mesh.vertices))
    painted = Footage(mesh, views).refine_vertices(white)
    assert np.abs(painted.colours - red.colours).max() < 0.05
    cut = unwrap(mesh, 256, method="box")
    baker = TextureBaker(cut, 256)
    start = np.ones_like(baker.texels.points)
    found = baker.refined(start, Footage(mesh, views), painted)
    assert np.quantile(found[:, 1], 0.99) < 0.2 and found[:, 1].mean() < 0.01
    assert (baker.refined(start, Footage(mesh, views))[:, 1] > 0.9).mean() > 0.1


def test_colours_are_continued_as_harmonic_functions():
    """On a strip of which both ends are certain: a straight line between them."""
    n = 21
    upper, lower = np.arange(n), np.arange(n) + n
    quads = [(upper[i], upper[i + 1], lower[i + 1], lower[i]) for i in range(n - 1)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    certain = np.zeros(2 * n, bool)
    certain[[0, n, n - 1, 2 * n - 1]] = True
    colours = np.full((2 * n, 3), 0.3, np.float32)
    colours[[0, n]], colours[[n - 1, 2 * n - 1]] = 0.0, 1.0
    found = continued(faces, colours, certain)
    line = np.linspace(0, 1, n)
    assert np.abs(found[:n, 0] - line).max() < 0.05 and np.abs(found[n:, 0] - line).max() < 0.05
    alone = continued(faces, colours, np.zeros(2 * n, bool))
    assert np.array_equal(alone, colours)


def middles(mesh):
    """The middle of every face."""
    return np.arange(len(mesh.faces)), np.full((len(mesh.faces), 3), 1 / 3, np.float32)


def test_a_margin_leaves_out_what_lies_beside_outlines(mesh, pictures):
    black = replace(mesh, colours=np.zeros_like(mesh.vertices))
    narrow, wide = (
        Footage(mesh, pictures, margin).look(*middles(mesh)).certain.mean() for margin in (3.0, 0.0)
    )
    assert narrow < wide
    assert Footage(mesh, pictures, 200.0).refine_vertices(black).colours.max() == 0


def test_a_given_picture_shows_sharply_where_it_sees_and_nowhere_else():
    """Views of 24 px blur the stripes; a picture of 192 px brings them back, on its side only."""
    ball = extract_mesh(lambda x: x.norm(dim=1) - 0.3, 0.5, 64, faces=4000).with_normals()
    cut = unwrap(ball, 1024, method="box")

    def fine(points: Tensor, normals: Tensor) -> Tensor:
        return (0.5 + 0.4 * torch.sign(torch.sin(60 * points)) * (points[:, :1] > -0.2)).float()

    truth = bake_texture(cut, fine, 1024)
    blurred = render_mesh(truth, orbit_cameras(range(0, 360, 30), 15.0, size=24), shading=False)
    given = render_mesh(truth, orbit_cameras([0.0], 15.0, size=192), supersample=3, shading=False)
    painted = {}
    for name, originals in (("views", []), ("both", [given])):
        baker = TextureBaker(cut, 1024)
        footage = Footage(ball, blurred, 0.0, originals)
        painted[name] = baker.textured(baker.refined(baker.query(grey), footage))
    gain = mesh_psnr(painted["both"], given) - mesh_psnr(painted["views"], given)
    assert gain > 5
    behind = render_mesh(truth, orbit_cameras([180.0], 15.0, size=64), shading=False)
    assert mesh_psnr(painted["both"], behind) > mesh_psnr(painted["views"], behind) - 0.5


def lumpy(mesh):
    off = np.random.default_rng(0).normal(0, 0.004, mesh.vertices.shape).astype(np.float32)
    return replace(mesh, normals=None, vertices=mesh.vertices + off).with_normals()


def flat(views, colour):
    """The pictures with one colour all over."""
    images = views.images.clone()
    images[:, :3] = torch.tensor(colour)[:, None, None]
    return replace(views, images=images)


@pytest.fixture(scope="module")
def lumpy_ball():
    ball = extract_mesh(lambda x: x.norm(dim=1) - 0.3, 0.5, 64, faces=4000).with_normals()
    ball = lumpy(ball)
    grey_ball = replace(ball, colours=np.full_like(ball.vertices, 0.5))
    made = render_mesh(grey_ball, orbit_cameras(range(0, 360, 30), 15.0, size=24), shading=False)
    given = render_mesh(grey_ball, orbit_cameras([0.0], 15.0, size=192), shading=False)
    return grey_ball, made, given


def test_a_given_picture_ends_in_one_soft_line_on_a_lumpy_surface(lumpy_ball):
    """Red in the given picture and blue in all others: one red patch, that fades out."""
    ball, made, given = lumpy_ball
    red, blue = flat(given, (1.0, 0.0, 0.0)), flat(made, (0.0, 0.0, 1.0))
    found = Footage(ball, blue, 0.0, [red]).refine_vertices(ball).colours[:, 0]
    assert found.max() > 0.99 and found.min() < 0.01
    patch = ball.faces[(found > 0.5)[ball.faces].all(1)]
    parts = np.bincount(face_components(patch))
    assert parts.max() > 0.99 * parts.sum()
    steps = np.abs(np.diff(found[ball.faces], axis=1))
    assert (steps > 0.75).mean() < 0.001 and np.quantile(steps[steps > 0.02], 0.9) < 0.45


def test_views_that_contradict_each_other_leave_the_field_its_colours(lumpy_ball):
    """Black, white, black, ...: grey stays, rather than a patchwork of both."""
    ball, made, given = lumpy_ball
    mixed = flat(made, (0.0, 0.0, 0.0))
    mixed.images[::2, :3] = 1.0
    found = Footage(ball, mixed, 0.0, [flat(given, (0.5, 0.5, 0.5))]).refine_vertices(ball)
    alone = Footage(ball, mixed).refine_vertices(ball)
    unrest = [np.abs(mesh.colours - 0.5).mean() for mesh in (found, alone)]
    assert unrest[0] < 0.5 * unrest[1]


def test_lumps_do_not_choose_the_pictures(mesh):
    bumpy = lumpy(mesh)
    even = smoothed_normals(bumpy, 6)
    off = [1 - (normals * mesh.normals).sum(1).mean() for normals in (even, bumpy.normals)]
    assert off[0] < 0.7 * off[1]
    assert np.abs(np.linalg.norm(even, axis=1) - 1).max() < 1e-4


def test_mirrored_light_that_is_known_stays_out_of_the_texture(mesh, pictures):
    """Highlights that move with the camera: pictures without them would give the same colours."""

    def gloss(points, normals, rays):
        assert np.abs(np.linalg.norm(rays, axis=1) - 1).max() < 1e-5
        return 0.5 * np.clip(-(normals * rays).sum(1, keepdims=True), 0, 1) ** 20 * np.ones(3)

    shown = cast_mesh(mesh, pictures.cameras).normal
    rays = pictures.cameras.rays().directions.view(*shown.shape).numpy()
    added = gloss(None, shown.reshape(-1, 3), rays.reshape(-1, 3)).reshape(shown.shape)
    images = pictures.images.clone()
    images[:, :3] += torch.from_numpy(added).permute(0, 3, 1, 2).float()
    glossy = replace(pictures, images=images)
    grey_mesh = replace(mesh, colours=np.full_like(mesh.vertices, 0.5))
    true = Footage(mesh, pictures).refine_vertices(grey_mesh).colours
    told = Footage(mesh, glossy, gloss=gloss).refine_vertices(grey_mesh).colours
    untold = Footage(mesh, glossy).refine_vertices(grey_mesh).colours
    assert np.abs(told - true).mean() < 0.1 * np.abs(untold - true).mean()
    assert np.abs(told - true).mean() < 0.01
