"""`transforms.json` as nerfstudio, instant-ngp and NeRF-synthetic write and read it.

Files hold 4x4 camera-to-world matrices with OpenGL axes; `ViewSet` holds OpenCV axes. What those
formats have no key for (bound, provenance, orthographic scale) stands in a block named "studio",
which other programs ignore.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras, opencv_to_opengl
from studio.captures.bounds import ABSURD, believed_bound, guess_bound
from studio.captures.files import MASK_FOLDERS, check_name, find_mask, find_picture, leave_out
from studio.captures.shots import Scene, Shot, read_shots
from studio.captures.transforms_blender import is_copy, remove_blender_copies, write_blender_copies
from studio.captures.transforms_cameras import (
    check_direction,
    frame_intrinsics,
    frame_lens,
    frame_pose,
    frame_size,
    ngp_cube,
    number,
    studio_block,
)
from studio.captures.transforms_frames import (
    frame_names,
    load_json,
    named_file,
    read_frames,
    within_folder,
)
from studio.errors import DataError, about
from studio.io.files import json_text, make_folder, remove, write_text
from studio.io.images import save_png
from studio.io.reading import known_json
from studio.similarity import translation

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


def find_transforms(folder: Path, split: str | None = None) -> Path:
    """Return the file that describes a split: `transforms_<split>.json`, else `transforms.json`.

    Args:
        folder: the folder, or a JSON file, which is returned as it is.
        split: "train", "val" or "test"; None prefers `transforms.json`, then train.

    Raises:
        DataError: if there is none.
    """
    if folder.is_file():
        return folder
    if not folder.is_dir():
        siblings = [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else []
        near = difflib.get_close_matches(folder.name, siblings, n=1, cutoff=0.6)
        raise DataError(
            f"folder {folder} does not exist.",
            hint=f"did you mean {folder.parent / near[0]}?" if near else None,
        )
    order = [f"transforms_{split}.json"] if split and not _only_copied(folder, split) else []
    order += ["transforms.json"] + ([] if split else ["transforms_train.json"])
    for name in order:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"folder {folder} has no {' or '.join(order)}.",
        allowed="transforms.json of nerfstudio, instant-ngp, NeRF-synthetic or this program",
        hint="Photos without poses: data_type=photos finds them with COLMAP (docs/captures.md).",
    )


def _only_copied(folder: Path, split: str) -> bool:
    """Whether a split's file is a copy of the `transforms.json` beside it, in fewer words."""
    return (folder / "transforms.json").is_file() and is_copy(folder / f"transforms_{split}.json")


def has_split(folder: Path, split: str) -> bool:
    """Whether a folder describes this split on its own, in a file or a nerfstudio list."""
    if not folder.is_file() and (folder / f"transforms_{split}.json").is_file():
        return not _only_copied(folder, split)
    path = folder if folder.is_file() else folder / "transforms.json"
    return path.is_file() and f"{split}_filenames" in load_json(path)


def read_transforms(
    folder: Path, split: str | None = None, *, bound: float | None = None
) -> dict[str, Any]:
    """Read posed pictures with masks: the fields of a `ViewSet`, by name.

    The masks come from the alpha channel, from `mask_path`, or both multiplied. Where neither
    `bound` nor the file says how large the object is, it is guessed (see `studio.captures.bounds`).

    Args:
        folder: a folder or its JSON file.
        split: see `find_transforms`; a nerfstudio file's `<split>_filenames` is honoured.
        bound: half the side of the cube around the origin that holds the object, world units.

    Raises:
        DataError: if the file, a matrix, a picture or a mask is missing or cannot be used.
    """
    scene = read_scene(folder, split)
    pictures = read_shots(scene)
    mask = pictures.images[:, 3]
    if bound is None:
        bound = believed_bound(scene.bound, mask, pictures.cameras, scene.source, ABSURD)
    if bound is None:
        with about(scene.source):
            bound = guess_bound(mask, pictures.cameras)
    if not 0 < bound < math.inf:
        raise DataError(
            f"{scene.source}: bound is {bound:g}.", allowed="a positive number, world units"
        )
    names = tuple(shot.name for shot in scene.shots)
    meta = scene.meta if scene.to_world is None else scene.record
    return {
        "images": pictures.images,
        "cameras": pictures.cameras,
        "bound": float(bound),
        "meta": meta,
        "names": names,
        "normals": pictures.normals,
    }


def read_scene(folder: Path, split: str | None = None) -> Scene:
    """Read cameras and file names, no pictures; arguments as `read_transforms` has them.

    Raises:
        DataError: if the file, a matrix, a picture or a mask is missing or cannot be used.
    """
    path = find_transforms(folder, split)
    document = load_json(path)
    frames = read_frames(path, document, split)
    block = studio_block(path, document)
    scales = _ortho_scales(path, document, block, len(frames))
    beside = [path.parent / folder for folder in MASK_FOLDERS]
    beside = [] if any(frame.get("mask_path") for frame in frames) else beside
    shots: list[Shot] = []
    missing: list[str] = []
    unmasked: list[str] = []
    for name, frame, scale in zip(frame_names(frames), frames, scales, strict=True):
        picture = find_picture(path.parent / check_name(path, frame["file_path"]))
        mask, mask_named = named_file(path, frame, "mask_path")
        normal, _ = named_file(path, frame, "normal_path")
        if picture is None or (mask_named and mask is None):
            (missing if picture is None else unmasked).append(frame["file_path"])
            continue
        keys = {**document, **frame}
        size, pose = frame_size(path, keys, picture), frame_pose(path, keys)
        shots.append(
            Shot(
                name,
                picture,
                pose,
                frame_intrinsics(path, keys, *size),
                size,
                frame_lens(path, keys),
                scale,
                mask or find_mask(beside, within_folder(frame["file_path"])),
                normal,
                opencv_to_opengl(pose)[:3, :3] if normal else None,
            )
        )
    hint = f"Paths are relative to {path.parent}; png, jpg and webp may be left out."
    leave_out(path, missing, len(frames), "frames have no picture", hint)
    leave_out(path, unmasked, len(frames) - len(missing), "frames have no mask", hint)
    if "from_na" not in document:
        check_direction(path, torch.stack([shot.c2w for shot in shots]))
    how = 'RGBA pictures whose background is transparent, or "mask_path" per frame'
    bound = number(path, block, "bound", 0.0) if "bound" in block else None
    scene = Scene(path, shots, bound, how_to_mask=how, meta=_meta(path, block))
    if bound is None and (cube := ngp_cube(path, document)) is not None:
        to_world = translation(cube[0])
        return replace(scene.placed(to_world), bound=cube[1])
    return scene


def _ortho_scales(
    path: Path, document: dict[str, Any], block: dict[str, Any], count: int
) -> list[float] | list[None]:
    if document.get("camera_model") != "ORTHOGRAPHIC":
        return [None] * count
    given = block.get("ortho_scale")
    if not isinstance(given, list) or len(given) != count:
        raise DataError(f"{path}: orthographic cameras need one studio.ortho_scale per frame.")
    scales = [number(path, {"studio.ortho_scale": s}, "studio.ortho_scale", 0.0) for s in given]
    if not all(1e-9 < scale < 1e9 for scale in scales):
        raise DataError(f"{path}: studio.ortho_scale is {scales}.", allowed="world units above 0")
    return scales


def _meta(path: Path, block: dict[str, Any]) -> dict[str, Any]:
    meta = block.get("meta") or {}
    if not isinstance(meta, dict):
        raise DataError(f"{path}: studio.meta is {meta!r}.", allowed="an object")
    return dict(meta)
