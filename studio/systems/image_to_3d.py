"""The whole chain: picture, posed pictures or text become views, the views a textured mesh."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.config import plain
from studio.data.base import ConditionData
from studio.guidance.base import Guidance
from studio.io.files import atomic_write
from studio.io.images import save_png
from studio.plugins.discovery import find
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.runs.hashing import hash_of, source_hash
from studio.systems.findings import Findings
from studio.systems.generated import (
    compare,
    loaded_guidance,
    make_views,
    shown,
    weight_paths,
    wrong_references,
)
from studio.systems.originals import posed_originals
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

    reads = ConditionData

    def __init__(self, cfg: Config, *, run: Any = None) -> None:
        super().__init__(cfg, run=run)
        self.guidance: Guidance | None = None  # until the views are made
        self.condition: Condition | None = None
        self.targets: Cameras | None = None
        self._wrong: list[str] = []  # what is said of the references' cameras
        self._views_key = ""

    # --- stage 1 --------------------------------------------------------------------------------

    def check(self, data: Any) -> None:
        """Read the condition and, unless its views are there already, the guidance's weights.

        Raises:
            StudioError: if either cannot be used; nothing has been written by then.
        """
        cfg = self.cfg
        with StageProgress("reading the input"):
            self.condition, self.targets = data.condition(), data.targets()
        self._views_key = self._hash_views()
        if not self._made:
            if self.guidance is None:
                self.guidance = loaded_guidance(cfg)
            self.guidance.contract.check(self.condition, self.targets, cfg.guidance_type)
            if cfg.guidance.get("allow_download"):  # what was fetched was not there before
                self._views_key = self._hash_views()
        self._wrong = wrong_references(self.condition)
        self.ready("condition", self.condition)

    @property
    def _made(self) -> bool:
        """Whether the views are in the run folder already."""
        return self.run is not None and self.run.stage_current("views", self._views_key)

    def prepare(self, data: Any) -> None:
        """Make the views, or take those of an earlier run of the same condition and weights."""
        if self.condition is None:
            self.check(data)
        assert self.condition is not None
        views = self.views_to_fit()
        self.ready("views", views)
        originals = posed_originals(self.condition, views) if self.cfg.use_originals else []
        self.set_views(views, originals=originals)

    def views_to_fit(self) -> ViewSet:
        """Make the views; with a run folder they are kept there, and taken from it."""
        condition = self.condition
        assert condition is not None
        if self.run is None:
            return self._new_views(condition)
        print(f"input: {described(condition)}")
        save_condition(condition, self.run.save)
        for note in condition.meta.get("notes", []):
            shown_at = prepared_at(condition, self.run.save)
            _log.warning("%s; the prepared picture: %s", note, shown_at)
        for note in self._wrong:  # an alarm at the end; now, work may be saved
            _log.warning("%s", note)
        if self.guidance is None:
            print(f"views: already made, {self.run.views}")
            return ViewSet.load(self.run.views)
        began = time.monotonic()
        self.run.stage_begins("views")
        self._new_views(condition).save(self.run.views)
        self.run.stage_done("views", self._views_key, [self.run.views])
        self.run.write_metrics({"views_seconds": round(time.monotonic() - began, 2)})
        return ViewSet.load(self.run.views)

    def _new_views(self, condition: Condition) -> ViewSet:
        assert self.guidance is not None
        guidance = self.guidance.to(self.device).eval()
        self.guidance = None  # its memory is the reconstruction's now
        views = make_views(guidance, condition, self.targets, seed=self.seed)
        if self.run is not None:
            guidance.save_extras(self.run.save)
        return views

    def _hash_views(self) -> str:
        """Hash of all that decides the views: condition, cameras, options, weights, seed, code.

        Empty where there is no run folder to look for them in.
        """
        cfg, condition, targets = self.cfg, self.condition, self.targets
        if self.run is None or condition is None:
            return ""
        cls = find("guidance", cfg.guidance_type)
        options = [cls.__qualname__, cfg.guidance_type, cfg.guidance, self.seed]
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
        decisive["seed"] = self.seed
        packages = ("models", "geometry", "renderers", "ops", "systems")
        code = source_hash(decisive, *packages, classes=[type(self)])
        given = [part for view in self.originals for part in (view.images, *_numbers(view.cameras))]
        return hash_of(decisive, self.run.views, code, given)

    # --- the result -----------------------------------------------------------------------------

    def compared(self) -> Findings:
        """Compare the views with what they were made of, and with each other."""
        assert self.condition is not None and self.views is not None
        return compare(self.condition, self.views, self.cfg.guidance, self._wrong)

    def picture(self) -> Float[Tensor, "4 h w"] | None:
        """What guidance was shown, as one picture."""
        return None if self.condition is None else shown(self.condition)


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


def described(condition: Condition) -> str:
    """What a condition was made of, in a few words: a text, files, a folder."""
    meta = condition.meta
    pictured = meta.get("image") or meta.get("root") or ", ".join(meta.get("images", []))
    words = [repr(meta["text"])] if meta.get("text") else []
    return ", ".join([*words, *([str(pictured)] if pictured else [])]) or "a picture"


def _numbers(cameras: Cameras) -> list[Any]:
    return [cameras.c2w, cameras.intrinsics, list(cameras.size), cameras.ortho_scale]
