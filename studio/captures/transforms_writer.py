"""Writing views as `transforms.json` and pictures, for nerfstudio, instant-ngp and ourselves.

What these formats have no key for stands in a block "studio"; see `studio.captures.transforms`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras, opencv_to_opengl
from studio.captures.transforms_blender import remove_blender_copies, write_blender_copies
from studio.errors import DataError
from studio.io.files import json_text, make_folder, remove, write_text
from studio.io.images import save_png
from studio.io.reading import known_json

VERSION = 1  # of the "studio" block


class Views(Protocol):
    """What is written: the fields of a `ViewSet`."""

    @property
    def images(self) -> Float[Tensor, "v 4 h w"]:
        """RGBA with straight alpha in [0, 1]."""

    @property
    def cameras(self) -> Cameras:
        """One per picture."""

    @property
    def bound(self) -> float:
        """Half the side of the object's cube."""

    @property
    def meta(self) -> dict[str, Any]:
        """Plain JSON values."""

    @property
    def names(self) -> tuple[str, ...]:
        """File names without suffix, or none."""

    @property
    def normals(self) -> Float[Tensor, "v 3 h w"] | None:
        """In the world."""


def write_transforms(views: Views, folder: Path) -> Path:
    """Write `images/<name>.png` and then `transforms.json`, whose presence says "complete".

    Beside it the same in NeRF-synthetic's words (`studio.captures.transforms_blender`).

    Normals go to `normals/<name>.png` ("normal_path" per frame): (n + 1) / 2 in the axes (x right,
    y up, z towards the viewer) of each camera, transparent where they are not known.

    Pictures that an earlier `transforms.json` of ours listed and the new one does not are removed.

    Returns:
        The path of `transforms.json`.
    """
    target = folder / "transforms.json"
    names = views.names or tuple(f"{i:03d}" for i in range(len(views.images)))
    stems = [name.replace("/", "-") for name in names]
    files = [f"images/{stem}.png" for stem in stems]
    if len(set(files)) != len(files):
        raise DataError("two views have the same name.", allowed="unique ViewSet.names")
    document = _document(views, files)
    pictures = dict(zip(files, views.images, strict=True))
    if views.normals is not None:
        make_folder(folder / "normals")
        for stem, frame, picture in zip(stems, document["frames"], _drawn(views), strict=True):
            frame["normal_path"] = f"normals/{stem}.png"
            pictures[frame["normal_path"]] = picture
    text = json_text(document)
    old = _our_pictures(target)
    make_folder(folder / "images")
    remove(target)
    remove_blender_copies(folder)
    for file, picture in pictures.items():
        save_png(folder / file, picture)
    write_blender_copies(views.cameras, files, folder)
    write_text(target, text)
    for path in old - {folder / file for file in pictures}:
        remove(path)
    return target


def _drawn(views: Views) -> Float[Tensor, "v 4 h w"]:
    """World normals as colours in each camera's OpenGL axes; alpha says where there are any."""
    assert views.normals is not None
    axes = opencv_to_opengl(views.cameras.c2w)[:, :3, :3]
    turned = torch.einsum("vji,vjhw->vihw", axes, views.normals)  # inverse: transposed
    known = (views.normals.norm(dim=1, keepdim=True) > 0.5).to(turned)
    return torch.cat([(turned * 0.5 + 0.5) * known, known], dim=1)


def _our_pictures(path: Path) -> set[Path]:
    """Return the pictures listed by a `transforms.json` that this program wrote."""
    document = known_json(path)
    if "studio" not in document or not isinstance(document.get("frames"), list):
        return set()
    frames = [frame for frame in document["frames"] if isinstance(frame, dict)]
    named = [frame.get(key) for frame in frames for key in ("file_path", "normal_path")]
    listed = {path.parent / name for name in named if isinstance(name, str)}
    return {p for p in listed if p.parent in (path.parent / "images", path.parent / "normals")}


def _document(views: Views, files: list[str]) -> dict[str, Any]:
    cameras = views.cameras.to("cpu")
    height, width = cameras.size
    intrinsics = [_intrinsic_keys(k) for k in cameras.intrinsics]
    shared = all(keys == intrinsics[0] for keys in intrinsics)
    matrices = opencv_to_opengl(cameras.c2w).tolist()
    frames = []
    for file, matrix, keys in zip(files, matrices, intrinsics, strict=True):
        frames.append({"file_path": file, **({} if shared else keys), "transform_matrix": matrix})
    block: dict[str, Any] = {"version": VERSION, "bound": float(views.bound), "meta": views.meta}
    if cameras.ortho_scale is not None:
        block["ortho_scale"] = cameras.ortho_scale.tolist()
    angle = 2 * math.atan(0.5 * width / intrinsics[0]["fl_x"])
    return {
        "camera_model": "OPENCV" if cameras.ortho_scale is None else "ORTHOGRAPHIC",
        "w": width,
        "h": height,
        **({"camera_angle_x": angle, **intrinsics[0]} if shared else {}),
        # instant-ngp shrinks the world to a third before its unit cube
        "aabb_scale": 2 ** max(0, math.ceil(math.log2(0.66 * views.bound))),
        "frames": frames,
        "studio": block,
    }


def _intrinsic_keys(k: Tensor) -> dict[str, float]:
    if k[0, 1] != 0:
        raise DataError("a camera has skew, which transforms.json cannot hold.")
    fx, fy, cx, cy = k[0, 0].item(), k[1, 1].item(), k[0, 2].item(), k[1, 2].item()
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
