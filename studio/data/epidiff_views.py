"""EpiDiff's folders of rendered objects: 96 views each, read and written.

    root/<shard>/<object id>/render_0000.webp .. render_0095.webp, meta.json
    root/caption_{train,val,test}.txt     one "<shard>/<object id><TAB><caption>" per line

Views: 16 azimuths 22.5 degrees apart (outer) times elevations -10, 0, 10, 20, 30, 40 degrees
(inner). The objects' bounding-box diagonal is 1, the cameras stand at distance 1.5. meta.json holds
angles in radians and Blender camera-to-world matrices; matrices and angles may differ slightly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from studio.cameras import Cameras, opencv_to_opengl, opengl_to_opencv
from studio.data.base import ViewPairData
from studio.data.rings import Rings
from studio.errors import DataError
from studio.files import atomic_write, write_json, write_text
from studio.registry import register

ELEVATIONS_DEG = (-10.0, 0.0, 10.0, 20.0, 30.0, 40.0)
AZIMUTHS = 16
RING = tuple(6 * a + 4 for a in range(AZIMUTHS))  # the views at elevation 30
REFERENCE = 64  # official: azimuth 225, elevation 30 degrees
SPLITS = ("train", "val", "test")
_GREYS = {"white": 1.0, "black": 0.0, "gray": 0.5}
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
        try:
            meta = json.loads(path.read_text())
            places = meta["locations"]
            fov = meta["camera_angle_x"] if "camera_angle_x" in meta else meta["fov_x"]
            c2w = torch.tensor([p["transform_matrix"] for p in places], dtype=torch.float64)
            return cls(
                folder,
                tuple(_file_name(folder, i, p) for i, p in enumerate(places)),
                torch.tensor([float(p["elevation"]) for p in places]),
                torch.tensor([float(p["azimuth"]) for p in places]),
                opengl_to_opencv(c2w).float(),
                float(fov),
                caption,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} cannot be read: {type(error).__name__} {error}.",
                allowed="camera_angle_x and locations with elevation, azimuth, transform_matrix "
                "and frames",
            ) from error

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
        try:
            with Image.open(path) as picture:
                picture.load()
                return picture
        except OSError as error:
            raise DataError(f"{path} is missing or damaged ({error}).") from error


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
    try:
        lines = captions.read_text().splitlines()
    except OSError as error:
        raise DataError(
            f"{captions} cannot be read ({error.strerror}).",
            allowed='a text file with one "<shard>/<object id><TAB><caption>" per line',
        ) from error
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


@register("data", "epidiff-views")
class EpiDiffViews(ViewPairData):
    """EpiDiff's rendered objects: <shard>/<id>/render_####.webp with meta.json, 96 views each."""

    @dataclass
    class Config:
        """Where the objects are and which views are taken."""

        root: str = ""
        """Folder of the shards and caption files."""
        caption_train: str = "caption_train.txt"
        """List of training objects, within `root` or a path of its own."""
        caption_val: str = "caption_val.txt"
        """List of validation objects."""
        resolution: int = 256
        """Height and width of the pictures in pixels."""
        views: list[int] = field(default_factory=lambda: list(RING))
        """Target views; the default is the ring at elevation 30 (released)."""
        random_views: int = 0
        """Take that many random target views instead (paper: 16); 0: those of `views`."""
        reference: int = REFERENCE
        """Condition view; -1: a random one of all views."""
        background: str = "white"
        """white, black, gray, random, random_gray or a grey level from 0 to 1."""

    def __init__(self, cfg: Config) -> None:
        """Check the options; files are read when a split is asked for."""
        if not Path(cfg.root).is_dir():
            raise DataError(
                f"data.root {cfg.root!r} is no folder.",
                allowed="a folder of <shard>/<object id>/ and caption files",
            )
        _background(cfg.background)
        self.cfg = cfg

    def objects(self, split: str) -> list[ObjectViews]:
        """Return the objects of a split."""
        name = self.cfg.caption_train if split == "train" else self.cfg.caption_val
        return read_index(Path(self.cfg.root), Path(self.cfg.root) / name)

    def dataset(self, split: Literal["train", "val"]) -> EpiDiffDataset:
        """Return training items without the batch axis."""
        return EpiDiffDataset(self.objects(split), self.cfg)

    def rings(self, split: str) -> Rings:
        """Return all objects of a split, seen by the views of `views`, for training by step number.

        Raises:
            DataError: if these views are no evenly spaced ring that starts at azimuth 0.
        """
        side, things = self.cfg.resolution, self.objects(split)
        cameras = _cameras(things[0], self.cfg.views, side)
        azimuth, elevation, _ = cameras.spherical()
        even = torch.arange(len(azimuth)) * (360.0 / len(azimuth))
        apart = (azimuth - even + 180) % 360 - 180
        if apart.abs().max() > 0.5 or (elevation - elevation[0]).abs().max() > 0.5:
            raise DataError(
                f"data.views {list(self.cfg.views)} are no ring.",
                allowed="evenly spaced views of one elevation, in order, from azimuth 0",
            )
        images = np.stack(
            [[thing.rgba(v, (side, side)) for v in self.cfg.views] for thing in things]
        )
        return Rings(images, cameras)


class EpiDiffDataset(Dataset[dict[str, Any]]):
    """Items of `EpiDiffViews`; random choices are drawn anew at every access."""

    def __init__(self, objects: list[ObjectViews], cfg: EpiDiffViews.Config) -> None:
        self.objects, self.cfg = objects, cfg

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: int) -> dict[str, Any]:
        thing, cfg = self.objects[index], self.cfg
        views, reference = list(cfg.views), cfg.reference
        if cfg.random_views:
            views = torch.randperm(len(thing.files))[: cfg.random_views].tolist()
        if reference < 0:
            reference = int(torch.randint(len(thing.files), ()))
        size, background = (cfg.resolution, cfg.resolution), _background(cfg.background)
        cameras = _cameras(thing, views, cfg.resolution)
        return {
            "images": torch.stack([thing.picture(v, size, background) for v in views]),
            "cond_image": thing.picture(reference, size, background),
            "c2w": cameras.c2w,
            "cond_c2w": thing.c2w[reference],
            "intrinsics": cameras.intrinsics,
            "caption": thing.caption,
        }


def _cameras(thing: ObjectViews, views: Sequence[int], side: int) -> Cameras:
    unknown = [v for v in views if not 0 <= v < len(thing.files)]
    if unknown:
        raise DataError(
            f"{thing.folder} has no view {unknown[0]}.", allowed=f"0 to {len(thing.files) - 1}"
        )
    c2w = thing.c2w[list(views)]
    return Cameras(c2w, thing.intrinsics(side, side).expand(len(c2w), 3, 3), (side, side))


def _background(name: str) -> float | list[float]:
    """Return the grey level or colour of a background by name; random ones are drawn.

    Raises:
        DataError: if there is no such background.
    """
    if name in _GREYS:
        return _GREYS[name]
    if name == "random":
        return torch.rand(3).tolist()
    if name == "random_gray":
        return float(torch.rand(()))
    try:
        level = float(name)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 1:
        raise DataError(
            f"data.background is {name!r}.",
            allowed="white, black, gray, random, random_gray or a number from 0 to 1",
        )
    return level


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

    Args:
        root: folder of the data set.
        split: train, val or test; training and other splits hold different objects.
        objects: how many.
        size: picture side in pixels.
        seed: first object seed.

    Returns:
        the caption file.
    """
    from studio.data.procedural import render_object, rig_cameras
    from studio.data.procedural_objects import categories, make_object, split_seed

    cameras, kinds, lines = rig_cameras("epidiff96", size), categories(), []
    for i in range(objects):
        kind = kinds[i % len(kinds)]
        number = split_seed(i, split, seed)
        views = np.round(render_object(kind, number, cameras).rgba * 255).astype(np.uint8)
        name, shard = f"{kind}-{number}", f"{i // 1000:03d}"
        lines.append(
            write_object(root, shard, name, views, cameras, make_object(kind, number).caption)
        )
    return write_captions(root, split, lines)
