"""`transforms.json` as nerfstudio, instant-ngp and NeRF-synthetic write and read it.

Files hold 4x4 camera-to-world matrices with OpenGL axes; `ViewSet` holds OpenCV axes. What those
formats have no key for (bound, provenance, orthographic scale) stands in a block named "studio",
which other programs ignore.
"""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.bounds import believed_bound, guess_bound
from studio.cameras import opencv_to_opengl
from studio.errors import DataError
from studio.files import json_text, make_folder, remove, write_text
from studio.images import save_png
from studio.picture_files import picture_size
from studio.shots import SUFFIXES, Scene, Shot, find_picture, read_shots
from studio.similarity import translation
from studio.transforms_cameras import (
    frame_intrinsics,
    frame_lens,
    frame_pose,
    ngp_cube,
    number,
    studio_block,
)

if TYPE_CHECKING:
    from studio.views import ViewSet

VERSION = 1  # of the "studio" block


def write_transforms(views: ViewSet, folder: Path) -> Path:
    """Write `images/<name>.png` and then `transforms.json`, whose presence says "complete".

    Normals go to `normals/<name>.png` ("normal_path" per frame): (n + 1) / 2 in the axes (x right,
    y up, z towards the viewer) of each camera, transparent where they are not known.

    Pictures that an earlier `transforms.json` of ours listed and the new one does not are removed.

    Returns:
        The path of `transforms.json`.
    """
    target = folder / "transforms.json"
    names = views.names or tuple(f"{i:03d}" for i in range(len(views)))
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
    for file, picture in pictures.items():
        save_png(folder / file, picture)
    write_text(target, text)
    for path in old - {folder / file for file in pictures}:
        remove(path)
    return target


def _drawn(views: ViewSet) -> Float[Tensor, "v 4 h w"]:
    """World normals as colours in each camera's OpenGL axes; alpha says where there are any."""
    assert views.normals is not None
    axes = opencv_to_opengl(views.cameras.c2w)[:, :3, :3]
    turned = torch.einsum("vji,vjhw->vihw", axes, views.normals)  # inverse: transposed
    known = (views.normals.norm(dim=1, keepdim=True) > 0.5).to(turned)
    return torch.cat([(turned * 0.5 + 0.5) * known, known], dim=1)


def _our_pictures(path: Path) -> set[Path]:
    """Return the pictures listed by a `transforms.json` that this program wrote."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if "studio" not in document:
            return set()
        keys = ("file_path", "normal_path")
        listed = {path.parent / f[key] for f in document["frames"] for key in keys if key in f}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {p for p in listed if p.parent in (path.parent / "images", path.parent / "normals")}


def _document(views: ViewSet, files: list[str]) -> dict[str, Any]:
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
    order = [f"transforms_{split}.json"] if split else []
    order += ["transforms.json"] + ([] if split else ["transforms_train.json"])
    for name in order:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"folder {folder} has no {' or '.join(order)}.",
        allowed="transforms.json of nerfstudio, instant-ngp, NeRF-synthetic or this program",
        hint="Photos without poses: run COLMAP first (ns-process-data writes transforms.json).",
    )


def has_split(folder: Path, split: str) -> bool:
    """Whether a folder describes this split on its own, in a file or a nerfstudio list."""
    if not folder.is_file() and (folder / f"transforms_{split}.json").is_file():
        return True
    path = folder if folder.is_file() else folder / "transforms.json"
    return path.is_file() and f"{split}_filenames" in _load_json(path)


def read_transforms(
    folder: Path, split: str | None = None, *, bound: float | None = None
) -> ViewSet:
    """Read posed pictures with masks.

    The masks come from the alpha channel, from `mask_path`, or both multiplied. Where neither
    `bound` nor the file says how large the object is, it is guessed (see `studio.bounds`).

    Args:
        folder: a folder or its JSON file.
        split: see `find_transforms`; a nerfstudio file's `<split>_filenames` is honoured.
        bound: half the side of the cube around the origin that holds the object, world units.

    Raises:
        DataError: if the file, a matrix, a picture or a mask is missing or cannot be used.
    """
    from studio.views import ViewSet

    scene = read_scene(folder, split)
    pictures = read_shots(scene)
    mask = pictures.images[:, 3]
    if bound is None:
        bound = believed_bound(scene.bound, mask, pictures.cameras, scene.source)
    if bound is None:
        bound = guess_bound(mask, pictures.cameras)
    if not 0 < bound < math.inf:
        raise DataError(f"bound is {bound:g}.", allowed="a positive number, world units")
    names = tuple(shot.name for shot in scene.shots)
    meta = scene.meta if scene.to_world is None else scene.record
    return ViewSet(pictures.images, pictures.cameras, float(bound), meta, names, pictures.normals)


def read_scene(folder: Path, split: str | None = None) -> Scene:
    """Read cameras and file names, no pictures; arguments as `read_transforms` has them.

    Raises:
        DataError: if the file, a matrix, a picture or a mask is missing or cannot be used.
    """
    path = find_transforms(folder, split)
    document = _load_json(path)
    frames = _frames(path, document, split)
    block = studio_block(path, document)
    scales = _ortho_scales(path, document, block, len(frames))
    shots = []
    for index, (name, frame) in enumerate(zip(_names(frames), frames, strict=True)):
        picture = _picture_file(path, index, frame["file_path"])
        given, normal = frame.get("mask_path"), frame.get("normal_path")
        size = picture_size(picture)
        keys = {**document, **frame}
        pose = frame_pose(path, keys)
        shots.append(
            Shot(
                name,
                picture,
                pose,
                frame_intrinsics(path, keys, *size),
                size,
                frame_lens(path, keys),
                scales[index],
                _picture_file(path, index, given) if given else None,
                _picture_file(path, index, normal) if normal else None,
                opencv_to_opengl(pose)[:3, :3] if normal else None,
            )
        )
    how = 'RGBA pictures whose background is transparent, or "mask_path" per frame'
    bound = number(path, block, "bound", 0.0) if "bound" in block else None
    scene = Scene(path, shots, bound, how_to_mask=how, meta=dict(block.get("meta") or {}))
    if bound is None and (cube := ngp_cube(path, document)) is not None:
        to_world = translation(cube[0])
        return replace(scene.placed(to_world), bound=cube[1])
    return scene


def _ortho_scales(
    path: Path, document: dict[str, Any], block: dict[str, Any], count: int
) -> list[float] | list[None]:
    if document.get("camera_model") != "ORTHOGRAPHIC":
        return [None] * count
    scale = block.get("ortho_scale")
    if not isinstance(scale, list) or len(scale) != count:
        raise DataError(f"{path}: orthographic cameras need one studio.ortho_scale per frame.")
    return [float(s) for s in scale]


def _load_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} holds a JSON list or value.", allowed='an object with "frames"')
    return document


def _frames(path: Path, document: dict[str, Any], split: str | None) -> list[dict[str, Any]]:
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(f"{path} has no frames.", allowed='"frames": a list with one or more views')
    chosen = document.get(f"{split}_filenames") if split else None
    if isinstance(chosen, list):
        frames = [frame for frame in frames if frame.get("file_path") in chosen]
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(f'{path}: frame {index} has no "file_path".')
    if not frames:
        raise DataError(f"{path}: no frame is listed in {split}_filenames.")
    return frames


def _names(frames: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return file names without suffix, with their folders where the names alone are not unique."""
    paths = [Path(frame["file_path"].replace("\\", "/")) for frame in frames]
    stems = [p.stem if p.suffix in SUFFIXES else p.name for p in paths]
    if len(set(stems)) == len(stems):
        return tuple(stems)
    parents = [[part for part in p.parts[:-1] if part not in (".", "..", "/")] for p in paths]
    return tuple("-".join([*some, stem]) for some, stem in zip(parents, stems, strict=True))


def _picture_file(path: Path, index: int, given: str) -> Path:
    """Find a picture whose suffix may be left out (NeRF-synthetic)."""
    base = path.parent / given.replace("\\", "/")
    found = find_picture(base)
    if found is None:
        raise DataError(
            f"{path}: frame {index} names {given}, but {base} does not exist.",
            hint=f"Paths are relative to {path.parent}; png, jpg and webp may be left out.",
        )
    return found
