"""The base of all capture layouts: options, placing, held-out views.

A layout's plugin only finds its files and reads cameras (`scene`); see
`studio.data.layouts.capture` for how a folder's layout is recognised.
"""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.captures.bounds import (
    believed_bound,
    check_given_bound,
    guess_bound,
    look_elsewhere,
    seen_half_width,
)
from studio.captures.files import is_picture, without_companions
from studio.captures.foreground import METHODS
from studio.captures.masks import Cutting
from studio.captures.object_points import object_bound
from studio.captures.pictures import FILTERS, MASKS, Pictures, read_shots
from studio.captures.shots import Scene
from studio.data.base import SceneData
from studio.data.layouts.placement import CENTRES, UPS, placement, say_if_lying, tells_up
from studio.errors import DataError, about
from studio.io.reading import reading
from studio.plugins.ranges import CountOrZero, OneOf, Range, Share, Size
from studio.similarity import FAR, far_centre, translation
from studio.views import ViewSet

logger = logging.getLogger(__name__)


@dataclass
class CaptureConfig:
    """Options of every capture, whatever its layout."""

    root: str = ""
    """The capture's folder (or the file that describes it)."""
    resolution: Annotated[int, Range(4, 65536)] | None = None
    """Longer picture side in pixels after scaling down; null keeps the size (67 megapixels in all)."""  # noqa: E501
    bound: Size | None = None
    """Half side of the cube around the origin that holds the object; null: from the layout or guessed."""  # noqa: E501
    centre: Annotated[str, OneOf(CENTRES)] = "auto"
    """What becomes the origin: keep, masks, object (what stands on the floor where the cameras look, by the sparse points), look-at, look-at-pairs, points or cameras; auto: keep where the layout fixes it and the cameras look there, else masks."""  # noqa: E501
    up: Annotated[str, OneOf(UPS)] = "auto"
    """What becomes +Z: keep, upright (level pictures), positions (mean camera) or +x .. -z; auto: keep where the layout fixes it, else upright."""  # noqa: E501
    views: list[CountOrZero] | None = None
    """Positions of the training views to use; null for all."""
    holdout: Literal[0] | Annotated[int, Range(2, 1_000_000)] = 0
    """Keep every n-th view back to measure on, where there are no test views; 0 for none."""
    background: Annotated[str, OneOf(METHODS)] = "auto"
    """How the object is told from the background: auto (masks or alpha, else an even border colour), alpha (masks or alpha alone), border, rembg, or none: everything counts as object."""  # noqa: E501
    background_model: str | None = None
    """ONNX file on this machine for background=rembg."""
    tolerance: Share = 0.08
    """Largest colour difference, of 1, from an even background that is removed."""
    holes: bool = True
    """Enclosed areas of exactly an even background's colour are background, too."""
    masks: Annotated[str, OneOf(MASKS)] = "required"
    """required, or optional: pictures without a mask count as object everywhere."""
    invert_masks: bool | None = None
    """true: masks are white on the background; false: they are not; null: they are not, and refused where they seem to be."""  # noqa: E501
    downscale: Annotated[str, OneOf(FILTERS)] = "area"
    """area: mean over each new pixel, weighted by alpha; bicubic: 8-bit, masks apart (instant-nsr)."""  # noqa: E501


class LayoutData(SceneData):
    """Posed views in a folder of some layout."""

    Config: ClassVar[type] = CaptureConfig
    looks_for: ClassVar[str] = "files of that layout"
    """What has to lie in a folder of this layout, for messages."""
    priority: ClassVar[int] = 100
    """`data_type: capture` asks the layouts from the highest down; those of this package, whose
    folders may hold each other's files, have 10 to 80."""
    auto_centre: ClassVar[str] = "keep"
    """What `centre: auto` means: keep where the layout puts the object at the origin."""
    snug: ClassVar[float | None] = None
    """Times what masks outline, up to which a declared bound is believed; None: by convention."""
    auto_up: ClassVar[str] = "keep"
    """What `up: auto` means: keep where the layout has +Z up."""

    def __init__(self, cfg: Any) -> None:
        """Check the options; nothing is read before `load`."""
        if not cfg.root:
            raise DataError("data.root is not given.", allowed=f"a folder with {self.looks_for}")
        self.cfg = cfg
        self._cutting = Cutting(
            cfg.background,
            cfg.tolerance,
            cfg.background_model,
            cfg.masks == "required",
            cfg.invert_masks,
            cfg.holes,
        )
        self._to_world = torch.eye(4, dtype=torch.float64)
        self._bound = 0.0
        self._held_out: ViewSet | None = None
        self._scene: Scene | None = None  # as it was placed

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Whether a folder or file is of this layout, by what lies in it; reads no picture."""

    @abstractmethod
    def scene(self, split: str = "train") -> Scene | None:
        """Read cameras and file names of the training ("train") or the layout's test views."""

    def load(self) -> ViewSet:
        """Read the training views and find where the object is."""
        with reading(Path(self.cfg.root), raised=OSError):
            return self._load()

    def _load(self) -> ViewSet:
        scene = self.scene("train")
        assert scene is not None
        if not scene.shots:
            raise DataError(f"{scene.source} has no views.", allowed=self.looks_for)
        scene, nearer = self._brought_near(scene)
        pictures = self._read(scene)
        said = believed_bound(
            scene.bound, pictures.images[:, 3], pictures.cameras, scene.source, snug=self.snug
        )
        far = not torch.equal(nearer, torch.eye(4).double())
        with about(scene.source):
            scene, pictures = self._placed(replace(scene, bound=said), pictures, far)
            self._to_world = nearer @ self._to_world
            self._bound = self._find_bound(scene, pictures)
        views = self._views(scene, pictures)
        self._scene = scene
        if self.cfg.holdout and self.scene("test") is None:
            kept_back = list(range(0, len(views), self.cfg.holdout))
            self._held_out = views.select(kept_back)
            views = views.select([i for i in range(len(views)) if i not in set(kept_back)])
        return views if self.cfg.views is None else _selected(views, self.cfg.views)

    def test(self) -> ViewSet | None:
        """Read the held-out views, in the world and with the bound of the training views."""
        with reading(Path(self.cfg.root), raised=OSError):
            return self._test()

    def _test(self) -> ViewSet | None:
        scene = self.scene("test")
        if scene is None and not self.cfg.holdout:
            return None
        if self._scene is None:
            self.load()
        if scene is None:
            return self._held_out
        return self._views(scene.placed(self._to_world), self._read(scene, self._to_world))

    def has_cameras(self) -> bool:
        """Whether the cameras are there already; without them `load` takes long, and writes."""
        return True

    def cloud(self) -> Float[Tensor, "n 3"] | None:
        """Sparse points in the world of the views, float64; None before `load` or without any."""
        return None if self._scene is None else self._scene.points

    # --- parts ----------------------------------------------------------------------------------

    def _read(self, scene: Scene, to_world: Tensor | None = None) -> Pictures:
        cfg = self.cfg
        if to_world is not None:
            scene = scene.placed(to_world)
        return read_shots(
            scene, resolution=cfg.resolution, cutting=self._cutting, kind=cfg.downscale
        )

    def _brought_near(self, scene: Scene) -> tuple[Scene, Tensor]:
        """Bring a scene far from the origin there, before anything of it becomes float32.

        Not where the origin is known to be the object's place.

        Returns:
            The scene, and the translation from its world to that of the one given.
        """
        middle = far_centre(torch.stack([shot.c2w[:3, 3] for shot in scene.shots]))
        bound = self.cfg.bound or scene.bound
        there = bound is not None and middle is not None and float(middle.norm()) < FAR * bound
        if middle is None or self.cfg.centre == "keep" or (self._centre == "keep" and there):
            return scene, torch.eye(4, dtype=torch.float64)
        to_world = translation(middle)
        return scene.placed(to_world), to_world

    @property
    def _centre(self) -> str:
        return self.auto_centre if self.cfg.centre == "auto" else self.cfg.centre

    def _placed(self, scene: Scene, pictures: Pictures, far: bool) -> tuple[Scene, Pictures]:
        """Move the scene as `centre` and `up` say.

        A `far` one has the cameras' middle for its origin, which says nothing of the object.
        """
        centre = self._centre
        up = self.auto_up if self.cfg.up == "auto" else self.cfg.up
        auto = centre == "keep" and self.cfg.centre == "auto"
        if auto and (far or self._is_elsewhere(scene, pictures)):
            logger.info("%s: the object is moved to the origin (data.centre=masks)", scene.source)
            centre = "masks"
        self._to_world = torch.eye(4, dtype=torch.float64)
        if self.cfg.up == "auto" and up == "upright" and not tells_up(pictures.cameras):
            logger.warning("%s: the pictures do not tell what is up (data.up)", scene.source)
            up = "keep"
        if self.cfg.up == "auto" and up == "keep":
            say_if_lying(scene.source, pictures.cameras)
        if centre == "keep" and up == "keep":
            return scene, pictures
        self._to_world = placement(
            pictures.cameras,
            centre=centre,
            up=up,
            mask=None if bool((pictures.images[:, 3] > 0.5).all()) else pictures.images[:, 3],
            points=None if scene.points is None else scene.points.float(),
            nearest=None if self.auto_centre == "keep" else 1.0,
        ).double()
        known = scene.bound if centre == "keep" else None
        scene = replace(scene.placed(self._to_world), bound=known)
        cameras = pictures.cameras.placed(self._to_world)
        linear = self._to_world[:3, :3]
        axes = (linear.T / torch.linalg.det(linear) ** (1 / 3)).float()
        normals = pictures.normals
        if normals is not None:
            normals = torch.einsum("ij,vjhw->vihw", axes, normals)
        return scene, Pictures(pictures.images, cameras, normals)

    def _is_elsewhere(self, scene: Scene, pictures: Pictures) -> bool:
        """Whether nothing says where the object is and the cameras look far past the origin."""
        known = self.cfg.bound is not None or scene.bound is not None
        return not known and look_elsewhere(pictures.cameras)

    def _find_bound(self, scene: Scene, pictures: Pictures) -> float:
        mask, cameras = pictures.images[:, 3], pictures.cameras
        if self.cfg.bound is not None:
            return check_given_bound(float(self.cfg.bound), mask, cameras)
        if scene.bound is not None:
            return scene.bound
        if self._centre == "object" and scene.points is not None:
            return object_bound(scene.points.float(), cameras)
        if bool((mask > 0.5).all()) and scene.points is not None and len(scene.points):
            return bound_of_points(scene.points, cameras)
        return guess_bound(mask, cameras)

    def _views(self, scene: Scene, pictures: Pictures) -> ViewSet:
        names = tuple(shot.name for shot in scene.shots)
        return ViewSet(
            pictures.images, pictures.cameras, self._bound, scene.record, names, pictures.normals
        )


def bound_of_points(points: Tensor, cameras: Cameras) -> float:
    """Half side of a cube around the origin for 98 % of the sparse points, with a margin of 10 %.

    It never exceeds what the pictures show at the origin.
    """
    reach = torch.quantile(points.abs().amax(1).float(), 0.98).item()
    return min(1.1 * reach, seen_half_width(cameras))


def _selected(views: ViewSet, index: list[int]) -> ViewSet:
    wrong = [i for i in index if not 0 <= i < len(views)]
    if wrong or not index:
        raise DataError(f"data.views is {index}.", allowed=f"one or more of 0 to {len(views) - 1}")
    return views.select(index)


# --- helpers of the readers ---------------------------------------------------------------------


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files of a folder, 2.png before 10.png, without depth maps and masks."""
    if not folder.is_dir():
        return []
    files = sorted((p for p in folder.iterdir() if is_picture(p)), key=natural)
    return without_companions(files)


def natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorting key of file names that takes runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return tuple((0, int(p)) if p.isdigit() else (1, p) for p in parts if p)
