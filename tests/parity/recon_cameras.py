"""Parity of the camera conventions: each case is written in its layout and read by its plugin."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.cameras import (
    Cameras,
    look_at,
    opencv_to_opengl,
    orbit_cameras,
    pinhole_intrinsics,
    spherical_to_cartesian,
)
from studio.captures.pictures import world_normals
from studio.data.layouts.dtu import decompose, object_box, read_projections
from studio.data.layouts.fixed_rigs import rendered_intrinsics
from studio.data.layouts.wonder3d import normal_axes, read_poses
from studio.io.images import composite
from studio.plugins.options import build
from studio.renderers.neus import NeuSRenderer
from studio.rigs import RIGS, Rig
from studio.views import ViewSet
from tests.parity.case import Adapter, Case

COLMAP_CENTRES = {"camera": "cameras", "lookat": "look-at-pairs", "point": "points"}
COLMAP_UPS = {"camera": "positions"}


# --- shared -------------------------------------------------------------------------------------


def _load(kind: str, root: Path, **options: Any) -> tuple[Any, ViewSet]:
    data = build("data", kind, {"root": str(root), **options}, key="data")
    return data, data.load()


def _save(path: Path, pixels: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.numpy()).save(path)


def _hwc(pictures: Tensor) -> Tensor:
    return pictures.movedim(-3, -1)


def _unnormalised(cameras: Cameras) -> Tensor:
    """Ray directions [v, h, w, 3] of depth 1 along the viewing axis."""
    directions = cameras.rays().directions.reshape(len(cameras), -1, 3)
    depth = (directions * cameras.c2w[:, None, :3, 2]).sum(-1, keepdim=True)
    return (directions / depth).reshape(len(cameras), *cameras.size, 3)


def _camera_directions(cameras: Cameras) -> Tensor:
    """Unnormalised directions in the cameras' own OpenGL axes."""
    own = replace(cameras, c2w=torch.eye(4).expand_as(cameras.c2w))
    return _unnormalised(own) * torch.tensor([1.0, -1.0, -1.0])


def _origins(cameras: Cameras) -> Tensor:
    return cameras.rays().origins.reshape(len(cameras), *cameras.size, 3)


def _opengl(cameras: Cameras) -> Tensor:
    return opencv_to_opengl(cameras.c2w)[:, :3]


def _homogeneous(matrices: Tensor) -> Tensor:
    """[n, 3, 4] or [n, 4, 4] -> [n, 4, 4]."""
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0]).to(matrices).expand(len(matrices), 1, 4)
    return torch.cat([matrices[:, :3], bottom], dim=1)


# --- layouts ------------------------------------------------------------------------------------


def blender(case: Case) -> dict[str, Tensor]:
    """NeRF-synthetic; the reference's principal point is w // 2, h // 2."""
    given, config = case.inputs, case.config
    w, h = config["w"], config["h"]
    config.about("near", "far", "focal")  # of the sampling; the focal follows from the angle
    with tempfile.TemporaryDirectory() as name:
        frames = []
        for i, pixels in enumerate(given["images_rgba_u8"]):
            _save(Path(name) / f"train/r_{i}.png", pixels)
            matrix = _homogeneous(given["transform_matrix"])[i].tolist()
            frames.append({"file_path": f"./train/r_{i}", "transform_matrix": matrix})
        document = {"camera_angle_x": config["camera_angle_x"], "cx": w // 2, "cy": h // 2}
        text = json.dumps({**document, "frames": frames})
        (Path(name) / "transforms_train.json").write_text(text)
        _, views = _load("transforms", Path(name), bound=1.0, masks="optional")
    cameras = views.cameras
    rays_o, rays_d = _origins(cameras), _unnormalised(cameras)
    picked = [(0, 1, 0), (len(views) - 1, h - 1, w - 1), (1, 0, 2)]
    return {
        "directions": _camera_directions(cameras[[0]])[0],
        "c2w": _opengl(cameras),
        "images": _hwc(views.images[:, :3]),
        "masks": views.mask,
        "rays_o": rays_o,
        "rays_d": rays_d,
        "rays_d_unit": cameras.rays().directions.reshape(rays_d.shape),
        "picked_rays_o": torch.stack([rays_o[i] for i in picked]),
        "picked_rays_d": torch.stack([rays_d[i] for i in picked]),
        "composited": _hwc(composite(views.images, given["bg"])),
    }


def colmap(case: Case) -> dict[str, Tensor]:
    """A sparse model in text form, placed as instant-nsr-pl does."""
    given, config = case.inputs, case.config
    w, h = config["w"], config["h"]
    config.about("n")
    size = max(int(side / config["img_downscale"] + 0.5) for side in (w, h))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "sparse/0").mkdir(parents=True)
        params = " ".join(map(repr, config["params"]))
        (root / "sparse/0/cameras.txt").write_text(f"1 {config['model']} {w} {h} {params}\n")
        lines = []
        for i, pixels in enumerate(given["images_u8"]):
            _save(root / f"images/{i:03d}.png", pixels)
            if "masks_u8" in given:
                _save(root / f"masks/{i:03d}.png", given["masks_u8"][i])
            pose = [*given["qvec"][i].tolist(), *given["tvec"][i].tolist()]
            lines += [f"{i + 1} {' '.join(map(repr, pose))} 1 {i:03d}.png", ""]
        (root / "sparse/0/images.txt").write_text("\n".join(lines) + "\n")
        rows = [
            f"{i} {x!r} {y!r} {z!r} 0 0 0 0.1"
            for i, (x, y, z) in enumerate(given["points3d"].tolist())
        ]
        (root / "sparse/0/points3D.txt").write_text("\n".join(rows) + "\n")
        data, views = _load(
            "colmap",
            root,
            centre=config.choice("center_est_method", COLMAP_CENTRES, "look-at-pairs"),
            up=config.choice("up_est_method", COLMAP_UPS, "positions"),
            resolution=size,
            bound=1.0,
            masks="optional",
            downscale="bicubic",
            undistort=False,
        )
        points = data.scene().placed(views.to_world).points
    distance, height = views.cameras.centres.norm(dim=1).mean(), views.cameras.centres[:, 2].mean()
    steps = config.get("n_test_traj_steps", 7)
    path = orbit_cameras(
        torch.linspace(0, 360, steps).tolist(),
        math.degrees(math.asin(float(height / distance))),
        float(distance),
        size=8,
    )
    return {
        "c2w": _opengl(views.cameras),
        "pts3d": points,
        "directions": _camera_directions(views.cameras[[0]])[0],
        "rays_o": _origins(views.cameras),
        "rays_d": _unnormalised(views.cameras),
        "images": _hwc(views.images[:, :3]),
        "masks": views.mask,
        "test_traj": _opengl(path),
    }


def _write_dtu(case: Case, root: Path, picture: str, mask: str) -> None:
    given = case.inputs
    mats: dict[str, Any] = {}
    for i, pixels in enumerate(given["images_bgr_u8"]):
        _save(root / "image" / picture.format(i), pixels.flip(-1).contiguous())
        _save(root / "mask" / mask.format(i), given["masks_u8"][i])
        mats[f"world_mat_{i}"] = given["world_mats"][i].numpy()
        mats[f"scale_mat_{i}"] = given["scale_mats"][i].numpy()
    np.savez(root / "cameras_large.npz", **mats)
    if "object_scale_mat_0" in given:
        region: dict[str, Any] = {"world_mat_0": mats["world_mat_0"]}
        region["scale_mat_0"] = given["object_scale_mat_0"].numpy()
        np.savez(root / "cameras_sphere.npz", **region)


def dtu_insr(case: Case) -> dict[str, Tensor]:
    """DTU as instant-nsr-pl reads it."""
    w, h = case.config["out_wh"]
    case.config.about("n", "w", "h", "img_downscale", "factor")  # of which out_wh is the result
    with tempfile.TemporaryDirectory() as name:
        _write_dtu(case, Path(name), "{:06d}.png", "{:03d}.png")
        _, views = _load(
            "dtu",
            Path(name),
            cameras="cameras_large.npz",
            up="keep",
            resolution=max(w, h),
            downscale="bicubic",
            skew=False,
            pixel_centre=0.5,
            masks="optional",
        )
    return {
        "directions": _camera_directions(views.cameras),
        "c2w": _opengl(views.cameras),
        "images": _hwc(views.images[:, :3]),
        "masks": views.mask,
        "rays_o": _origins(views.cameras),
        "rays_d": _unnormalised(views.cameras),
    }


def neus_dtu(case: Case) -> dict[str, Tensor]:
    """DTU as NeuS reads it: integer pixel centres, BGR / 256."""
    config = case.config
    h, w, level = config["h"], config["w"], config["resolution_level"]
    config.about("n")
    with tempfile.TemporaryDirectory() as name:
        _write_dtu(case, Path(name), "{:03d}.png", "{:03d}.png")
        _, views = _load(
            "dtu", Path(name), cameras="cameras_large.npz", up="keep", masks="optional"
        )
        world, scale = read_projections(Path(name) / "cameras_large.npz")[:2]
        poses, matrices = decompose(world @ scale)
        region = read_projections(Path(name) / "cameras_sphere.npz")[1][0]
    intrinsics = torch.eye(4).repeat(len(views), 1, 1)
    intrinsics[:, :3, :3] = matrices
    cameras = views.cameras
    x = torch.linspace(0, w - 1, w // level) + 0.5
    y = torch.linspace(0, h - 1, h // level) + 0.5
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    coarse = cameras[[1]].rays(grid.reshape(1, -1, 2))
    full = cameras[[0]].rays()
    i, j, share = config["between"]
    between = cameras.between(i, j, share).rays()
    near, far = NeuSRenderer(NeuSRenderer.Config()).span(full)
    low, high = object_box(scale[0], region)
    masks = views.mask[..., None].expand(-1, -1, -1, 3)
    return {
        "intrinsics": intrinsics,
        "poses_c2w": poses.float(),
        "images": _hwc(views.images[:, :3]).flip(-1) * (255 / 256),
        "masks": masks * (255 / 256),
        "rays_o_view1": coarse.origins.reshape(*grid.shape[:2], 3),
        "rays_d_view1": coarse.directions.reshape(*grid.shape[:2], 3),
        "rays_o_view0": full.origins.reshape(h, w, 3),
        "rays_d_view0": full.directions.reshape(h, w, 3),
        "near_view0": near,
        "far_view0": far,
        "bbox_min": low,
        "bbox_max": high,
        "rays_o_between": between.origins.reshape(h, w, 3),
        "rays_d_between": between.directions.reshape(h, w, 3),
    }


def eschernet(case: Case) -> dict[str, Tensor]:
    """Pose files beside pictures, integer pixel centres."""
    h, w = case.config["h"], case.config["w"]
    case.config.about("n")
    half = torch.full((h, w, 4), 128, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as name:
        for i, pose in enumerate(case.inputs["poses"]):
            np.save(Path(name) / f"{i:03d}.npy", pose.numpy())
            _save(Path(name) / f"{i:03d}.png", half)
        _, views = _load("eschernet", Path(name), axes="opencv", pixel_centre=0.0)
    azimuth, elevation, radius = views.cameras.spherical()
    azimuth = torch.deg2rad(torch.where(azimuth > 180, azimuth - 360, azimuth))
    rays = views.cameras.rays()
    return {
        "spherical": torch.stack([torch.deg2rad(90 - elevation), azimuth, radius], dim=1),
        "rays_o": rays.origins,
        "rays_d": rays.directions,
    }


def spin36(case: Case) -> dict[str, Tensor]:
    """ViewFusion's spin."""
    config = case.config
    config.about("elevation_rad", "distance")  # of the inputs
    elevation = math.degrees(float(case.inputs["elevation"]))
    distance = float(case.inputs["distance"])
    cameras = Rig.ring(config["num_images"], elevation, distance).cameras(256)
    small = cameras[config["ray_views"]].resized(config["h"], config["w"])
    rays = small.with_pixel_centres(0.0).rays()
    return {
        "poses": cameras.w2c[:, :3],
        "K": rendered_intrinsics((256, 256)),
        "rays_o": rays.origins,
        "rays_d": rays.directions,
    }


def syncdreamer16(case: Case) -> dict[str, Tensor]:
    """The 16 views of camera-16.pkl, computed; and rays through given cameras."""
    given, config = case.inputs, case.config
    config.about("view_indices")  # of the inputs
    config.only(scale_K="diag(w/256,h/256,1)@K256")
    cameras = RIGS["syncdreamer-16"].cameras(256)
    c2w = torch.linalg.inv(_homogeneous(given["poses"]))
    k = given["K"].expand(len(c2w), 3, 3)
    rays = Cameras(c2w, k, (config["h"], config["w"])).with_pixel_centres(0.0).rays()
    near, far = NeuSRenderer(NeuSRenderer.Config(radius=math.sqrt(3) / 2)).span(rays)
    azimuth, elevation, distance = cameras.spherical()
    return {
        "rays_o": rays.origins,
        "rays_d": rays.directions,
        "near": near,
        "far": far,
        "all_poses": cameras.w2c[:, :3],
        "K256": rendered_intrinsics((256, 256)),
        "azimuths": torch.deg2rad(azimuth),
        "elevations": torch.deg2rad(elevation),
        "distances": distance,
        "cam_centers": cameras.centres,
    }


def wonder3d(case: Case) -> dict[str, Tensor]:
    """Orthographic cameras from the files of fixed_poses, and normals to the world."""
    given, config = case.inputs, case.config
    h, w = config["h"], config["w"]
    with tempfile.TemporaryDirectory() as name:
        poses = Path(name) / "poses"
        poses.mkdir()
        np.savetxt(poses / "000_front_RT.txt", given["RT_front"].numpy())
        front = read_poses(poses)["front"]
        for view, matrix in zip(config["views"], given["RT"], strict=True):
            np.savetxt(poses / f"000_{view}_RT.txt", matrix.numpy())
            _save(Path(name) / f"rgb_000_{view}.png", torch.full((h, w, 4), 128).byte())
        _, views = _load("wonder3d", Path(name), poses=str(poses))
    order = [views.names.index(view) for view in config["views"]]
    views = views.select(order)
    poses = views.cameras.c2w.float()
    rays = views.cameras.rays()
    own = replace(views.cameras[[0]], c2w=torch.eye(4)[None]).rays()
    colours = given["normal_images_u8"].movedim(-1, 1) / 255.0
    pinhole = torch.tensor(
        [[config.get("fx", 11.0), 0, w / 2], [0, config.get("fy", 12.0), h / 2], [0, 0, 1]]
    )
    lens = Cameras(torch.eye(4)[None], pinhole[None], (h, w))
    return {
        "c2w": views.cameras.c2w[:, :3],
        "origins": own.origins.reshape(h, w, 3),
        "directions": own.directions.reshape(h, w, 3),
        "rays_o": rays.origins.reshape(-1, h, w, 3),
        "rays_d": rays.directions.reshape(-1, h, w, 3),
        "normals_world_front": torch.stack(
            [_hwc(world_normals(c, normal_axes(front).float())) for c in colours]
        ),
        "normals_world_self": torch.stack(
            [
                _hwc(world_normals(c, normal_axes(pose)))
                for c, pose in zip(colours, poses, strict=True)
            ]
        ),
        "pinhole_directions": _unnormalised(lens)[0],
    }


def threestudio(case: Case) -> dict[str, Tensor]:
    """Spherical cameras, their rays and clip matrices.

    The released look-at calls torch.cross without a dimension, which with exactly three cameras
    runs along the batch: its matrices are singular then, and what follows from them is left out.
    """
    given, config = case.inputs, case.config
    size = (config["h"], config["w"])
    config.about("B")
    angles = torch.rad2deg(given["azimuth"]), torch.rad2deg(given["elevation"])
    centres = spherical_to_cartesian(*angles, given["distance"])
    fov = torch.rad2deg(given["fovy"]).tolist()
    intrinsics = torch.stack([pinhole_intrinsics(f, size) for f in fov])
    cameras = Cameras(look_at(centres), intrinsics, size)
    mvp = cameras.clip_matrices(config["near"], config["far"])
    c2w = opencv_to_opengl(cameras.c2w)
    out = {
        "camera_positions": cameras.centres,
        "directions": _camera_directions(cameras),
        "rays_o": _origins(cameras),
        "proj": mvp @ c2w,
    }
    if len(cameras) == 3:
        return out
    rays_d = cameras.rays().directions.reshape(-1, *size, 3)
    return {**out, "c2w": c2w, "rays_d": rays_d, "mvp": mvp}


CASES: dict[str, Adapter] = {
    "cameras_blender": blender,
    "cameras_colmap": colmap,
    "cameras_dtu_insr": dtu_insr,
    "cameras_neus_dtu": neus_dtu,
    "cameras_eschernet": eschernet,
    "cameras_spin36": spin36,
    "cameras_syncdreamer16": syncdreamer16,
    "cameras_wonder3d": wonder3d,
    "cameras_threestudio": threestudio,
}
