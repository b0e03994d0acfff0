"""Every layout of captures: written from a known rig, read back as the same rays and masks."""

import dataclasses
import json
import logging
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from studio.cameras import Cameras, opencv_to_opengl, orbit_cameras, spherical_to_cartesian
from studio.captures.lens import Lens, Undistorter
from studio.data.layouts.base import natural
from studio.data.layouts.capture import layouts, recognise
from studio.data.layouts.colmap_cameras import MODELS
from studio.data.layouts.colmap_files import read_sparse
from studio.data.layouts.dtu import decompose
from studio.data.layouts.placement import placement, rotation_to_z, up_direction
from studio.errors import DataError, StudioError
from studio.io.images import to_uint8
from studio.ops.visual_hull import Frame, visual_hull
from studio.plugins.options import build
from studio.views import ViewSet

DATA = os.environ.get("STUDIO_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="STUDIO_TEST_DATA is not set")
SIZE = 40
CENTRES = torch.tensor([[0.0, 0.0, 0.0], [0.25, 0.0, 0.05], [0.0, 0.15, 0.25]])
RADII = torch.tensor([0.22, 0.15, 0.12])
COLOURS = torch.tensor([[0.8, 0.3, 0.2], [0.2, 0.7, 0.3], [0.2, 0.3, 0.9]])
RIG = orbit_cameras([0, 50, 130, 220, 300], [20.0, 45, -10, 30, 0], 2.0, 45.0, SIZE)
# the world of a capture that knows nothing of ours: turned, moved, three times as large
ELSEWHERE = torch.eye(4)
ELSEWHERE[:3, :3] = 3 * rotation_to_z(torch.tensor([0.2, -0.9, 0.3]))
ELSEWHERE[:3, 3] = torch.tensor([4.0, -7.0, 2.0])


def photograph(cameras: Cameras) -> Tensor:
    """Three balls of different colours as the cameras see them, RGBA."""
    rays = cameras.rays()
    to_ball = CENTRES - rays.origins[:, None]
    along = (to_ball * rays.directions[:, None]).sum(-1)
    off = (to_ball - along[..., None] * rays.directions[:, None]).norm(dim=-1)
    depth = along - (RADII**2 - off**2).clamp(min=0).sqrt()
    depth = torch.where((off < RADII) & (along > 0), depth, torch.inf)
    nearest, which = depth.min(dim=1)
    rgba = torch.cat([COLOURS[which], torch.isfinite(nearest)[:, None].float()], dim=1)
    rgba[rgba[:, 3] == 0] = torch.tensor([1.0, 1.0, 1.0, 0.0])  # white where nothing is
    return rgba.reshape(len(cameras), *cameras.size, 4).movedim(-1, 1)


def save(path: Path, picture: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = to_uint8(picture)
    Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0]).save(path)


def read(kind: str, root: Path, **options: Any) -> ViewSet:
    return build("data", kind, {"root": str(root), **options}, key="data").load()


def assert_same(views: ViewSet, cameras: Cameras, tolerance: float = 1e-5) -> None:
    """Same rays, and the pictures that belong to them."""
    ours, given = views.cameras.rays(), cameras.rays()
    torch.testing.assert_close(ours.origins, given.origins, atol=tolerance, rtol=0)
    torch.testing.assert_close(ours.directions, given.directions, atol=tolerance, rtol=0)
    expected = photograph(cameras)
    torch.testing.assert_close(views.mask, expected[:, 3], atol=0.005, rtol=0)
    solid = expected[:, 3:] > 0.5
    off = ((views.images[:, :3] - expected[:, :3]) * solid).abs().max()
    assert off < 0.005


def elsewhere(cameras: Cameras) -> Cameras:
    """The cameras in the foreign world."""
    return cameras.placed(torch.linalg.inv(ELSEWHERE))


# --- transforms.json ----------------------------------------------------------------------------


def write_ngp(root: Path, cameras: Cameras, **extra: Any) -> None:
    frames = []
    for i, picture in enumerate(photograph(cameras)):
        save(root / "images" / f"{i}.png", picture)
        matrix = opencv_to_opengl(cameras.c2w[i]).tolist()
        frames.append({"file_path": f"images/{i}.png", "transform_matrix": matrix})
    focal = cameras.intrinsics[0, 0, 0].item()
    keys = {"fl_x": focal, "fl_y": focal, "w": SIZE, "h": SIZE, "aabb_scale": 16}
    (root / "transforms.json").write_text(json.dumps({**keys, **extra, "frames": frames}))


def test_instant_ngp(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    assert recognise(tmp_path) == "transforms"
    views = read("capture", tmp_path)
    assert_same(views, RIG)
    assert 0.37 < views.bound < 0.5  # aabb_scale alone is a rough default and not believed


def test_a_file_whose_world_lies_is_told_what_turns_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tipped = torch.eye(4)
    tipped[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # +z becomes +y
    write_ngp(tmp_path, RIG)
    document = json.loads((tmp_path / "transforms.json").read_text())
    for frame in document["frames"]:
        frame["transform_matrix"] = (tipped @ torch.tensor(frame["transform_matrix"])).tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    read("capture", tmp_path)
    assert "data.up=+y turns it upright" in caplog.text
    caplog.clear()
    turned = read("capture", tmp_path, up="+y")  # about the new z as it comes
    torch.testing.assert_close(turned.cameras.centres[:, 2], RIG.centres[:, 2])
    read("capture", tmp_path, up="keep")
    assert "upright" not in caplog.text


def test_instant_ngp_box_is_the_bound(tmp_path: Path) -> None:
    """A point x lies at scale x + offset; the box is 0.5 +- aabb_scale / 2."""
    at = torch.tensor([1.0, 0.5, -2.0])
    moved = dataclasses.replace(RIG, c2w=RIG.c2w.clone())
    moved.c2w[:, :3, 3] += at
    pictures_of = dataclasses.replace(RIG)
    write_ngp(tmp_path, pictures_of, scale=0.7, offset=(0.5 - 0.7 * at).tolist(), aabb_scale=1)
    document = json.loads((tmp_path / "transforms.json").read_text())
    for frame, c2w in zip(document["frames"], moved.c2w, strict=True):
        frame["transform_matrix"] = opencv_to_opengl(c2w).tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    views = read("capture", tmp_path)
    assert_same(views, RIG)
    assert views.bound == pytest.approx(0.5 / 0.7)
    torch.testing.assert_close(views.to_world[:3, 3], at.double())


def test_neus2_axes_and_intrinsic_matrix(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG, from_na=True, scale=0.5, offset=0.5, aabb_scale=1)
    document = json.loads((tmp_path / "transforms.json").read_text())
    del document["fl_x"], document["fl_y"]
    for i, frame in enumerate(document["frames"]):
        frame["transform_matrix"] = RIG.c2w[i].tolist()
        matrix = torch.eye(4)
        matrix[:3, :3] = RIG.intrinsics[i]
        frame["intrinsic_matrix"] = matrix.tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    assert_same(read("capture", tmp_path), RIG)


def sky(cameras: Cameras, lens: Lens) -> Tensor:
    """Smooth RGBA pictures of what lies far away, through a lens."""
    h, w = cameras.size
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    k = cameras.intrinsics[0]
    wanted = (torch.stack([x, y], -1) - k[:2, 2]) / k.diagonal()[:2]
    ideal = wanted
    for _ in range(50):  # invert the distortion by fixed-point steps
        ideal = ideal + wanted - lens.distort(ideal)
    pixels = (ideal * k.diagonal()[:2] + k[:2, 2]).reshape(1, -1, 2).expand(len(cameras), -1, -1)
    waves = torch.tensor([[9.0, 4, 0, 5], [0, 8.0, 5, -3], [3, 0, 9.0, 4]])
    rgba = 0.7 + 0.3 * (cameras.rays(pixels).directions @ waves).sin()
    return rgba.reshape(len(cameras), h, w, 4).movedim(-1, 1)


LENS = Lens(k1=-0.25, k2=0.08, p1=0.01, p2=-0.015)
WIDE = orbit_cameras([0, 120, 240], 20.0, 1.2, 60.0, 96)


def assert_undistorted(images: Tensor) -> None:
    """Beside the border, of which a lens may show nothing."""
    off = (images - sky(WIDE, Lens())).abs()[:, :, 8:-8, 8:-8]
    assert off.max() < 0.015


@pytest.mark.parametrize("lens", [LENS, Lens(k1=0.25, k3=-0.2), Lens(k1=-0.1, k4=0.1, k6=0.05)])
def test_undistorted_pictures_are_those_of_a_pinhole(lens: Lens) -> None:
    bent = sky(WIDE, lens)
    assert (bent - sky(WIDE, Lens())).abs()[:, :, 8:-8, 8:-8].max() > 0.05
    undistort = Undistorter()
    assert_undistorted(torch.stack([undistort(p, lens, WIDE.intrinsics[0]) for p in bent]))


def test_nerfstudio_lens_is_undistorted(tmp_path: Path) -> None:
    lens = {"k1": LENS.k1, "k2": LENS.k2, "p1": LENS.p1, "p2": LENS.p2}
    write_ngp(tmp_path, WIDE, w=96, h=96, camera_model="OPENCV", **lens)
    for i, picture in enumerate(sky(WIDE, LENS)):
        save(tmp_path / "images" / f"{i}.png", picture)
    assert_undistorted(read("transforms", tmp_path, bound=0.5).images)


# --- COLMAP -------------------------------------------------------------------------------------


def quaternion(rotation: Tensor) -> list[float]:
    """(w, x, y, z), from the eigenvector of Bar-Itzhack's matrix."""
    m = rotation.double()
    k = torch.zeros(4, 4).double()
    k[:3, :3] = m + m.T - torch.trace(m) * torch.eye(3).double()
    k[3, :3] = k[:3, 3] = torch.stack([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    k[3, 3] = torch.trace(m)
    vector = torch.linalg.eigh(k)[1][:, -1]
    return [vector[3].item(), *vector[:3].tolist()]


def write_colmap(
    root: Path, cameras: Cameras, *, binary: bool, model: str = "PINHOLE", lens: Lens | None = None
) -> None:
    """Pictures without alpha, masks apart; one camera for all."""
    pictures = photograph(cameras) if lens is None else sky(cameras, lens)
    k, w2c = cameras.intrinsics[0].double(), torch.linalg.inv(cameras.c2w.double())
    f, c = k[0, 0].item(), k[:2, 2].tolist()
    extra = lens or Lens()
    params = {
        "SIMPLE_PINHOLE": [f, *c],
        "PINHOLE": [f, f, *c],
        "SIMPLE_RADIAL": [f, *c, extra.k1],
        "RADIAL": [f, *c, extra.k1, extra.k2],
        "OPENCV": [f, f, *c, extra.k1, extra.k2, extra.p1, extra.p2],
        "FULL_OPENCV": [f, f, *c, extra.k1, extra.k2, extra.p1, extra.p2, 0.0, 0.0, 0.0, 0.0],
        "OPENCV_FISHEYE": [f, f, *c, 0.1, 0.0, 0.0, 0.0],
    }[model]
    h, w = cameras.size
    poses = []
    for i, picture in enumerate(pictures):
        save(root / "images" / f"photo {i}.jpg.png", picture[:3])
        save(root / "masks" / f"photo {i}.jpg.png.png", picture[3:])
        poses.append([*quaternion(w2c[i, :3, :3]), *w2c[i, :3, 3].tolist()])
    folder = root / "sparse/0"
    folder.mkdir(parents=True)
    to_capture = cameras.w2c[0].inverse() @ RIG.w2c[0]  # scale aside, where our origin went
    points = (CENTRES @ to_capture[:3, :3].T + to_capture[:3, 3]).tolist()
    if binary:
        number = next(n for n, (name, _) in MODELS.items() if name == model)
        head = struct.pack("<QiiQQ", 1, 7, number, w, h)
        (folder / "cameras.bin").write_bytes(head + struct.pack(f"<{len(params)}d", *params))
        data = struct.pack("<Q", len(poses))
        for i, pose in enumerate(poses):
            data += struct.pack("<i7di", i + 1, *pose, 7) + f"photo {i}.jpg.png".encode() + b"\0"
            data += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1, 2, -1, 3, 4, 5)
        (folder / "images.bin").write_bytes(data)
        data = struct.pack("<Q", len(points))
        for i, point in enumerate(points):
            data += struct.pack("<Q3d3BdQ", i, *point, 1, 2, 3, 0.5, i)
            data += struct.pack("<ii", 1, 2) * i
        (folder / "points3D.bin").write_bytes(data)
        return
    words = " ".join(repr(p) for p in params)
    (folder / "cameras.txt").write_text(f"# Camera list\n7 {model} {w} {h} {words}\n")
    lines = ["# Image list"]
    for i, pose in enumerate(poses):
        lines += [
            f"{i + 1} {' '.join(map(repr, pose))} 7 photo {i}.jpg.png",
            "1.0 2.0 -1" * (i % 2),
        ]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{i} {x!r} {y!r} {z!r} 1 2 3 0.5" for i, (x, y, z) in enumerate(points)]
    (folder / "points3D.txt").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "OPENCV"])
def test_colmap(tmp_path: Path, binary: bool, model: str) -> None:
    write_colmap(tmp_path, RIG, binary=binary, model=model)
    assert recognise(tmp_path) == "colmap"
    views = read("colmap", tmp_path, centre="keep", up="keep", bound=0.5)
    assert_same(views, RIG)
    assert views.names == tuple(f"photo {i}.jpg" for i in range(5))
    points = read_sparse(tmp_path / "sparse/0").points
    torch.testing.assert_close(points.float(), CENTRES, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"])
def test_colmap_lenses(tmp_path: Path, model: str) -> None:
    lens = Lens(k1=-0.2)
    if model != "SIMPLE_RADIAL":
        lens = dataclasses.replace(lens, k2=0.05)
    if "OPENCV" in model:
        lens = dataclasses.replace(lens, p1=0.01, p2=-0.01)
    write_colmap(tmp_path, WIDE, binary=True, model=model, lens=lens)
    options = {"centre": "keep", "up": "keep", "bound": 0.5}
    assert_undistorted(read("colmap", tmp_path, **options).images)
    ignored = read("colmap", tmp_path, undistort=False, **options)
    torch.testing.assert_close(ignored.images, sky(WIDE, lens), atol=0.005, rtol=0)


def test_capture_in_a_foreign_world_is_set_upright_around_its_object(tmp_path: Path) -> None:
    """Only the azimuth stays open; the recorded similarity leads back."""
    write_colmap(tmp_path, RIG, binary=True)
    lost = elsewhere(RIG)
    for file in (tmp_path / "sparse/0").iterdir():
        file.unlink()
    write_poses_only(tmp_path, lost)
    views = read("capture", tmp_path)
    back = views.cameras.placed(torch.linalg.inv(views.to_world))
    torch.testing.assert_close(back.c2w, lost.c2w, atol=1e-4, rtol=0)
    assert views.cameras.centres.norm(dim=1).min() == pytest.approx(1.0, abs=1e-4)
    up = views.to_world.float()[:3, 2] / views.to_world.float()[:3, 2].norm()
    theirs = ELSEWHERE[:3, 2] / 3
    assert torch.dot(up, theirs) > 0.9999
    # the balls' middle is near the origin, and the cube holds them
    ours = torch.linalg.inv(views.to_world).float() @ ELSEWHERE
    balls = CENTRES @ ours[:3, :3].T + ours[:3, 3]
    reach = RADII * torch.linalg.det(ours[:3, :3]) ** (1 / 3)
    assert (balls.abs().amax(1) + reach).max() < 1.02 * views.bound
    assert views.bound < 2 * (balls.abs().amax(1) + reach).max()


def write_poses_only(root: Path, cameras: Cameras) -> None:
    """A text model beside pictures that exist already."""
    w2c, k = torch.linalg.inv(cameras.c2w.double()), cameras.intrinsics[0].tolist()
    folder = root / "sparse/0"
    words = f"{k[0][0]!r} {k[1][1]!r} {k[0][2]!r} {k[1][2]!r}"
    (folder / "cameras.txt").write_text(f"7 PINHOLE {SIZE} {SIZE} {words}\n")
    lines = []
    for i, matrix in enumerate(w2c):
        pose = [*quaternion(matrix[:3, :3]), *matrix[:3, 3].tolist()]
        lines += [f"{i + 1} {' '.join(map(repr, pose))} 7 photo {i}.jpg.png", ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")


def test_colmap_mistakes(tmp_path: Path) -> None:
    write_colmap(tmp_path / "a", RIG, binary=True, model="OPENCV_FISHEYE")
    with pytest.raises(DataError, match=r"camera model is OPENCV_FISHEYE(.|\n)*undistorter"):
        read("colmap", tmp_path / "a")
    write_colmap(tmp_path / "b", RIG, binary=True)
    path = tmp_path / "b/sparse/0/images.bin"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="images.bin is no file of a COLMAP model, or cut off"):
        read("colmap", tmp_path / "b")
    write_colmap(tmp_path / "c", RIG, binary=False)
    for file in (tmp_path / "c/masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"masks are missing(.|\n)*white-on-black masks"):
        read("colmap", tmp_path / "c", background="alpha")
    views = read("colmap", tmp_path / "c", masks="optional", centre="look-at")
    assert (views.mask == 1).all()
    for i in range(2, 5):
        (tmp_path / f"c/images/photo {i}.jpg.png").unlink()
    with pytest.raises(DataError, match=r"3 of 5 pictures(.|\n)*data.images"):
        read("colmap", tmp_path / "c")


# --- DTU ----------------------------------------------------------------------------------------


def write_dtu(root: Path, cameras: Cameras, skew: float = 0.0) -> Cameras:
    """Projections of a world in millimetres; returns the cameras with the skew."""
    k = cameras.intrinsics.double().clone()
    k[:, 0, 1] = skew
    scale = torch.diag(torch.tensor([120.0, 120.0, 120.0, 1.0])).double()
    scale[:3, 3] = torch.tensor([10.0, -30.0, 600.0])
    files = {}
    for i, picture in enumerate(photograph(dataclasses.replace(cameras, intrinsics=k.float()))):
        save(root / "image" / f"{i:06d}.png", picture[:3])
        save(root / "mask" / f"{i:03d}.png", picture[3:])
        projection = torch.eye(4).double()
        integer = k[i].clone()
        integer[:2, 2] -= 0.5
        projection[:3] = integer @ torch.linalg.inv(cameras.c2w[i].double())[:3]
        files[f"world_mat_{i}"] = (-37 * projection @ torch.linalg.inv(scale)).numpy()
        files[f"scale_mat_{i}"] = scale.numpy()
        files[f"world_mat_{i}"][3] = [0, 0, 0, 1]
    np.savez(root / "cameras_sphere.npz", **files)
    return dataclasses.replace(cameras, intrinsics=k.float())


@pytest.mark.parametrize("skew", [0.0, 0.7])
def test_dtu(tmp_path: Path, skew: float) -> None:
    """Projections are known up to a factor, even a negative one."""
    expected = write_dtu(tmp_path, RIG, skew)
    assert recognise(tmp_path) == "dtu"
    views = read("dtu", tmp_path, up="keep")
    assert_same(views, expected)
    assert views.bound == 1.0
    where = views.to_world.float() @ torch.tensor([0.0, 0, 0, 1])
    assert where.tolist() == pytest.approx([10, -30, 600, 1])
    upright = read("capture", tmp_path)
    turned = (upright.to_world[:3, :3] @ views.to_world[:3, :3].inverse()).float()
    torch.testing.assert_close(turned[:, 2], torch.tensor([0.0, 0, 1]), atol=1e-4, rtol=0)


def test_dtu_region_of_the_mesh(tmp_path: Path) -> None:
    """NeuS renders in one sphere (cameras_large) and takes the mesh from another."""
    write_dtu(tmp_path, RIG)
    (tmp_path / "cameras_sphere.npz").rename(tmp_path / "cameras_large.npz")
    region = np.diag([60.0, 60.0, 60.0, 1.0])
    region[:3, 3] = [10.0, -30.0, 624.0]  # half the size, 0.2 units above the middle
    np.savez(tmp_path / "cameras_sphere.npz", world_mat_0=np.eye(4), scale_mat_0=region)
    views = read("dtu", tmp_path, cameras="cameras_large.npz", up="keep")
    assert_same(views, RIG)
    assert views.bound == pytest.approx(0.2 + 1.01 * 0.5)


def test_dtu_mistakes(tmp_path: Path) -> None:
    write_dtu(tmp_path, RIG)
    save(tmp_path / "image/000005.png", photograph(RIG)[0])
    with pytest.raises(DataError, match=r"6 pictures(.|\n)*5 cameras(.|\n)*cannot be paired"):
        read("dtu", tmp_path)
    with pytest.raises(DataError, match="singular"):
        decompose(torch.zeros(1, 4, 4))


# --- fixed rigs ---------------------------------------------------------------------------------


def ring(count: int, elevation: float = 30.0) -> Cameras:
    """The rig of the SyncDreamer family: focal length 280 at 256 px."""
    cameras = orbit_cameras([i * 360 / count for i in range(count)], elevation, 1.5, size=48)
    intrinsics = torch.tensor([[52.5, 0, 24], [0, 52.5, 24], [0, 0, 1]]).expand(count, 3, 3)
    return dataclasses.replace(cameras, intrinsics=intrinsics)


@pytest.mark.parametrize(("name", "count"), [("syncdreamer-16", 16), ("spin-36", 36)])
@pytest.mark.parametrize("strip", [True, False])
def test_rings(tmp_path: Path, name: str, count: int, strip: bool) -> None:
    """As one strip or one file a view, in the order of their numbers, on white without alpha."""
    cameras = ring(count)
    pictures = photograph(cameras)
    if strip:
        save(tmp_path / "0.png", torch.cat(list(pictures), dim=2))
    else:
        for i, picture in enumerate(pictures):
            save(tmp_path / f"{i}.png", picture)
    assert recognise(tmp_path) == name
    assert_same(read("capture", tmp_path), cameras)
    for i, picture in enumerate(pictures if not strip else []):
        save(tmp_path / f"{i}.png", picture[:3])
    views = read(name, tmp_path)
    covered = (views.mask > 0.5).float().mean() / pictures[:, 3].mean()
    assert 0.9 < covered < 1.1  # the white background was removed
    official = read(name, tmp_path, pixel_centre=0.0).cameras.intrinsics
    torch.testing.assert_close(official[:, :2, 2], torch.full((count, 2), 24.5))


def test_ring_of_another_elevation(tmp_path: Path) -> None:
    cameras = ring(36, 10.0)
    for i, picture in enumerate(photograph(cameras)):
        save(tmp_path / f"{i:02d}.png", picture)
    assert_same(read("spin-36", tmp_path, elevation_deg=10.0), cameras)


@pytest.mark.parametrize("axes", ["blender", "opencv"])
@pytest.mark.parametrize("folder", [".", "render_mvs_25/model"])
def test_eschernet(tmp_path: Path, axes: str, folder: str) -> None:
    cameras = ring(5)
    cameras = dataclasses.replace(
        cameras, c2w=orbit_cameras([3, 80, 140, 200, 290], [40.0, -20, 5, 60, 0], 1.7).c2w
    )
    w2c = torch.linalg.inv(cameras.c2w.double())
    if axes == "blender":
        w2c[:, 1:3] *= -1
    for i, picture in enumerate(photograph(cameras)):
        save(tmp_path / folder / f"{i:03d}.png", picture)
        np.save(tmp_path / folder / f"{i:03d}.npy", w2c[i, :3].numpy())
    assert recognise(tmp_path) == "eschernet"
    assert_same(read("capture", tmp_path), cameras)


def test_eschernet_strip_with_poses_elsewhere(tmp_path: Path) -> None:
    cameras = ring(12)
    for i, matrix in enumerate(cameras.w2c):
        (tmp_path / "poses").mkdir(exist_ok=True)
        np.save(tmp_path / "poses" / f"{i}.npy", matrix[:3].numpy())
    save(tmp_path / "made" / "0.png", torch.cat(list(photograph(cameras)), dim=2))
    views = read("eschernet", tmp_path / "made", poses=str(tmp_path / "poses"))
    assert_same(views, cameras)


def test_eschernet_axes_that_cannot_be_told(tmp_path: Path) -> None:
    sideways = RIG.c2w.clone()
    sideways[:, :3, 3] = sideways[:, :3, 0] * 2
    for i, matrix in enumerate(torch.linalg.inv(sideways)):
        save(tmp_path / f"{i:03d}.png", photograph(RIG)[i])
        np.save(tmp_path / f"{i:03d}.npy", matrix[:3].numpy())
    with pytest.raises(DataError, match=r"axes cannot be told(.|\n)*data.axes=blender"):
        read("capture", tmp_path)


# --- Wonder3D -----------------------------------------------------------------------------------


VIEWS = {  # azimuth in degrees, distance; as the files have them
    "front": (270.0, 1.3),
    "front_right": (315.0, 1.3 * math.sqrt(2)),
    "right": (0.0, 1.3),
    "back": (90.0, 1.3),
    "left": (180.0, 1.3),
    "front_left": (225.0, 1.3 * math.sqrt(2)),
}


def wonder_cameras() -> Cameras:
    """Orthographic cameras of 2 world units around the object, the front one on -y."""
    azimuth = torch.tensor([a for a, _ in VIEWS.values()])
    distance = torch.tensor([d for _, d in VIEWS.values()])
    cameras = orbit_cameras(azimuth.tolist(), 0.0, 1.0, 60, SIZE)
    cameras.c2w[:, :3, 3] = spherical_to_cartesian(azimuth, torch.zeros(6), distance)
    k = torch.tensor([[20.0, 0, 20], [0, 20, 20], [0, 0, 1]]).expand(6, 3, 3)
    return dataclasses.replace(cameras, intrinsics=k, ortho_scale=torch.full((6,), 2.0))


def ball_normals(cameras: Cameras) -> Tensor:
    """Outward world normals of the first ball where it alone is seen, [v, 3, h, w]."""
    rays = cameras.rays()
    across = rays.origins - (rays.origins * rays.directions).sum(-1, keepdim=True) * rays.directions
    height = (RADII[0] ** 2 - across.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
    normal = (across - height * rays.directions) / RADII[0]
    normal = torch.where(height > 0, normal, 0.0)
    return normal.reshape(len(cameras), SIZE, SIZE, 3).movedim(-1, 1)


@pytest.mark.parametrize("system", ["front", "self"])
def test_wonder3d(tmp_path: Path, system: str) -> None:
    cameras = wonder_cameras()
    normals = ball_normals(cameras)
    axes = opencv_to_opengl(cameras.c2w)[:, :3, :3]
    for i, (view, picture) in enumerate(zip(VIEWS, photograph(cameras), strict=True)):
        save(tmp_path / f"rgb_000_{view}.png", picture)
        to_file = (axes[0] if system == "front" else axes[i]).T
        colours = torch.einsum("ij,jhw->ihw", to_file, normals[i]) * 0.5 + 0.5
        known = (normals[i].norm(dim=0, keepdim=True) > 0.5).float()
        save(tmp_path / f"normals_000_{view}.png", torch.cat([colours, known]))
    assert recognise(tmp_path) == "wonder3d"
    views = read("wonder3d", tmp_path, normal_system=system)
    assert_same(views, cameras)
    assert views.normals is not None
    torch.testing.assert_close(views.normals, normals, atol=0.01, rtol=0)
    assert views.to_world[0, 0] == pytest.approx(0.675)
    assert views.select([2, 0]).normals is not None
    smaller = read("capture", tmp_path, resolution=20)
    length = smaller.normals.norm(dim=1)  # type: ignore[union-attr]
    assert ((length - 1).abs().lt(1e-4) | (length == 0)).all()


def test_wonder3d_with_poses_of_its_own(tmp_path: Path) -> None:
    """Pose files may know more views than there are pictures of."""
    cameras = wonder_cameras()
    (tmp_path / "poses").mkdir()
    w2c = cameras.w2c.clone()
    w2c[:, 1:3] *= -1
    for i, view in enumerate(VIEWS):
        np.savetxt(tmp_path / "poses" / f"000_{view}_RT.txt", w2c[i, :3].numpy())
        if view != "back":
            save(tmp_path / f"rgb_000_{view}.png", photograph(cameras)[i])
    views = read("wonder3d", tmp_path, poses=str(tmp_path / "poses"))
    order = [list(VIEWS).index(name) for name in views.names]
    assert len(order) == 5
    assert_same(views, cameras[order])
    with pytest.raises(DataError, match="no rgb_000_back"):
        read("wonder3d", tmp_path)


def test_hull_of_orthographic_views(tmp_path: Path) -> None:
    """The hull holds the balls and is not much larger than their six silhouettes allow."""
    cameras = wonder_cameras().resized(120, 120)
    views = ViewSet(photograph(cameras), cameras, 0.5)
    hull = visual_hull(views, Frame(torch.zeros(3), 0.5), 40)
    cells = hull.nonzero() / 40 - 0.4875
    distance = torch.cdist(cells.float(), CENTRES) - RADII
    axis = (torch.arange(40) + 0.5) / 40 - 0.5
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    inside = (torch.cdist(points.reshape(-1, 3), CENTRES) < RADII - 0.02).any(1)
    assert hull.reshape(-1)[inside].all()
    assert distance.min(dim=1).values.max() < 0.17
    assert inside.sum() < hull.sum() < 2.0 * inside.sum()


# --- what all layouts share ---------------------------------------------------------------------


def test_holdout_and_selection(tmp_path: Path) -> None:
    write_ngp(tmp_path, RIG)
    data = build("data", "capture", {"root": str(tmp_path), "holdout": 2, "views": [1]}, key="data")
    views, test = data.load(), data.test()
    assert (views.names, test.names) == (("3",), ("0", "2", "4"))
    assert test.bound == views.bound
    again = build("data", "capture", {"root": str(tmp_path), "holdout": 2}, key="data")
    assert again.test().names == ("0", "2", "4")
    assert build("data", "capture", {"root": str(tmp_path)}, key="data").test() is None


def test_other_sizes_keep_their_rays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Pictures of other sizes and shapes are resampled, and named; corners see the same."""
    caplog.set_level(logging.INFO)
    write_ngp(tmp_path, RIG)
    wide = dataclasses.replace(RIG.resized(60, 60)[[1]], size=(60, 90))
    wide.intrinsics[:, 0, 2] += 15
    save(tmp_path / "images/1.png", photograph(wide)[0])
    document = json.loads((tmp_path / "transforms.json").read_text())
    f = wide.intrinsics[0, 0, 0].item()
    document["frames"][1] |= {"w": 90, "h": 60, "fl_x": f, "fl_y": f, "cx": 45.0, "cy": 30.0}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    views = read("capture", tmp_path)
    assert views.cameras.size == (SIZE, SIZE)
    assert f"another size are resampled to {SIZE}x{SIZE} px: 1.png (90x60)" in caplog.text
    corner = views.cameras[[1]].rays(torch.tensor([[[0.0, 0.0], [40.0, 20.0]]]))
    expected = wide.rays(torch.tensor([[[0.0, 0.0], [90.0, 30.0]]]))
    torch.testing.assert_close(corner.directions, expected.directions, atol=1e-5, rtol=0)
    covered = photograph(views.cameras)[1, 3]
    assert (views.mask[1] - covered).abs().mean() < 0.02


def test_up_by_name_and_by_positions() -> None:
    assert up_direction("keep", RIG, torch.zeros(3)) is None
    centre = torch.zeros(3)
    for name in ("+x", "-y", "+z", "-z"):
        up = up_direction(name, RIG, centre)
        assert up is not None
        turned = rotation_to_z(up)
        torch.testing.assert_close(turned @ up, torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)
        assert torch.linalg.det(turned) == pytest.approx(1.0)
    level = up_direction("upright", elsewhere(RIG), centre)
    torch.testing.assert_close(level, ELSEWHERE[:3, 2] / 3, atol=1e-4, rtol=0)
    one = up_direction("upright", RIG[[0]], centre)
    torch.testing.assert_close(one, -RIG.c2w[0, :3, 1])
    back = placement(elsewhere(RIG), centre="look-at", up="upright", nearest=2.0)
    torch.testing.assert_close(back[:3, 3], ELSEWHERE[:3, 3], atol=1e-3, rtol=0)


def test_layouts_that_hold_each_others_files_are_asked_in_order() -> None:
    """Photos lie in most of them, a COLMAP project may hold a transforms.json made of it."""
    assert [name for name, layout in layouts().items() if layout.priority <= 80] == [
        "transforms",
        "dtu",
        "colmap",
        "nsvf",
        "wonder3d",
        "eschernet",
        "syncdreamer-16",
        "spin-36",
        "photos",
    ]


def test_unknown_folders_are_told_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "photo.txt").write_text("nothing")
    with pytest.raises(DataError, match="holds photo.txt") as caught:
        recognise(tmp_path)
    assert all(f"{name}: " in str(caught.value) for name in layouts())
    with pytest.raises(StudioError, match=r"does not exist"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(StudioError, match="data.centre is 'middle'"):
        read("transforms", tmp_path, centre="middle")
    with pytest.raises(StudioError, match="data.holdout is 1"):
        read("transforms", tmp_path, holdout=1)


def test_numbers_in_names_are_numbers() -> None:
    names = ["10.png", "9.png", "a10.png", "a9.png"]
    ordered = sorted((Path(n) for n in names), key=natural)
    assert [p.name for p in ordered] == ["9.png", "10.png", "a9.png", "a10.png"]


@needs_data
@pytest.mark.parametrize(
    ("name", "layout", "views", "test"),
    [
        ("gso_elephant", "eschernet", 20, 5),
        ("nerf_synthetic_chair", "transforms", 100, 25),
        ("spot_16views_128", "transforms", 16, 8),
    ],
)
def test_real_captures(name: str, layout: str, views: int, test: int) -> None:
    """Recognised, and the masks agree on one solid: axes and intrinsics are right."""
    root = Path(str(DATA)) / name
    assert recognise(root) == layout
    options = {"root": str(root), "holdout": 5, "resolution": 128}
    data = build("data", "capture", options, key="data")
    train, kept_back = data.load(), data.test()
    assert (len(train), len(kept_back)) == (views, test)
    hull = visual_hull(train, Frame(torch.zeros(3), train.bound), 48, agreement=0.95)
    assert hull.float().mean() > 0.01
    for i in range(3):
        points = hull.nonzero().float().add(0.5).div(24).sub(1) * train.bound
        pixels, _ = kept_back.cameras[[i]].project(points)
        x, y = pixels[0].floor().long().clamp(0, 127).unbind(-1)
        assert (
            kept_back.mask[i][y.clamp(max=kept_back.cameras.size[0] - 1), x] > 0
        ).float().mean() > 0.9
