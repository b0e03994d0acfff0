"""Photos of a textured object on a textured floor, rendered for trying out plain-photo captures.

    STUDIO_TEST_DATA=<folder> python -m benchmarks.photos out=PHOTOS
    python launch.py --config configs/reconstruct-scene.yaml --train --export data.root=PHOTOS
    python -m benchmarks.photos check=PHOTOS    # how far the cameras are from the true ones
    STUDIO_TEST_DATA=<folder> python -m benchmarks.photos out=PHOTOS posed=true
    STUDIO_TEST_DATA=<folder> python -m benchmarks.photos box=PHOTOS    # the object's cube
    STUDIO_TEST_DATA=<folder> python -m benchmarks.photos fit=PHOTOS steps=1200    # what it is for

Spot stands on a floor with crates around it; JPEGs without any pose are written, as a telephone
would take them from all around. The true cameras stay out: COLMAP has to find them. With posed=true
they lie beside the photos as a sparse model of its kind, with points that are off by 0.004 (one
standard deviation) and, one in thirty, anywhere on their rays.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.api import configured
from studio.cameras import Cameras, orbit_cameras
from studio.config import parse_config
from studio.data.layouts.colmap_files import read_sparse
from studio.errors import DataError
from studio.export.world import transformed
from studio.io.files import make_folder, write_text
from studio.mesh import MeshOptions
from studio.metrics.triangle_tree import TriangleTree
from studio.ops.ray_caster import RayCaster
from studio.plugins.options import build
from studio.systems.reconstruction import Reconstruction

Array = np.ndarray[Any, Any]
TILE = 1024  # px, side of each of the two textures


def spot(folder: Path) -> tuple[Array, Array, Array]:
    """Return corners [M, 3, 3] of Spot, who stands on z = 0, their uv [M, 3, 2] and his texture."""
    vertices, uv, corners = [], [], []
    for line in (folder / "spot_triangulated.obj").read_text().splitlines():
        kind, *words = line.split()
        if kind == "v":
            vertices.append([float(w) for w in words])
        elif kind == "vt":
            uv.append([float(w) for w in words[:2]])
        elif kind == "f":
            corners.append([[int(n) - 1 for n in w.split("/")[:2]] for w in words])
    index = np.array(corners)
    x, y, z = np.array(vertices).T
    points = np.stack([x, -z, y], axis=1) * 0.6
    points[:, 2] -= points[:, 2].min()
    with Image.open(folder / "spot_texture.png") as picture:
        texture = np.asarray(picture.convert("RGB").resize((TILE, TILE)))
    return points[index[..., 0]], np.array(uv)[index[..., 1]], texture


def paint(seed: int = 0) -> Array:
    """Return a picture with structure at every scale: discs and squares of many sizes."""
    random = np.random.default_rng(seed)
    picture = np.full((TILE, TILE, 3), 128, np.uint8)
    y, x = np.mgrid[:TILE, :TILE]
    for size in (160, 80, 40, 20, 10, 6):
        for _ in range(min(1200, 10 * (TILE // size) ** 2 // 8)):
            cx, cy = random.integers(0, TILE, 2)
            window = np.s_[max(0, cy - size) : cy + size, max(0, cx - size) : cx + size]
            dx, dy = np.abs(x[window] - cx), np.abs(y[window] - cy)
            inside = dx + dy < size if random.random() < 0.5 else dx**2 + dy**2 < size**2 / 2
            picture[window][inside] = random.integers(20, 236, 3)
    return picture


def box(centre: tuple[float, float], side: float, turn: float) -> tuple[Array, Array]:
    """Return corners and uv of a crate's five visible faces."""
    points, uv = [], []
    c, s = np.cos(turn), np.sin(turn)
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    shown = (square + 0.5) * side * 0.3
    for k in range(4):
        a, b = square[k], square[(k + 1) % 4]
        face = [[*a, 0], [*b, 0], [*b, 1], [*a, 1]]
        points += [[face[0], face[1], face[2]], [face[0], face[2], face[3]]]
    top = [[*p, 1] for p in square]
    points += [[top[0], top[1], top[2]], [top[0], top[2], top[3]]]
    for k in range(5):
        moved = shown + 0.13 * k
        uv += [[moved[0], moved[1], moved[2]], [moved[0], moved[2], moved[3]]]
    corners = np.array(points) * side
    turned = corners[..., :2] @ np.array([[c, s], [-s, c]]) + np.array(centre)
    return np.concatenate([turned, corners[..., 2:]], axis=-1), np.array(uv) % 1


def scene(meshes: Path) -> RayCaster:
    """Return the ray caster of Spot, the floor and the crates under one texture."""
    corners, uv, texture = spot(meshes)
    half = 2.5
    ground = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    parts = [(ground[[[0, 1, 2], [0, 2, 3]]], (ground[[[0, 1, 2], [0, 2, 3]]][..., :2] + half) / 5)]
    places = [((1.7, 0.6), 0.5, 0.3), ((-1.5, 1.2), 0.7, 1.0), ((-0.6, -1.8), 0.4, 2.0)]
    parts += [box(*place) for place in places]
    # the left half of the common texture is Spot's, the right half is painted
    points = [corners, *(p for p, _ in parts)]
    coordinates = [uv * [0.5, 1], *(u * [0.5, 1] + [0.5, 0] for _, u in parts)]
    vertices = np.concatenate(points).reshape(-1, 3)
    faces = np.arange(len(vertices)).reshape(-1, 3)
    return RayCaster(
        vertices,
        faces,
        uv=np.concatenate(coordinates).reshape(-1, 2),
        texture=np.concatenate([texture, paint()], axis=1),
    )


def true_cameras(count: int) -> Cameras:
    """Return the cameras of the photos, which look at Spot's middle from three heights."""
    elevations = [(18.0, 34.0, 52.0)[i % 3] for i in range(count)]
    cameras = orbit_cameras(
        [i * 360 / count for i in range(count)], elevations, 2.4, 42.0, (480, 640)
    )
    cameras.c2w[:, 2, 3] += 0.45
    return cameras


def check(folder: Path) -> None:
    """Print how far the cameras that were found are from the true ones, after alignment."""
    count = len(list(folder.glob("*.jpg")))
    model = read_sparse(folder / "studio-colmap/sparse/0")
    chosen = [int(image.name[4:8]) - 1000 for image in model.images]
    truth = true_cameras(count).centres[chosen].double().numpy()
    found = np.stack([np.linalg.inv(image.w2c.numpy())[:3, 3] for image in model.images])
    a, b = found - found.mean(0), truth - truth.mean(0)
    u, sizes, v = np.linalg.svd(b.T @ a)  # Umeyama's similarity
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    moved = (sizes * signs).sum() / (a**2).sum() * a @ (u * signs @ v).T
    error = np.linalg.norm(b - moved, axis=1)
    print(
        f"{len(found)} of {count} photos, {len(model.points)} points; camera centres off by "
        f"{np.sqrt((error**2).mean()):.5f} (rms), {error.max():.5f} at most, at distance 2.4"
    )


def write_model(folder: Path, caster: RayCaster, cameras: Cameras, count: int = 6000) -> None:
    """Write the true cameras, and points of the surfaces that they see, as COLMAP's text files."""
    from scipy.spatial.transform import Rotation

    random, (h, w) = np.random.default_rng(0), cameras.size
    k = cameras.intrinsics[0].numpy()
    make_folder(folder)
    numbers = " ".join(f"{x:.8f}" for x in (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
    write_text(folder / "cameras.txt", f"1 PINHOLE {w} {h} {numbers}\n")
    lines, points = [], []
    for i, w2c in enumerate(cameras.w2c.double().numpy()):
        turn = np.roll(Rotation.from_matrix(w2c[:3, :3]).as_quat(), 1)
        pose = " ".join(f"{x:.10f}" for x in (*turn, *w2c[:3, 3]))
        lines += [f"{i + 1} {pose} 1 IMG_{1000 + i}.jpg", ""]
        at = random.random((1, count // len(cameras), 2)) * [w, h]
        rays = cameras[[i]].rays(torch.from_numpy(at.astype(np.float32)))
        origins, directions = rays.origins.numpy(), rays.directions.numpy()
        far = caster.cast(origins, directions)["tfar"]
        wrong = random.random(len(far)) < 1 / 30
        far = np.where(wrong, far * random.uniform(0.2, 3, len(far)), far)
        points.append((origins + directions * far[:, None])[far < 10])
    found = np.concatenate(points)
    found += random.normal(0, 0.004, found.shape)
    write_text(folder / "images.txt", "\n".join(lines) + "\n")
    rows = (f"{i + 1} {x:.6f} {y:.6f} {z:.6f} 0 0 0 1" for i, (x, y, z) in enumerate(found))
    write_text(folder / "points3D.txt", "\n".join(rows) + "\n")


def print_boxes(folder: Path, meshes: Path) -> None:
    """Print the cubes that are found without masks, beside Spot's own box (with posed=true)."""
    corners = spot(meshes)[0].reshape(-1, 3)
    low, high = corners.min(0), corners.max(0)
    print(f"Spot: middle {((low + high) / 2).round(3)}, half sides {((high - low) / 2).round(3)}")
    for centre in ("auto", "points", "object"):
        given = {"root": str(folder), "background": "none", "centre": centre, "resolution": 160}
        views = build("data", "capture", given).load()
        to_world = views.to_world.numpy()
        size = views.bound * np.linalg.det(to_world[:3, :3]) ** (1 / 3)
        print(f"centre={centre}: middle {to_world[:3, 3].round(3)}, half side {size:.3f}")


def print_fits(folder: Path, meshes: Path, steps: int) -> None:
    """Print how far Spot lies from the meshes of fits without masks, by what is their middle."""
    true = spot(meshes)[0].astype(np.float64)
    print("| data.centre | mean | median | share of the mesh within 0.03 of Spot |")
    print("| --- | --- | --- | --- |")
    for centre in ("auto", "object"):
        given = {"root": str(folder), "background": "none", "centre": centre, "resolution": 160}
        views = build("data", "capture", given).load()
        options = configured("reconstruct-scene", {}).system
        torch.manual_seed(0)
        system = Reconstruction(parse_config(Reconstruction.Config, options, key="system"))
        system.model.fit(views, steps=steps)
        mesh = transformed(system.model.mesh(160, MeshOptions(faces=0)), views.to_world.numpy())
        made = mesh.vertices[mesh.faces].astype(np.float64)
        missed = TriangleTree(made).query(_samples(true))[0]
        close = float((TriangleTree(true).query(_samples(made))[0] < 0.03).mean())
        print(f"| {centre} | {missed.mean():.4f} | {np.median(missed):.4f} | {close:.2f} |")


def _samples(corners: Array, count: int = 20000) -> Array:
    """Random points on triangles, evenly."""
    random = np.random.default_rng(0)
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(doubled, axis=1)
    chosen = random.choice(len(corners), count, p=area / area.sum())
    return np.einsum("nc,ncd->nd", random.dirichlet([1, 1, 1], count), corners[chosen])


def main(words: list[str]) -> None:
    """Write the photos, or check what was found for them."""
    options = dict(word.split("=", 1) for word in words)
    if "check" in options:
        check(Path(options["check"]))
        return
    data = os.environ.get("STUDIO_TEST_DATA")
    if data is None or not {"out", "box", "fit"} & set(options):
        raise SystemExit("STUDIO_TEST_DATA=<folder> python -m benchmarks.photos out=FOLDER")
    meshes, count = Path(data) / "meshes", int(options.get("count", 36))
    if not meshes.is_dir():
        raise DataError(f"{meshes} does not exist.")
    if "box" in options:
        print_boxes(Path(options["box"]), meshes)
        return
    if "fit" in options:
        print_fits(Path(options["fit"]), meshes, int(options.get("steps", 1200)))
        return
    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    caster, cameras = scene(meshes), true_cameras(count)
    for i in range(count):
        one = cameras[[i]]
        rgba = caster.render(one.c2w.numpy(), one.intrinsics.numpy(), one.size).rgba[0]
        rgb = rgba[..., :3] * rgba[..., 3:] + np.array([0.62, 0.72, 0.85]) * (1 - rgba[..., 3:])
        pixels = (rgb.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        Image.fromarray(pixels).save(out / f"IMG_{1000 + i}.jpg", quality=95)
    if options.get("posed") == "true":
        write_model(out / "sparse/0", caster, cameras)
    print(f"{out}: {count} photos")


if __name__ == "__main__":
    main(sys.argv[1:])
