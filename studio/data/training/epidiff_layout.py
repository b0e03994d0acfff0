"""EpiDiff's folders of rendered objects: 96 views each, read and written.

    root/<shard>/<object id>/render_0000.webp .. render_0095.webp, meta.json
    root/caption_{train,val,test}.txt     one "<shard>/<object id><TAB><caption>" per line

Views: 16 azimuths 22.5 degrees apart (outer) times elevations -10, 0, 10, 20, 30, 40 degrees
(inner). The objects' bounding-box diagonal is 1, the cameras stand at distance 1.5. meta.json holds
angles in radians and Blender camera-to-world matrices; matrices and angles may differ slightly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from studio.cameras import Cameras, opencv_to_opengl, opengl_to_opencv
from studio.errors import DataError
from studio.io.files import atomic_write, write_json, write_text
from studio.io.picture_files import opened
from studio.io.reading import parse_json, read_text, reading

SPLITS = ("train", "val", "test")
_SUFFIXES = (".webp", ".png")  # the render tool itself writes PNG


@dataclass(frozen=True)
class ObjectViews:
    """What meta.json of one object says.

    Attributes:
        folder: of the pictures.
        files: picture names.
        elevation: radians, positive upwards.
        azimuth: radians.
        c2w: camera-to-world, OpenCV axes.
        fov: horizontal field of view in radians.
        caption: from the caption file.
    """

    folder: Path
    files: tuple[str, ...]
    elevation: Float[Tensor, " v"]
    azimuth: Float[Tensor, " v"]
    c2w: Float[Tensor, "v 4 4"]
    fov: float
    caption: str = ""

    @classmethod
    def read(cls, folder: Path, caption: str = "") -> ObjectViews:
        """Read meta.json; that of the render tool (fov_x, no frames, PNG) is taken, too.

        Raises:
            DataError: if it is missing or incomplete.
        """
        path = folder / "meta.json"
        with reading(
            path,
            "camera_angle_x and locations with elevation, azimuth, transform_matrix and frames",
        ):
            meta = parse_json(read_text(path))
            places = meta["locations"]
            fov = float(meta["camera_angle_x"] if "camera_angle_x" in meta else meta["fov_x"])
            if not 0 < fov < math.pi:
                raise ValueError(f"the field of view is {fov:g} radians")
            c2w = torch.tensor([p["transform_matrix"] for p in places], dtype=torch.float64)
            if c2w.shape != (len(places), 4, 4):
                raise ValueError(f"transform_matrix is of shape {tuple(c2w.shape[1:])}")
            angles = torch.tensor([[float(p[k]) for k in ("elevation", "azimuth")] for p in places])
            if not (angles.isfinite().all() and c2w.isfinite().all()):
                raise ValueError("an angle or a matrix is not finite")
            return cls(
                folder,
                tuple(_file_name(folder, i, p) for i, p in enumerate(places)),
                angles[:, 0],
                angles[:, 1],
                opengl_to_opencv(c2w).float(),
                fov,
                caption,
            )

    def intrinsics(self, width: float = 1.0, height: float = 1.0) -> Float[Tensor, "3 3"]:
        """Return intrinsics for a picture size, by default normalised by it."""
        focal = 0.5 / math.tan(0.5 * self.fov)
        rows = [[focal * width, 0, 0.5 * width], [0, focal * height, 0.5 * height], [0, 0, 1]]
        return torch.tensor(rows)

    def picture(
        self, view: int, size: tuple[int, int], background: float | Sequence[float] = 1.0
    ) -> Float[Tensor, "3 h w"]:
        """Return a view in [-1, 1], resized to (width, height) and laid over a background."""
        return on_background(self._open(view), size, background)

    def rgba(self, view: int, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 4"]:
        """Return a view resized to (width, height), straight alpha; opaque where it has none."""
        picture = self._open(view).convert("RGBA")
        return np.asarray(picture if picture.size == size else picture.resize(size))

    def _open(self, view: int) -> Image.Image:
        if not 0 <= view < len(self.files):
            raise DataError(
                f"{self.folder} has no view {view}.", allowed=f"0 to {len(self.files) - 1}"
            )
        path = self.folder / self.files[view]
        with opened(path) as picture:
            picture.load()
            return picture


def _file_name(folder: Path, index: int, place: dict[str, Any]) -> str:
    if place.get("frames"):
        return str(place["frames"][0]["name"])
    stem = f"render_{place.get('index', f'{index:04d}')}"
    found = [stem + suffix for suffix in _SUFFIXES if (folder / (stem + suffix)).exists()]
    return found[0] if found else stem + _SUFFIXES[0]


def on_background(
    picture: Image.Image, size: tuple[int, int], background: float | Sequence[float] = 1.0
) -> Float[Tensor, "3 h w"]:
    """Return a picture in [-1, 1], resized (bicubic, 8 bit) and laid over a grey level or colour.

    Args:
        picture: RGBA, or RGB, which hides the background.
        size: (width, height) in pixels.
        background: in [0, 1].
    """
    if picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    resized = picture if picture.size == tuple(size) else picture.resize(size)
    values = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
    if len(values) == 4:
        behind = torch.as_tensor(background, dtype=torch.float32).expand(3)[:, None, None]
        values = values[:3] * values[3:] + behind * (1 - values[3:])
    return values * 2 - 1


def read_index(root: Path, captions: Path) -> list[ObjectViews]:
    """Read the objects that a caption file lists, with their meta.json.

    Raises:
        DataError: naming the line that is no "<shard>/<object id><TAB><caption>", or the object
            that is missing.
    """
    with reading(captions, 'UTF-8 text with one "<shard>/<object id><TAB><caption>" per line'):
        lines = read_text(captions).splitlines()
    objects = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        if not tab or "\t" in caption:
            raise DataError(
                f"{captions}, line {number}: {line[:60]!r}.",
                allowed='"<shard>/<object id><TAB><caption>", with exactly one tab',
            )
        objects.append(ObjectViews.read(root / name.strip(), caption))
    if not objects:
        raise DataError(f"{captions} lists no object.")
    return objects


def official_item(
    thing: ObjectViews,
    reference: int,
    views: Sequence[int],
    size: tuple[int, int],
    background: float | Sequence[float] = 1.0,
    use_abs_elevation: bool = True,
) -> dict[str, Tensor]:
    """Return a training item in the authors' form (angles in radians, intrinsics normalised).

    Args:
        thing: the object.
        reference: the condition view.
        views: the target views.
        size: (width, height) in pixels.
        background: grey level or colour in [0, 1].
        use_abs_elevation: the fourth camera number is the reference's elevation, else 0.

    Returns:
        view_ids (reference first), images, image_0, elevations, azimuths and distances relative to
        the reference, near_elevations and near_azimuths (absolute), c2w_matrixs,
        intrinsics_matrixs.
    """
    index = torch.tensor(list(views))
    elevation, azimuth = thing.elevation, thing.azimuth
    last = elevation[reference] if use_abs_elevation else torch.zeros(())
    return {
        "view_ids": torch.tensor([reference, *views]),
        "images": torch.stack([thing.picture(v, size, background) for v in views]),
        "image_0": thing.picture(reference, size, background),
        "elevations": (elevation[index] - elevation[reference])[:, None],
        "azimuths": ((azimuth[index] - azimuth[reference]) % (2 * math.pi))[:, None],
        "distances": last.expand(len(index))[:, None],
        "near_elevations": elevation[index],
        "near_azimuths": azimuth[index],
        "c2w_matrixs": thing.c2w[index],
        "intrinsics_matrixs": thing.intrinsics().expand(len(index), 3, 3),
    }


def write_object(
    root: Path | str,
    shard: str,
    name: str,
    rgba: UInt8[np.ndarray, "v h w 4"],
    cameras: Cameras,
    caption: str,
) -> str:
    """Write the views of one object in the authors' layout (lossless webp).

    Args:
        root: folder of the data set.
        shard: folder within it.
        name: object id.
        rgba: views, straight alpha.
        cameras: theirs.
        caption: text of the object; tabs and line ends become spaces.

    Returns:
        the object's line of a caption file.
    """
    folder = Path(root) / shard / name
    azimuth, elevation, radius = cameras.spherical()
    height, width = cameras.size
    places = []
    for i, matrix in enumerate(opencv_to_opengl(cameras.c2w.double())):
        file = f"render_{i:04d}.webp"
        with atomic_write(folder / file) as temporary:
            Image.fromarray(rgba[i], "RGBA").save(temporary, lossless=True, exact=True)
        places.append(
            {
                "index": f"{i:04d}",
                "elevation": math.radians(float(elevation[i])),
                "azimuth": math.radians(float(azimuth[i])),
                "transform_matrix": matrix.tolist(),
                "frames": [{"name": file}],
            }
        )
    focal = float(cameras.intrinsics[0, 0, 0])
    meta = {
        "camera_angle_x": 2 * math.atan(0.5 * width / focal),
        "distance": float(radius[0]),
        "width": width,
        "height": height,
        "locations": places,
    }
    write_json(folder / "meta.json", meta)
    return f"{shard}/{name}\t{' '.join(caption.split())}"


def write_captions(root: Path | str, split: str, lines: Sequence[str]) -> Path:
    """Write the caption file of a split from the lines that `write_object` returned.

    Raises:
        DataError: if there is no such split.
    """
    if split not in SPLITS:
        raise DataError(f"split is {split!r}.", allowed=", ".join(SPLITS))
    path = Path(root) / f"caption_{split}.txt"
    write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def prepare_procedural(
    root: Path | str, split: str, objects: int, size: int = 256, seed: int = 0
) -> Path:
    """Render procedural objects from the 96 cameras into the authors' layout.

    Their longest side is 1, the project's convention, where the authors' have a diagonal of 1.

    Args:
        root: folder of the data set.
        split: train, val or test; training and other splits hold different objects.
        objects: how many.
        size: picture side in pixels.
        seed: first object seed.

    Returns:
        the caption file.
    """
    from studio.data.procedural.dataset import render_object
    from studio.data.procedural.objects import categories, make_object, split_seed
    from studio.rigs import RIGS

    cameras, kinds, lines = RIGS["epidiff96"].cameras(size), categories(), []
    for i in range(objects):
        kind = kinds[i % len(kinds)]
        number = split_seed(i, split, seed)
        views = np.round(render_object(kind, number, cameras).rgba * 255).astype(np.uint8)
        name, shard = f"{kind}-{number}", f"{i // 1000:03d}"
        lines.append(
            write_object(root, shard, name, views, cameras, make_object(kind, number).caption)
        )
    return write_captions(root, split, lines)
