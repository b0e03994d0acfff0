"""One GLB for looking at a capture: the mesh, every camera, and the pictures in front of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn.functional import interpolate

from studio.cameras import Cameras
from studio.export.formats.base import check_writable
from studio.export.gltf import LINES, GltfScene
from studio.export.notes import Notes
from studio.io.files import write_bytes
from studio.mesh import Mesh
from studio.views import ViewSet

ATLAS = 2048  # largest side of the picture that holds all thumbnails
THUMBNAIL = 192  # largest side of one of them
SHARE = 0.22  # of the camera's distance at which its picture hangs
WIRE = (0.16, 0.35, 0.75)

_UP = np.array([[0, 1, 2], [0, 2, 3]])  # two triangles of a quad


def write_inspection(
    mesh: Mesh, views: ViewSet, path: str | Path, notes: Notes | None = None
) -> Path:
    """Write mesh, camera frusta and pictures as one GLB; cameras are also glTF cameras.

    Nodes: the object, ``frusta`` (lines), ``pictures`` (unlit, see-through where the object is not)
    and one camera per view under the view's name: viewers list them as points of view.

    Args:
        mesh: counted from the offset of `notes`, as are the cameras.
        views: the capture.
        path: of the file.
        notes: what the file says of itself.

    Raises:
        ExportError: if the mesh is empty or holds a NaN.
    """
    check_writable(mesh, path)
    cameras = views.cameras.to("cpu")
    scene = GltfScene(notes)
    scene.add_object(mesh)
    centre = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    corners = _picture_corners(cameras, centre)
    _add_frusta(scene, cameras, corners)
    _add_pictures(scene, views, corners)
    for i in range(len(views)):
        name = views.names[i] if views.names else f"view_{i:03d}"
        scene.add_camera(name, cameras.c2w[i].numpy(), _lens(cameras, i))
    write_bytes(path, scene.content())
    return Path(path)


def _picture_corners(cameras: Cameras, centre: np.ndarray) -> Float[np.ndarray, "v 4 3"]:
    """World positions of each picture's corners, clockwise from the top left."""
    h, w = cameras.size
    pixels = torch.tensor([[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]])
    rays = cameras.rays(pixels.expand(len(cameras), -1, -1))
    origins, directions = (x.reshape(-1, 4, 3).numpy() for x in (rays.origins, rays.directions))
    distance = np.linalg.norm(cameras.centres.numpy() - centre, axis=1)
    depth = SHARE * float(np.median(distance))
    forward = cameras.c2w[:, None, :3, 2].numpy()
    along = depth / (directions * forward).sum(-1, keepdims=True)
    corners: np.ndarray = origins + along * directions
    return corners


def _add_frusta(scene: GltfScene, cameras: Cameras, corners: np.ndarray) -> None:
    """Lines from every camera to the corners of its picture, around it, and a mark for its top."""
    apex = cameras.centres.numpy()[:, None]
    top = corners[:, :2].mean(1, keepdims=True)
    tip = top + 0.25 * (top - corners.mean(1, keepdims=True))
    points = np.concatenate([apex, corners, tip], axis=1)
    edges = np.array([0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1, 1, 5, 5, 2])
    index = (np.arange(len(points))[:, None] * points.shape[1] + edges).reshape(-1)
    material = scene.add_material("wire", colour=WIRE, unlit=True)
    scene.add_mesh("frusta", {"POSITION": points.reshape(-1, 3)}, index, material, mode=LINES)


def _add_pictures(scene: GltfScene, views: ViewSet, corners: np.ndarray) -> None:
    atlas, boxes = _atlas(views)
    left, top, right, bottom = boxes.T
    uv = np.stack(
        [np.stack([left, right, right, left], 1), np.stack([top, top, bottom, bottom], 1)], axis=-1
    )
    count = len(corners)
    index = (np.arange(count)[:, None, None] * 4 + _UP[:, ::-1]).reshape(-1)
    positions = corners.reshape(-1, 3)
    facing = np.cross(corners[:, 3] - corners[:, 0], corners[:, 1] - corners[:, 0])
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
    attributes = {
        "POSITION": positions,
        "NORMAL": np.repeat(facing, 4, axis=0),
        "TEXCOORD_0": uv.reshape(-1, 2),
    }
    scene.add_mesh("pictures", attributes, index, scene.add_material("pictures", atlas, unlit=True))


def _atlas(views: ViewSet) -> tuple[UInt8[np.ndarray, "h w 4"], Float[np.ndarray, "v 4"]]:
    """All pictures on one sheet, and where: left, top, right, bottom in [0, 1] from the top."""
    columns = math.ceil(math.sqrt(len(views)))
    rows = math.ceil(len(views) / columns)
    h, w = views.cameras.size
    scale = min(1.0, THUMBNAIL / max(h, w), ATLAS / columns / max(h, w))
    size = max(1, round(h * scale)), max(1, round(w * scale))
    images = views.images.detach().float().cpu()
    premultiplied = torch.cat([images[:, :3] * images[:, 3:], images[:, 3:]], dim=1)
    small = interpolate(premultiplied, size, mode="area")
    small[:, :3] /= small[:, 3:].clamp(min=1e-6)
    pictures = (small.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    sheet = np.zeros((rows * size[0], columns * size[1], 4), dtype=np.uint8)
    boxes = np.empty((len(views), 4))
    for i, picture in enumerate(pictures):
        y, x = i // columns * size[0], i % columns * size[1]
        sheet[y : y + size[0], x : x + size[1]] = picture
        inset = 0.5  # half a texel, so that bilinear lookups stay on the picture
        boxes[i] = x + inset, y + inset, x + size[1] - inset, y + size[0] - inset
    return sheet, boxes / np.tile([sheet.shape[1], sheet.shape[0]], 2)


def _lens(cameras: Cameras, i: int) -> dict[str, Any]:
    """GlTF's camera properties; an off-centre principal point has no place there."""
    (h, w), k = cameras.size, cameras.intrinsics[i]
    aspect = w / h * (float(k[1, 1]) / float(k[0, 0]))  # pixels need not be square
    if cameras.ortho_scale is not None:
        half = float(cameras.ortho_scale[i]) / 2
        lens = {"xmag": half * aspect, "ymag": half, "znear": 0.01, "zfar": 100.0}
        return {"type": "orthographic", "orthographic": lens}
    fov = 2 * math.atan(0.5 * h / float(k[1, 1]))
    return {
        "type": "perspective",
        "perspective": {"yfov": fov, "aspectRatio": aspect, "znear": 0.01},
    }
