"""The pictures of a scene as they are read: cut out, undistorted, scaled to one common size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.captures.files import is_turned, orientation, same_shape, turn
from studio.captures.lens import Undistorter, check_lens
from studio.captures.masks import Cutting, checked_masks, read_mask
from studio.captures.shots import Scene, Shot
from studio.errors import DataError, about
from studio.io.images import read_rgba_or_rgb, resize, resize_8bit

logger = logging.getLogger(__name__)
MOST_PIXELS = 2**26  # of all views together: 1 GB as float RGBA
FARTHEST_CENTRE = 10.0  # sides of the picture: crops of larger pictures lie off the axis
FILTERS = ("area", "bicubic")
BY_MASKS = Cutting()
MASKS = ("required", "optional")


@dataclass(frozen=True)
class Pictures:
    """What `read_shots` returns: RGBA in [0, 1], their cameras, unit world normals if any."""

    images: Float[Tensor, "v 4 h w"]
    cameras: Cameras
    normals: Float[Tensor, "v 3 h w"] | None = None


def read_shots(
    scene: Scene,
    *,
    resolution: int | None = None,
    cutting: Cutting = BY_MASKS,
    kind: str = "area",
) -> Pictures:
    """Read all pictures of a scene: masked, undistorted, scaled down to one common size.

    Args:
        scene: where they are.
        resolution: longer side in pixels after scaling down; None keeps the size, as long as all
            views together have no more than `MOST_PIXELS`.
        cutting: how the object is told from the background.
        kind: "area" takes the mean over each new pixel, weighted by alpha; "bicubic" is Pillow's
            8-bit filter on colours and masks apart, as instant-nsr-pl has it.

    Raises:
        DataError: if a picture or mask is missing, broken or of another shape than its camera's,
            or the masks say nothing.
    """
    shots = scene.shots
    loaded = _loaded(scene, resolution, cutting, kind)
    if _all_opaque(loaded) and cutting.background == "auto" and cutting.required:
        try:  # alpha channels that say nothing
            loaded = _loaded(scene, resolution, replace(cutting, background="border"), kind)
        except DataError as error:
            raise _no_mask(scene, "every picture is opaque everywhere", error) from error
    if _all_opaque(loaded) and cutting.background != "none" and cutting.required:
        raise _no_mask(scene, "every picture is opaque everywhere")
    if cutting.uses_masks:
        alphas = [rgba[3] for rgba, _, _ in loaded]
        files, pictures = [shot.mask for shot in shots], [shot.picture for shot in shots]
        checked_masks(scene.source, alphas, files, pictures, cutting.inverted)
    size = _common_size(scene, [(rgba.shape[1], rgba.shape[2]) for rgba, _, _ in loaded])
    loaded = [_scaled(*one, size, kind) for one in loaded]
    with about(scene.source):  # finite numbers may be infinite in float32
        cameras = Cameras(
            torch.stack([shot.c2w for shot in shots]).float(),
            torch.stack([intrinsics for _, _, intrinsics in loaded]).float(),
            size,
            _ortho_scales(scene),
        )
    normals = [normal for _, normal, _ in loaded if normal is not None]
    return Pictures(
        torch.stack([rgba for rgba, _, _ in loaded]),
        cameras,
        torch.stack(normals) if len(normals) == len(shots) else None,
    )


_Loaded = tuple[Tensor, Tensor | None, Tensor]  # RGBA, normals, intrinsics


def _loaded(scene: Scene, resolution: int | None, cutting: Cutting, kind: str) -> list[_Loaded]:
    most = MOST_PIXELS / max(1, len(scene.shots))
    undistorted = Undistorter()
    loaded = []
    notes: list[str] = []
    for shot in scene.shots:
        _check_camera(scene, shot)
    _warn_of_turns(scene)
    for shot in scene.shots:
        rgba = _read(scene, shot, cutting, notes)
        normal = None if shot.normal is None else _normals(shot, rgba)
        smaller = _smaller(rgba.shape[1], rgba.shape[2], resolution, most)
        rgba, normal, intrinsics = _scaled(rgba, normal, _fitted(shot, rgba), smaller, kind)
        loaded.append((undistorted(rgba, shot.lens, intrinsics), normal, intrinsics))
    if notes:
        rest = f" (and {len(notes) - 3} more such remarks)" if len(notes) > 3 else ""
        logger.warning("%s, cut out: %s%s", scene.source, "; ".join(notes[:3]), rest)
    return loaded


def _check_camera(scene: Scene, shot: Shot) -> None:
    """Refuse a principal point far outside the picture, and a lens that no camera has."""
    where = f"{scene.source}, {shot.picture.name}"
    for key, centre, side in (
        ("cx", float(shot.intrinsics[0, 2]), shot.size[1]),
        ("cy", float(shot.intrinsics[1, 2]), shot.size[0]),
    ):
        if not abs(centre) <= FARTHEST_CENTRE * side:
            raise DataError(
                f"{where}: the principal point's {key} is {centre:.6g} px, the picture "
                f"{shot.size[1]}x{shot.size[0]} px.",
                allowed=f"within {FARTHEST_CENTRE:g} sides of the picture; usually near its middle",
            )
    check_lens(shot.lens, shot.intrinsics, shot.size, where)


def _warn_of_turns(scene: Scene) -> None:
    """Say that pictures were taken as stored where their EXIF tag, but no shape, says otherwise."""
    tags: Counter[int] = Counter()
    for shot in scene.shots:
        height, width = shot.size
        tag = 1 if shot.box is not None else orientation(shot.picture)
        if 1 < tag < 5 or (tag >= 5 and same_shape((height, width), (width, height))):
            tags[tag] += 1
    if tags:
        logger.warning(
            "%s: %s; they are taken as stored, since w x h cannot tell whether the cameras were "
            "made for the pictures turned by it. If the mesh is garbled, write the pictures "
            "upright with the tag removed (magick mogrify -auto-orient), their masks alike",
            scene.source,
            " and ".join(f"{n} pictures carry EXIF orientation {tag}" for tag, n in tags.items()),
        )


def _all_opaque(loaded: Sequence[_Loaded]) -> bool:
    return all(bool((rgba[3] == 1).all()) for rgba, _, _ in loaded)


def _ortho_scales(scene: Scene) -> Float[Tensor, " v"] | None:
    scales = [shot.ortho_scale for shot in scene.shots if shot.ortho_scale is not None]
    if scales and len(scales) != len(scene.shots):
        raise DataError(f"{scene.source} mixes orthographic and perspective cameras.")
    return torch.tensor(scales) if scales else None


def _read(scene: Scene, shot: Shot, cutting: Cutting, notes: list[str]) -> Float[Tensor, "4 h w"]:
    """The picture as its file has it, with the alpha that masks or the cutting give it."""
    turned = shot.box is None and is_turned(scene.source, shot.picture, shot.size)
    picture, masked = read_rgba_or_rgb(shot.picture, upright=turned)
    if shot.box is not None:
        left, top, right, bottom = shot.box
        picture = picture[:, top:bottom, left:right]
    if cutting.background == "none":
        return torch.cat([picture[:3], torch.ones_like(picture[3:])])
    if not cutting.uses_masks:
        return _cut(scene, shot, picture, cutting, notes)
    if shot.mask is not None:
        mask = _mask(scene, shot, (picture.shape[1], picture.shape[2]), turned)
        seen = 1 - mask[3:] if cutting.inverted else mask[3:]
        return torch.cat([picture[:3], picture[3:] * seen])
    if masked:
        alpha = 1 - picture[3:] if cutting.inverted else picture[3:]
        return torch.cat([picture[:3], alpha])
    if not (cutting.required or shot.plain):
        return picture
    what = f"{shot.picture.name} has no alpha channel and no mask"
    if cutting.background == "alpha" or any(other.mask is not None for other in scene.shots):
        raise _no_mask(scene, what)
    try:
        return _cut(scene, shot, picture, replace(cutting, background="border"), notes)
    except DataError as error:
        raise _no_mask(scene, what, error) from error


def _cut(
    scene: Scene, shot: Shot, picture: Tensor, cutting: Cutting, notes: list[str]
) -> Float[Tensor, "4 h w"]:
    """The picture cut out; remarks go to ``notes``, with its name."""
    remarks: list[str] = []
    try:
        cut = cutting.cut(picture, cutting.background, remarks)
    except DataError as error:
        raise DataError(f"{shot.picture.name} of {scene.source}: {error}") from error
    notes += [f"{shot.picture.name}: {remark}" for remark in remarks]
    return cut


def _mask(scene: Scene, shot: Shot, size: tuple[int, int], turned: bool) -> Float[Tensor, "4 h w"]:
    """The mask in the size and turned as its picture was read."""
    assert shot.mask is not None
    (h, w), mask = size, read_mask(shot.mask, upright=False)
    mh, mw = mask.shape[1:]
    tag = orientation(shot.picture)
    if not same_shape((mh, mw), size) and tag >= 5:
        mask = turn(mask, tag, back=not turned)
    if not same_shape((mask.shape[1], mask.shape[2]), size):
        raise DataError(
            f"{scene.source}: {shot.mask.name} is {mw}x{mh} px, its picture {w}x{h} px.",
            allowed="pictures and masks of one shape",
        )
    return mask if mask.shape[1:] == (h, w) else resize(mask, h, w, smooth=True)


def _no_mask(scene: Scene, what: str, why: DataError | None = None) -> DataError:
    tried = "" if why is None else f"; {str(why).splitlines()[0].rstrip('.')}"
    return DataError(
        f"{scene.source}: masks are missing ({what}{tried}).",
        allowed=f"{scene.how_to_mask}; or pictures on an even background",
        hint="Cut the object out first, for example with `rembg p <pictures> <cut>`, or set\n"
        "  data.background=rembg data.background_model=<file>.onnx. data.background=none\n"
        "  reconstructs everything in the object's cube (configs/reconstruct-scene.yaml).",
    )


def _fitted(shot: Shot, rgba: Tensor) -> Float[Tensor, "3 3"]:
    """Intrinsics for the picture as it is: it may have been scaled since."""
    (height, width), (h, w) = rgba.shape[1:], shot.size
    scale = torch.tensor([width / w, height / h, 1.0], dtype=shot.intrinsics.dtype)
    return shot.intrinsics * scale[:, None]


def _normals(shot: Shot, rgba: Tensor) -> Float[Tensor, "3 h w"]:
    """Unit normals in the world; zero where the file is transparent or holds none."""
    assert shot.normal is not None
    picture, _ = read_rgba_or_rgb(shot.normal, upright=False)
    if picture.shape[1:] != rgba.shape[1:]:
        picture = resize(picture, *rgba.shape[1:])
    axes = torch.eye(3) if shot.normal_axes is None else shot.normal_axes.float()
    normal = world_normals(picture[:3], axes)
    length = normal.norm(dim=0, keepdim=True)
    known = (length > 0.5) & (picture[3:] > 0.5)
    return torch.where(known, normal / length.clamp(min=1e-6), 0.0)


def world_normals(
    colours: Float[Tensor, "3 h w"], axes: Float[Tensor, "3 3"]
) -> Float[Tensor, "3 h w"]:
    """Decode normals stored as (n + 1) / 2 and turn them by `axes`; their length is kept."""
    return torch.einsum("ij,jhw->ihw", axes, colours * 2 - 1)


def _smaller(height: int, width: int, resolution: int | None, most: float) -> tuple[int, int]:
    scale = min(1.0, (most / (height * width)) ** 0.5)
    if resolution is not None:
        scale = min(scale, resolution / max(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _common_size(scene: Scene, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the size that most pictures have, the smallest of several."""
    count = Counter(sizes)
    size = min(count, key=lambda s: (-count[s], s[0] * s[1]))
    others = [
        f"{shot.picture.name} ({w}x{h})"
        for shot, (h, w) in zip(scene.shots, sizes, strict=True)
        if (h, w) != size
    ]
    if others:
        rest = f" and {len(others) - 3} more" if len(others) > 3 else ""
        logger.info(
            "%s: pictures of another size are resampled to %dx%d px: %s%s",
            *(scene.source, size[1], size[0], ", ".join(others[:3]), rest),
        )
    return size


def _scaled(
    rgba: Tensor, normal: Tensor | None, intrinsics: Tensor, size: Sequence[int], kind: str
) -> tuple[Tensor, Tensor | None, Tensor]:
    (height, width), (h, w) = size, rgba.shape[1:]
    if (height, width) == (h, w):
        return rgba, normal, intrinsics
    scale = intrinsics.new_tensor([width / w, height / h, 1.0])
    if normal is not None:
        normal = torch.nn.functional.interpolate(normal[None], (height, width), mode="area")[0]
        normal = torch.nn.functional.normalize(normal, dim=0)
    rgba = (resize if kind == "area" else resize_8bit)(rgba, height, width)
    return rgba, normal, intrinsics * scale[:, None]
