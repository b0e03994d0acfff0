"""Small made-up scenes in the layouts of public data sets: one asymmetric object, known exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image
from scipy.io import savemat

from studio.cameras import opencv_to_opengl, orbit_cameras
from studio.io.images import to_uint8
from studio.mesh import Mesh
from studio.ops.ray_caster import render_mesh
from studio.views import ViewSet

PX = 64
TO_MM = np.array([[0, -30, 0, 20], [30, 0, 0, -30], [0, 0, 30, 600], [0, 0, 0, 1]], float)
"""From the object's world, in which its longest side is 1, to one in millimetres, turned."""


def thing() -> Mesh:
    """A chair of three boxes with a lamp on one side: no symmetry, sides 0.7 x 0.5 x 1."""
    boxes = [
        ((0.6, 0.5, 0.3), (0.0, 0.0, -0.35)),
        ((0.2, 0.5, 0.8), (-0.2, 0.0, 0.1)),
        ((0.3, 0.15, 0.15), (0.2, 0.1, -0.15)),
    ]
    parts = []
    for size, middle in boxes:
        part = trimesh.creation.box(size)
        part.apply_translation(middle)
        parts.append(part.subdivide().subdivide())
    whole = trimesh.util.concatenate(parts)
    vertices = np.asarray(whole.vertices, np.float32)
    colours = (0.5 + 0.45 * np.sin(vertices * [9, 7, 5] + [0, 1, 2])).astype(np.float32)
    return Mesh(vertices, np.asarray(whole.faces, np.int64), colours=colours)


def views(count: int, shift: float = 0.0, size: int = PX) -> ViewSet:
    """What cameras around the thing see of it."""
    elevations = [(-25.0, 15.0, 50.0)[i % 3] for i in range(count)]
    turns = [shift + i * 360 / count for i in range(count)]
    cameras = orbit_cameras(turns, elevations, 1.8, 45.0, (size, size))
    return render_mesh(thing(), cameras, shading=False)


def in_mm(mesh: Mesh) -> Mesh:
    vertices = mesh.vertices @ TO_MM[:3, :3].T + TO_MM[:3, 3]
    return replace(mesh, vertices=vertices.astype(np.float32))


def write_png(path: Path, rgba: torch.Tensor, background: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if background is not None:
        rgba = rgba[:3] * rgba[3:] + background * (1 - rgba[3:])
    Image.fromarray(to_uint8(rgba)).save(path)


def write_mask(path: Path, rgba: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(((rgba[3] > 0.5).numpy() * 255).astype(np.uint8)).save(path)


def write_mesh(path: Path, mesh: Mesh) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    return path


def transforms(seen: ViewSet, folder: str) -> dict[str, object]:
    h, w = seen.cameras.size
    angle = 2 * np.arctan(w / 2 / float(seen.cameras.intrinsics[0, 0, 0]))
    frames = [
        {"file_path": f"./{folder}/{i:04d}", "transform_matrix": opencv_to_opengl(c2w).tolist()}
        for i, c2w in enumerate(seen.cameras.c2w)
    ]
    return {"camera_angle_x": angle, "frames": frames}


def dtu(root: Path, scan: int, count: int = 12) -> None:
    """NeuS's folder of a scan, and the benchmark's own files, MATLAB's among them."""
    seen, folder = views(count), root / f"dtu_scan{scan}"
    cameras = {}
    scale = np.diag([18.0, 18, 18, 1])
    scale[:3, 3] = TO_MM[:3, 3]
    for i in range(count):
        k = np.eye(4)
        k[:3, :3] = seen.cameras.intrinsics[i].numpy()
        k[:2, 2] -= 0.5  # calibrated for pixel centres at integers
        c2w = TO_MM @ seen.cameras.c2w[i].numpy().astype(float)
        c2w[:3, :3] /= 30
        cameras |= {f"world_mat_{i}": k @ np.linalg.inv(c2w), f"scale_mat_{i}": scale}
        write_png(folder / "image" / f"{i:06d}.png", seen.images[i], 0.0)
        write_mask(folder / "mask" / f"{i:03d}.png", seen.images[i])
    np.savez(folder / "cameras_sphere.npz", **cameras)
    mask = root / "SampleSet" / "MVS Data" / "ObsMask"
    mask.mkdir(parents=True, exist_ok=True)
    low, high = TO_MM[:3, 3] - 24, TO_MM[:3, 3] + 24
    observed = np.ones((121, 121, 121), np.uint8)
    observed[:, :, 110:] = 0  # the scanner did not see what is above
    fields = {"ObsMask": observed, "BB": np.stack([low, high]), "Res": 0.4, "Margin": 10}
    savemat(mask / f"ObsMask{scan}_10.mat", fields, do_compression=True)
    savemat(mask / f"Plane{scan}.mat", {"P": np.array([[0.0], [0], [1], [-(600 - 14.4)]])})
    stl = root / "Points" / "stl"
    stl.mkdir(parents=True, exist_ok=True)
    truth = in_mm(thing())
    body = trimesh.Trimesh(truth.vertices, truth.faces, process=False)
    points = trimesh.sample.sample_surface(body, 40_000, seed=0)[0]
    trimesh.PointCloud(points.astype(np.float32)).export(stl / f"stl{scan:03d}_total.ply")


def nerf_synthetic(root: Path, name: str = "chair") -> None:
    """RGBA pictures of training and test, cameras with Blender's axes."""
    for split, seen in (("train", views(12)), ("test", views(4, 11.0))):
        for i, rgba in enumerate(seen.images):
            write_png(root / name / split / f"{i:04d}.png", rgba)
        text = json.dumps(transforms(seen, split))
        (root / name / f"transforms_{split}.json").write_text(text)


def nsvf(root: Path, name: str, *, matrix: bool = True, white: bool = False) -> None:
    """NSVF's folder: OpenCV axes, RGB on an even background, names that tell the split."""
    folder, shift = root / name, np.array([3.0, -2.0, 1.0])
    (folder / "pose").mkdir(parents=True)
    for kind, seen in ((0, views(12)), (1, views(4, 11.0))):
        for i, rgba in enumerate(seen.images):
            write_png(folder / "rgb" / f"{kind}_{i:04d}.png", rgba, float(white))
            c2w = seen.cameras.c2w[i].numpy().astype(float)
            c2w[:3, 3] += shift
            np.savetxt(folder / "pose" / f"{kind}_{i:04d}.txt", c2w)
    k = np.eye(4)
    k[:3, :3] = seen.cameras.intrinsics[0].numpy()
    f, cx, cy = k[0, 0], k[0, 2], k[1, 2]
    lines = f"{2 * f} {2 * cx} {2 * cy} 0.\n0. 0. 0.\n0.\n1.\n{2 * PX} {2 * PX}\n"
    text = "\n".join(" ".join(map(str, row)) for row in k) if matrix else lines
    (folder / "intrinsics.txt").write_text(text)
    box = [*(shift - 0.55), *(shift + 0.55), 0.1]
    (folder / "bbox.txt").write_text(" ".join(map(str, box)))


def stanford_orb(root: Path, name: str = "thing_scene001") -> None:
    """8-bit pictures with their surroundings, masks in folders of their own, the aligned scan."""
    folder = root / "blender_LDR" / name
    for split, seen in (("train", views(12)), ("test", views(4, 11.0))):
        for i, rgba in enumerate(seen.images):
            random = torch.rand(3, PX, PX, generator=torch.Generator().manual_seed(i))
            photo = rgba[:3] * rgba[3:] + random * (1 - rgba[3:])
            write_png(folder / split / f"{i:04d}.png", photo)
            write_mask(folder / f"{split}_mask" / f"{i:04d}.png", rgba)
        text = json.dumps(transforms(seen, split))
        (folder / f"transforms_{split}.json").write_text(text)
    write_mesh(root / "ground_truth" / name / "mesh_blender" / "mesh.obj", thing())


def gso30(root: Path, name: str) -> None:
    """SyncDreamer's sixteen true views at elevation 30, depth beside them, and the model."""
    cameras = orbit_cameras([22.5 * i for i in range(16)], 30.0, size=PX)
    seen = render_mesh(thing(), cameras, shading=False)
    for i, rgba in enumerate(seen.images):
        write_png(root / name / f"{i:03d}.png", rgba)
        write_mask(root / name / f"{i:03d}-depth.png", rgba)
    write_mesh(root / name / "model.obj", thing())
