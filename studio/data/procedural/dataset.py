"""Synthetic training data: procedural objects, ray-cast from the canonical rig."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from studio.cameras import Cameras, orbit_cameras
from studio.data.procedural.inputs import InputCamera, draw_input_cameras
from studio.data.procedural.objects import categories, make_object, split_seed
from studio.data.procedural.photo import photo_caster
from studio.data.procedural.sculptor import ProceduralObject
from studio.data.training.arrays import read_npy
from studio.data.training.ring_views import Inputs, RingData, RingViews, on_white
from studio.errors import ConfigError, DataError
from studio.io.files import atomic_write
from studio.io.growing_arrays import grow_array
from studio.io.reading import read_json, reading
from studio.ops.ray_caster import RayCaster, Rendered
from studio.plugins.ranges import Count, CountOrZero, Elevation, Length, OneOf, Pixels, Range, Seed
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.rigs import RIGS

RINGS = ("ele30", "epidiff96", "nmr24")
"""Rigs whose azimuths are evenly spaced, so that any of them can be the front."""
RENDERING_VERSION = 2
"""Part of the cache key: raise it when the pictures of a given seed change."""

CAPTIONS_VERSION = 2
"""The same for the captions."""
CACHE_HINT = "Remove it: it is made again."


def render_object(
    category: str,
    seed: int,
    cameras: Cameras,
    *,
    yaw_deg: float = 0.0,
    supersample: int = 2,
    shading: bool = True,
    look: str = "plain",
) -> Rendered:
    """Render one procedural object.

    Args:
        category: see :func:`studio.data.procedural.objects.categories`.
        seed: of the object; test seeds start at ``TEST_SEED``.
        cameras: in the world where the object stands at the origin, facing +X.
        yaw_deg: turns the object counter-clockwise, seen from above.
        supersample: samples per pixel and axis.
        shading: ``False`` gives plain colours.
        look: "plain" (one colour a part, light from above) or "photo" (patterns, soft light).
    """
    thing = make_object(category, seed).turned(yaw_deg)
    return caster_of(thing, look).render(
        cameras.c2w.numpy(),
        cameras.intrinsics.numpy(),
        cameras.size,
        supersample=supersample,
        shading=shading,
    )


def caster_of(thing: ProceduralObject, look: str) -> RayCaster:
    """Return a ray caster of an object; for looks see `render_object`."""
    if look == "photo":
        return photo_caster(thing)
    vertices, faces, colours, normals = thing.arrays
    return RayCaster(vertices, faces, colours, normals=normals)


Kinds = Annotated[list[Annotated[str, OneOf(categories())]], Length(1, 1000)]


@register("data", "procedural")
class ProceduralData(RingData):
    """Endless toy objects (cars, houses, animals, ...) rendered on the fly; needs no download."""

    @dataclass
    class Config:
        """Options of the procedural data set."""

        categories: Kinds = field(default_factory=lambda: ["car", "house", "armchair", "animal"])
        """Kinds of objects; object i is of kind i modulo their number."""
        objects: Count = 2000
        """Objects of the training split."""
        val_objects: CountOrZero = 64
        """Objects of the validation split (held-out seeds, in part held-out hues and shapes)."""
        resolution: Pixels = 64
        """Height and width of the pictures in pixels."""
        seed: Seed = 0
        """First object seed of each split."""
        rig: Annotated[str, OneOf(RINGS)] = "ele30"
        """Cameras: ele30 (16 views, elevation 30), epidiff96 (six elevations), nmr24 (24 views)."""
        input_elevation_deg: Elevation = 30.0
        """Elevation of the condition view; must belong to the rig."""
        yaw_jitter: bool = True
        """Turn every object by a fixed angle of its own within one azimuth step."""
        reference: Literal["random", "first"] = "random"
        """Condition view: "random" azimuth at each access, or "first" (the object's own front)."""
        references: list[CountOrZero] = field(default_factory=list)
        """Training by step: ring positions of conditions, 0 is the front; empty: any."""
        supersample: Annotated[int, Range(1, 16)] = 2
        """Samples per pixel and axis."""
        inputs: CountOrZero = 0
        """Further pictures of every object as people take them (any elevation, lens, framing); if
        there are any, training by step takes its conditions from them."""
        look: Literal["plain", "photo"] = "plain"
        """plain (one colour a part, light from above) or photo (patterns, soft light)."""
        cache_dir: str | None = None
        """Folder for rendered pictures; they stay in memory only if it is null."""
        captions: bool = False
        """Add a caption to each item."""

        def __post_init__(self) -> None:
            """Check what belongs together."""
            rig = RIGS.get(self.rig)
            if rig and self.input_elevation_deg not in rig.elevations:
                raise ConfigError(
                    f"input_elevation_deg is {self.input_elevation_deg}, not in rig {self.rig}.",
                    allowed=", ".join(str(e) for e in rig.elevations),
                )

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.rig = cfg, RIGS[cfg.rig]
        self.cameras = self.rig.cameras(cfg.resolution)
        self._views: dict[str, NDArray[np.uint8]] = {}
        self._input_cameras: dict[str, NDArray[np.float32]] = {}

    def kinds(self) -> list[str]:
        """Return the categories, in the plural."""
        return [_plural(name.replace("_", " ").replace("-", " ")) for name in self.cfg.categories]

    def dataset(self, split: Literal["train", "val"]) -> ProceduralViews:
        """Return the items of a split, each a training batch without its batch axis."""
        return ProceduralViews(self, split)

    def ring_views(self, split: Literal["train", "val"]) -> RingViews:
        """Return all objects of a split on one ring of views, for training by step number.

        Raises:
            ConfigError: if the rig is no single ring.
        """
        if len(self.rig.elevations) != 1:
            rings = [name for name in RINGS if len(RIGS[name].elevations) == 1]
            raise ConfigError(
                f"data.rig is '{self.cfg.rig}', which is no ring.", allowed=", ".join(rings)
            )
        return RingViews(
            self.views_array(split),
            self.cameras,
            references=tuple(self.cfg.references),
            captions=self.captions(split) if self.cfg.captions else (),
            inputs=self.inputs(split) if self.cfg.inputs else None,
        )

    def inputs(self, split: str) -> Inputs:
        """Return the pictures that people might take of all objects of a split."""
        self.views_array(split)
        drawn = torch.from_numpy(self._input_cameras[split])
        said = drawn[..., :2]
        cameras = orbit_cameras(said[..., 0].flatten().tolist(), said[..., 1].flatten().tolist())
        return Inputs(
            self._pictures(split)[:, len(self.cameras) :],
            cameras.c2w.unflatten(0, said.shape[:2]),
            drawn[..., 2].numpy().astype(int),
        )

    def captions(self, split: str) -> tuple[str, ...]:
        """Return what a person would call each object of a split; kept beside its pictures."""
        path = self.cache_path(split).with_suffix(f".captions-{CAPTIONS_VERSION}.json")
        if self.cfg.cache_dir is not None and path.exists():
            return tuple(read_json(path, hint=CACHE_HINT, kind=list))
        identities = (self.identity(split, i) for i in range(self.count(split)))
        with StageProgress("captions"):
            captions = tuple(make_object(kind, seed).caption for kind, seed, _ in identities)
        if self.cfg.cache_dir is not None:
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(captions))
        return captions

    def count(self, split: str) -> int:
        """Number of objects of a split."""
        return self.cfg.objects if split == "train" else self.cfg.val_objects

    def identity(self, split: str, index: int) -> tuple[str, int, float]:
        """Category, seed and yaw in degrees of an object."""
        kind = self.cfg.categories[index % len(self.cfg.categories)]
        seed = split_seed(index, split, self.cfg.seed)
        step = 360.0 / len(self.rig.azimuths)
        yaw = float(np.random.default_rng(seed).uniform(0, step)) if self.cfg.yaw_jitter else 0.0
        return kind, seed, yaw

    def truth(self, split: str, index: int, reference: int = 0) -> ProceduralObject:
        """The object of an item as it stands in the item's world: its mesh and occupancy."""
        kind, seed, yaw = self.identity(split, index)
        return make_object(kind, seed).turned(yaw - reference * self.rig.step_deg)

    def views_array(self, split: str) -> NDArray[np.uint8]:
        """All pictures of a split, [N, V, H, W, 4] uint8 RGBA, rendered once.

        Azimuth k of the rig sees every object from k steps; nothing is rolled yet.
        """
        return self._pictures(split)[:, : len(self.cameras)]

    def _pictures(self, split: str) -> NDArray[np.uint8]:
        """[N, V + K, H, W, 4] uint8: the rig's views, then the inputs."""
        if split not in self._views:
            self._views[split] = self._load_or_render(split)
            self._input_cameras[split] = self._load_or_draw(split)
        return self._views[split]

    def render(self, split: str, index: int) -> NDArray[np.uint8]:
        """[V + K, H, W, 4] uint8 pictures of one object."""
        kind, seed, yaw = self.identity(split, index)
        thing = make_object(kind, seed).turned(yaw)
        caster = caster_of(thing, self.cfg.look)
        cameras = [self.cameras, *(shot.camera for shot in self._draw(thing))]
        rendered = [
            caster.render(
                c.c2w.numpy(), c.intrinsics.numpy(), c.size, supersample=self.cfg.supersample
            )
            for c in cameras
        ]
        return np.round(np.concatenate([r.rgba for r in rendered]) * 255.0).astype(np.uint8)

    def _draw(self, thing: ProceduralObject) -> list[InputCamera]:
        """The inputs to be taken of an object as it stands in the world."""
        random = np.random.default_rng([zlib.crc32(thing.category.encode()), thing.seed, 3])
        return draw_input_cameras(
            thing.arrays[0],
            self.cfg.inputs,
            len(self.rig.azimuths),
            self.rig.step_deg,
            self.cfg.resolution,
            random,
        )

    def _load_or_draw(self, split: str) -> NDArray[np.float32]:
        """[N, K, 3]: azimuth and elevation in degrees that inputs are said to have, ring place."""
        if not self.cfg.inputs:
            return np.zeros((self.count(split), 0, 3), np.float32)
        path = self.cache_path(split).with_suffix(".inputs.npy")
        if self.cfg.cache_dir is not None and path.exists():
            with reading(path, hint=CACHE_HINT):
                stored: NDArray[np.float32] = read_npy(path)
            return _of_shape(path, stored, (self.count(split), self.cfg.inputs, 3), np.float32)
        rows = np.zeros((self.count(split), self.cfg.inputs, 3), np.float32)
        with StageProgress(f"cameras of {split} inputs", len(rows)) as progress:
            for i in range(len(rows)):
                kind, seed, yaw = self.identity(split, i)
                for k, shot in enumerate(self._draw(make_object(kind, seed).turned(yaw))):
                    _, elevation, _ = shot.said.spherical()
                    rows[i, k] = (shot.at * self.rig.step_deg, float(elevation), shot.at)
                progress(i + 1, len(rows))
        if self.cfg.cache_dir is not None:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.save(file, rows)
        return rows

    def _load_or_render(self, split: str) -> NDArray[np.uint8]:
        count = len(self.cameras) + self.cfg.inputs
        shape = (self.count(split), count, *self.cameras.size, 4)
        path = self.cache_path(split)
        label = f"rendering {split} objects"
        if self.cfg.cache_dir is None:
            views = np.empty(shape, np.uint8)
            with StageProgress(label, len(views)) as progress:
                for index in range(len(views)):
                    views[index] = self.render(split, index)
                    progress(index + 1, len(views))
            return views
        if not path.exists():
            grow_array(path, shape, np.uint8, lambda at, _: self.render(split, at), label=label)
        with reading(path, hint=CACHE_HINT):
            cached: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        return _of_shape(path, cached, shape, np.uint8)

    def cache_path(self, split: str) -> Path:
        """File of a split's pictures, named after everything that decides them."""
        drop = ("cache_dir", "captions", "reference", "references", "input_elevation_deg")
        key: dict[str, Any] = {k: v for k, v in asdict(self.cfg).items() if k not in drop}
        key |= {"split": split, "version": RENDERING_VERSION}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=list).encode()).hexdigest()
        return Path(self.cfg.cache_dir or ".") / f"procedural-{split}-{digest[:16]}.npy"


class ProceduralViews(Dataset[dict[str, Any]]):
    """Items of :class:`ProceduralData`; each world is turned: the condition is at azimuth 0."""

    def __init__(self, data: ProceduralData, split: str) -> None:
        self.data, self.split = data, split
        self.views = data.views_array(split)

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> dict[str, Any]:
        reference = 0
        if self.data.cfg.reference == "random":
            reference = int(torch.randint(len(self.data.rig.azimuths), ()))
        return self.item(index, reference)

    def item(self, index: int, reference: int) -> dict[str, Any]:
        """One training item with the condition seen from azimuth step ``reference``."""
        cfg, cameras = self.data.cfg, self.data.cameras
        levels = self.data.rig.elevations
        views = np.roll(self.views[index], -reference * len(levels), axis=0)
        images = on_white(views)
        first = levels.index(cfg.input_elevation_deg)
        item: dict[str, Any] = {
            "images": images,
            "cond_image": images[first],
            "c2w": cameras.c2w,
            "cond_c2w": cameras.c2w[first],
            "intrinsics": cameras.intrinsics,
        }
        if cfg.captions:
            kind, seed, _ = self.data.identity(self.split, index)
            item["caption"] = make_object(kind, seed).caption
        return item


def _of_shape(path: Path, kept: NDArray[Any], shape: tuple[int, ...], kind: type) -> NDArray[Any]:
    """Return what a file of the cache holds, if that is what was put there."""
    if not isinstance(kept, np.ndarray):  # an .npz under the array's name
        raise DataError(f"{path} holds no array.", hint=CACHE_HINT)
    if kept.shape != shape or kept.dtype != kind:
        raise DataError(
            f"{path} holds {kept.dtype} of shape {kept.shape} instead of {shape}.", hint=CACHE_HINT
        )
    return kept


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
