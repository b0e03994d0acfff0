"""The whole chain: picture, posed pictures or text become views, the views a textured mesh."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.config import plain
from studio.errors import ConfigError
from studio.files import atomic_write
from studio.guidance.hub import in_cache
from studio.guidance.precision import store_at_precision
from studio.hashing import hash_of, source_hash
from studio.images import save_png
from studio.metrics.consistency import view_consistency
from studio.metrics.likeness import likeness
from studio.progress import StageProgress
from studio.reading import known_json
from studio.registry import build, find, register
from studio.systems.findings import contradicting, known_objects, likeness_line, unlike
from studio.systems.originals import posed_originals, read_cameras, written_cameras
from studio.systems.scene import SceneSystem
from studio.views import Condition, ViewSet

_log = logging.getLogger(__name__)

UNFITTED = (
    "guidance_type",
    "guidance",
    "steps_per_block",
    "exporter_type",
    "exporter",
)
"""Options that a fit to given views does not depend on; a new option counts unless named here."""


@register("system", "image-to-3d")
class ImageTo3D(SceneSystem):
    """Picture(s) or text to a textured mesh: views by a guidance plugin, then a scene model."""

    @dataclass
    class Config(SceneSystem.Config):
        """Options of the chain, beside those of fitting a scene model."""

        guidance_type: str = "epidiff"
        """Name of a guidance plugin."""
        guidance: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        use_originals: bool = True
        """Let the given pictures, where their cameras are known, take part in fit and texture."""

    def __init__(self, cfg: Config, *, run: Any = None) -> None:
        super().__init__(cfg, run=run)
        self._condition: Condition | None = None
        self._targets: Cameras | None = None
        self._guidance: Any = None
        self._views_key = ""

    # --- stage 1 --------------------------------------------------------------------------------

    def check(self, data: Any) -> None:
        """Read the condition and, unless its views are there already, the guidance's weights.

        Raises:
            StudioError: if either cannot be used; nothing has been written by then.
        """
        if not hasattr(data, "condition"):
            raise ConfigError(
                "system_type 'image-to-3d' needs a picture, posed pictures or a text.",
                allowed="data_type: single-image, posed-images or text",
            )
        with StageProgress("reading the input"):
            self._condition, self._targets = data.condition(), data.targets()
        self._views_key = self._hash_views(self._condition, self._targets)
        if not self.run.stage_current("views", self._views_key):
            cfg = self.cfg
            with StageProgress("weights"):
                self._guidance = build(
                    "guidance", cfg.guidance_type, cfg.guidance, key="system.guidance"
                )
            check_inputs(self._condition, self._guidance.contract.inputs, cfg.guidance_type)
            if cfg.guidance.get("allow_download"):  # what was fetched was not there before
                self._views_key = self._hash_views(self._condition, self._targets)

    def prepare(self, data: Any) -> None:
        """Make the views, or take those of an earlier run of the same condition and weights."""
        if self._condition is None:
            self.check(data)
        assert self._condition is not None
        print(f"input: {described(self._condition)}")
        save_condition(self._condition, self.run.save)
        for note in self._condition.meta.get("notes", []):
            shown_at = prepared_at(self._condition, self.run.save)
            _log.warning("%s; the prepared picture: %s", note, shown_at)
        if self._guidance is None:
            print(f"views: already made, {self.run.views}")
        else:
            self._make_views(self._condition)
        views = ViewSet.load(self.run.views)
        originals = posed_originals(self._condition, views) if self.cfg.use_originals else []
        self.set_views(views, originals=originals)

    def _make_views(self, condition: Condition) -> None:
        began = time.monotonic()
        self.run.stage_begins("views")
        store_at_precision(self._guidance)
        guidance = self._guidance.to(self.device).eval()
        with StageProgress("views") as progress:
            views = guidance.generate(
                condition,
                self._targets,
                generator=torch.Generator().manual_seed(self.cfg.seed),
                progress=progress,
            )
        guidance.save_extras(self.run.save)
        meta = {
            **views.meta,
            "condition": condition.meta,
            "seed": self.cfg.seed,
            "weights": guidance.provenance(),
        }
        if (eyes := guidance.condition_cameras(condition)) is not None:
            meta["condition_cameras"] = written_cameras(eyes)
        views = ViewSet(views.images, views.cameras, views.bound, meta, views.names)
        views.save(self.run.views)
        self._guidance = None  # its memory is the reconstruction's now
        self.run.stage_done("views", self._views_key, [self.run.views])
        self.run.write_metrics({"views_seconds": round(time.monotonic() - began, 2)})

    def _hash_views(self, condition: Condition, targets: Cameras | None) -> str:
        """Hash of all that decides the views: condition, cameras, options, weights, seed, code."""
        cfg = self.cfg
        cls = find("guidance", cfg.guidance_type)
        options = [cls.__qualname__, cfg.guidance_type, cfg.guidance, cfg.seed]
        pose = [condition.elevation_deg, condition.azimuth_deg]
        asked: list[Any] = [] if condition.text is None else [condition.text]
        if condition.image is not None:
            asked += [condition.image, pose]
        elif condition.views is not None:
            asked += [condition.views.images, *_numbers(condition.views.cameras)]
        if targets is not None:
            asked += _numbers(targets)
        named = {"guidance_type": cfg.guidance_type, "guidance": cfg.guidance}
        code = source_hash(named, "guidance", "ops", classes=[type(self)])
        return hash_of(*asked, options, weight_paths(cfg.guidance), code)

    # --- stage 2 --------------------------------------------------------------------------------

    def train_key(self) -> str:
        """Hash of what decides the fit: views, code, every option that is not known not to."""
        model: Any = find("model", self.cfg.reconstruction_type)
        unfitted = {*UNFITTED, *model.unfitted}
        options = plain(self.cfg)
        decisive = {name: value for name, value in options.items() if name not in unfitted}
        packages = ("models", "geometry", "renderers", "ops", "systems")
        code = source_hash(decisive, *packages, classes=[type(self)])
        given = [part for view in self.originals for part in (view.images, *_numbers(view.cameras))]
        return hash_of(decisive, self.run.views, code, given)

    def export(self) -> Path:
        """Write mesh, texture and pictures to the run's export folder; return the main file."""
        condition = self._condition
        assert condition is not None and self.views is not None
        self._compare(condition, self.views)
        return self._export(shown(condition))

    def _compare(self, condition: Condition, views: ViewSet) -> None:
        """Measure the views against the condition and against each other."""
        figures: dict[str, Any] = {}
        pictures, cameras = prepared_pictures(condition), views.meta.get("condition_cameras")
        found = None if not cameras else likeness(pictures, read_cameras(cameras), views)
        if found is not None:
            figures["input_likeness"] = asdict(found)
            self.summary.append(likeness_line(found))
            self.warnings += unlike(found, known_objects(weight_paths(self.cfg.guidance)))
        if len(views) > 1:
            agreed = view_consistency(views)
            figures["view_consistency"] = asdict(agreed)
            self.warnings += contradicting(agreed)
        self.run.write_metrics(figures)


def check_inputs(condition: Condition, inputs: tuple[str, ...], guidance: str) -> None:
    """Refuse a condition of a kind that the guidance does not take.

    Raises:
        ConfigError: naming what it takes.
    """
    given = {"image": condition.image, "images": condition.views, "text": condition.text}
    if not any(given[kind] is not None for kind in inputs):
        types = {"image": "single-image", "images": "posed-images", "text": "text"}
        kinds = [kind for kind, value in given.items() if value is not None]
        raise ConfigError(
            f"guidance '{guidance}' cannot start from {' or '.join(kinds)}.",
            allowed="data_type: " + ", ".join(types[kind] for kind in inputs),
        )


def prepared_at(condition: Condition, folder: Path) -> Path:
    """Where `save_condition` puts the pictures that a person may look at."""
    return folder / ("input.png" if condition.image is not None else "references/images")


def save_condition(condition: Condition, folder: Path) -> None:
    """Write what was asked for: input.png, the views `references`, or input.txt."""
    if condition.image is not None:
        save_png(folder / "input.png", condition.image)
    if condition.views is not None:
        condition.views.save(folder / "references")
    if condition.text is not None:
        with atomic_write(folder / "input.txt") as temporary:
            temporary.write_text(condition.text + "\n")


def prepared_pictures(condition: Condition) -> list[Float[Tensor, "4 h w"]]:
    """The pictures of a condition, as guidance was shown them."""
    if condition.views is not None:
        return list(condition.views.images)
    return [] if condition.image is None else [condition.image]


def described(condition: Condition) -> str:
    """What a condition was made of, in a few words: a text, files, a folder."""
    meta = condition.meta
    pictured = meta.get("image") or meta.get("root") or ", ".join(meta.get("images", []))
    words = [repr(meta["text"])] if meta.get("text") else []
    return ", ".join([*words, *([str(pictured)] if pictured else [])]) or "a picture"


def shown(condition: Condition) -> Float[Tensor, "4 h w"] | None:
    """Return the condition as one picture: itself, up to four references in a square, or None."""
    if condition.image is not None or condition.views is None:
        return condition.image
    some = condition.views.images[:4]
    if len(some) == 1:
        return some[0]
    blank = torch.zeros_like(some[:1]).expand(4 - len(some), -1, -1, -1)
    rows = torch.cat([some, blank]).unflatten(0, (2, 2))
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)


def _numbers(cameras: Cameras) -> list[Any]:
    return [cameras.c2w, cameras.intrinsics, list(cameras.size)]


def _named(value: str, folder: Path) -> Path | None:
    """What an option's text names: a path, or a repository in the hub's cache."""
    path = folder / value
    return path if path.exists() else in_cache(value)


def weight_paths(options: Mapping[str, Any], folder: Path = Path()) -> list[Path]:
    """Files and folders that options name, and those that a folder's config.json names in turn.

    Args:
        options: of a guidance plugin, nested ones included.
        folder: what relative paths start from.
    """
    found: list[Path] = []
    for value in options.values():
        if isinstance(value, Mapping):
            found += weight_paths(value, folder)
        elif isinstance(value, str) and value and (path := _named(value, folder)) is not None:
            found.append(path)
            if (path / "config.json").is_file():
                found += weight_paths(known_json(path / "config.json"), path)
    return found
