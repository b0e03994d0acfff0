"""Posed pictures read from a `transforms.json` of nerfstudio, instant-ngp or NeRF-synthetic.

Files hold 4x4 camera-to-world matrices with OpenGL axes; `ViewSet` holds OpenCV axes. What those
formats have no key for (bound, provenance, orthographic scale) stands in a block named "studio",
which other programs ignore.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from studio.cameras import opencv_to_opengl
from studio.captures.bounds import ABSURD, believed_bound, guess_bound
from studio.captures.files import check_name, find_picture, leave_out
from studio.captures.pictures import read_shots
from studio.captures.shots import Scene, Shot
from studio.captures.transforms_blender import is_copy
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
    mask_beside,
    named_file,
    read_frames,
)
from studio.errors import DataError, about
from studio.similarity import translation

logger = logging.getLogger(__name__)


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
    named = any(frame.get("mask_path") for frame in frames)
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
                mask if named else mask_beside(path.parent, frame["file_path"], picture),
                normal,
                opencv_to_opengl(pose)[:3, :3] if normal else None,
            )
        )
    hint = f"Paths are relative to {path.parent}; png, jpg and webp may be left out."
    leave_out(path, missing, len(frames), "frames have no picture", hint)
    leave_out(path, unmasked, len(frames) - len(missing), "frames have no mask", hint)
    check_different(path, shots)
    if "from_na" not in document:
        check_direction(path, torch.stack([shot.c2w for shot in shots]))
    how = 'RGBA pictures whose background is transparent, or "mask_path" per frame'
    bound = number(path, block, "bound", 0.0) if "bound" in block else None
    scene = Scene(path, shots, bound, how_to_mask=how, meta=_meta(path, block))
    if bound is None and (cube := ngp_cube(path, document)) is not None:
        to_world = translation(cube[0])
        return replace(scene.placed(to_world), bound=cube[1])
    return scene


def check_different(source: Path, shots: Sequence[Shot]) -> None:
    """Say so where several cameras at different places are said to have taken one picture.

    Raises:
        DataError: if that holds for more than half of all.
    """
    poses: dict[Path, list[Shot]] = {}
    for shot in shots:
        poses.setdefault(shot.picture, []).append(shot)
    shared = {
        picture: same
        for picture, same in poses.items()
        if any(not torch.allclose(same[0].c2w, other.c2w) for other in same[1:])
    }
    if not shared:
        return
    picture, same = max(shared.items(), key=lambda pair: len(pair[1]))
    count = sum(map(len, shared.values()))
    message = (
        f"{source}: {len(same)} frames at different places name the same picture, {picture.name}"
        + (f", and {count - len(same)} others share some, too." if count > len(same) else ".")
    )
    if 2 * count > len(shots):
        raise DataError(message, allowed="a picture of its own for every frame")
    logger.warning("%s At most one of their poses can be right.", message)


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
