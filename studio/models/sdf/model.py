"""The SDF model: a geometry (signed distance and colours) seen through a renderer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras, Rays
from studio.geometry.base import Geometry
from studio.mesh import Mesh, MeshOptions
from studio.metrics.exposure import evened, exposure_logs
from studio.models.base import SceneModel
from studio.models.object_hull import ObjectHull
from studio.models.sdf.capacity import chosen, detail_of, say
from studio.models.sdf.fit import FitConfig, Fitter
from studio.models.sdf.fit_state import checked_state, cut_short
from studio.models.sdf.flat_base import lowest_seen
from studio.models.sdf.start_shape import object_in
from studio.models.surface import surface
from studio.ops.visual_hull import Frame, distance_to_cells
from studio.plugins.options import build
from studio.plugins.registry import register
from studio.renderers.base import Renderer, RenderOutput
from studio.views import ViewSet


@register("model", "sdf")
class SDFModel(SceneModel):
    """Signed distance field: geometry × renderer × losses, fitted step by step."""

    @dataclass
    class Config(FitConfig):
        """Options of the SDF model."""

        geometry_type: str = "hash-sdf"
        """Name of a geometry plugin."""
        geometry: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        renderer_type: str = "neus-occupancy"
        """Name of a renderer plugin."""
        renderer: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        flat_base: bool = False
        """End the mesh flat below the lowest surface seen; for views that all look from above."""

    unfitted = ("flat_base",)
    centre: Float[Tensor, 3]
    half_side: Float[Tensor, ""]
    cube: Float[Tensor, ""]

    def __init__(self, cfg: Config | None = None) -> None:
        super().__init__()
        self.cfg = cfg = self.Config() if cfg is None else cfg
        self.geometry: Geometry = build("geometry", cfg.geometry_type, cfg.geometry, key="geometry")
        self.renderer: Renderer = build("renderer", cfg.renderer_type, cfg.renderer, key="renderer")
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("half_side", torch.ones(()))
        self.register_buffer("cube", torch.ones(()))
        self.given, self._chosen = cfg, dict[str, Any]()
        built = {"geometry": self.geometry, "renderer": self.renderer}
        self._parts = {name: (type(x), getattr(x, "cfg", None)) for name, x in built.items()}
        self.views: ViewSet | None = None
        self._begun: tuple[ViewSet, tuple[ViewSet, ...], int, ObjectHull]
        self._fitter: Fitter | None = None
        self._exposure: Tensor | None = None
        self._state: Mapping[str, Any] = {}
        self._hull_distance: Tensor | None = None
        self._base: tuple[int, float] | None = None  # of a step

    # --- the fit --------------------------------------------------------------------------------

    def begin(self, views: ViewSet, *, originals: Sequence[ViewSet] = (), seed: int = 0) -> None:
        """Find the object's cube and hull, collect the rays that can meet it.

        Options of geometry and renderer that are left open follow from what the views show.
        """
        self._exposure = exposure_logs(views) if self.cfg.correct.exposure else None
        even = self._evened(views)
        shape = object_in(even, self.cfg.hull, self.cfg.correct.reach_px(even))
        detail = detail_of(even, shape)
        found = chosen(self._parts, detail)
        self._choose(found, seed)
        say(detail, found)
        self._begun = views, tuple(originals), seed, shape
        self._make_fitter()

    def _make_fitter(self) -> None:
        """Collect what is needed for the steps, of the present geometry and renderer."""
        views, originals, seed, shape = self._begun
        given: dict[str, Any] = {"seed": seed, "originals": originals, "shape": shape}
        even = self._evened(views)
        self._fitter = fitter = Fitter(self.geometry, self.renderer, even, self.cfg, **given)
        self.views, self.left_out, self._state = views, fitter.lost, {}
        self.centre.copy_(fitter.frame.centre)
        self.half_side.fill_(fitter.frame.half)
        self.cube.fill_(views.bound)
        self._hull_distance = self._base = None

    def _choose(self, found: Mapping[str, Any], seed: int) -> None:
        """Take values for the open options; where they are others than before, parts are new."""
        if dict(found) == self._chosen:
            return
        before, self._chosen = self.cfg, dict(found)
        groups: dict[str, Any] = {n: {**getattr(self.given, n)} for n in self._parts}
        for key, value in found.items():
            part, _, option = key.partition(".")
            if option:
                groups[part][option] = value
        self.cfg = replace(self.given, **groups)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # of new weights: the same however often there are some
            for name, options in groups.items():
                if options != getattr(before, name):
                    part = build(name, getattr(self.cfg, f"{name}_type"), options, key=name)
                    setattr(self, name, part.to(self.device))

    def choices(self) -> dict[str, float]:
        """What the open options became, and the steps that suit the views."""
        return dict(self._chosen)

    @property
    def fitter(self) -> Fitter:
        """The loop; there is one after `begin`."""
        if self._fitter is None:
            raise RuntimeError("the model has no views yet: call fit, or begin and start")
        return self._fitter

    def start(self, steps: int = 0, seconds: float = 0.0) -> None:
        """Bring a new field to the hull of the masks, or go on where the loaded state was."""
        if self._state:
            self.fitter.load_state_dict(self._state)
            self._state = {}
        self.fitter.start(steps, seconds)

    def step(self, update: Callable[[], Any] | None = None) -> dict[str, Tensor]:
        """One batch of rays, one step of the optimiser."""
        return self.fitter.step(update)

    @property
    def progress(self) -> float:
        """Share of the steps that is done; of the time where steps are open or far behind."""
        return self.fitter.progress

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the groups of geometry and renderer."""
        return self.fitter.optimizer

    def fit_state(self) -> dict[str, Any]:
        """Steps, seconds and rays a step so far, and what was chosen by what the views show."""
        return dict(self._state) or {**self.fitter.state_dict(), "chosen": self.choices()}

    def load_fit_state(self, state: Mapping[str, Any]) -> None:
        """Keep it for `start`; what was chosen then is kept, too, whatever would be chosen now.

        Corrections of the views hold from now on.
        """
        checked, stored = checked_state(state), dict(state.get("chosen", {}))
        if stored and stored != self._chosen and self._fitter is not None:
            self._choose(stored, checked["seed"])
            self._make_fitter()
        self._state = checked | ({"chosen": stored} if stored else {})
        if self._fitter is not None:
            self._fitter.load_corrections(self._state)

    def corrected(self, views: ViewSet) -> ViewSet:
        """The views with the exposures and poses that were found."""
        corrections = None if self._fitter is None else self._fitter.corrections
        even = self._evened(views)
        return even if corrections is None else corrections.corrected(even)

    def _evened(self, views: ViewSet) -> ViewSet:
        return views if self._exposure is None else evened(views, self._exposure)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._hull_distance = self._base = None

    def figures(self) -> dict[str, float]:
        """Rays a second."""
        return self.fitter.figures()

    def findings(self) -> list[str]:
        """Whether the fit ended before its steps were made."""
        return [] if self._fitter is None else cut_short(self.fit_state())

    # --- pictures -------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        """The cube the geometry works in."""
        return Frame(self.centre, float(self.half_side))

    @property
    def bound(self) -> float:
        """Half the side of the cube around the origin that holds the object."""
        return float(self.cube)

    def see(self, camera: Cameras, background: float = 1.0) -> RenderOutput:
        """Render what one camera sees; lengths in units of half the cube."""
        self.renderer.eval()
        rays = camera.to(self.device).rays()
        local = Rays(self.frame.to_local(rays.origins), rays.directions)
        return self.renderer.render_in_chunks(local, self.geometry, background)

    def render(self, cameras: Cameras, background: float | None = None) -> ViewSet:
        """Render colours, opacity and normals."""
        h, w = cameras.size
        images, normals = [], []
        for i in range(len(cameras)):
            if background is None:
                with self.renderer.object_alone():
                    output = self.see(cameras[[i]], 0.0)
                alpha = output.mask.clamp(0, 1)
                rgb = output.rgb / alpha.clamp(min=1e-4)[:, None]
            else:
                output = self.see(cameras[[i]], background)
                rgb, alpha = output.rgb, torch.ones_like(output.mask)
            solid = (output.mask > 0.5)[:, None]
            image = torch.cat([rgb.T, alpha[None]])
            images.append(image.reshape(4, h, w).clamp(0, 1).cpu())
            normal = F.normalize(output.normal, dim=-1) * solid
            normals.append(normal.T.reshape(3, h, w).cpu())
        return ViewSet(
            torch.stack(images), cameras.to("cpu"), self.bound, normals=torch.stack(normals)
        )

    # --- the surface ----------------------------------------------------------------------------

    def mesh(
        self,
        resolution: int = 192,
        options: MeshOptions = MeshOptions(),  # noqa: B008 - frozen
        *,
        report: Callable[[str], None] | None = None,
    ) -> Mesh:
        """Extract the zero level set, without colours."""
        views = None if self.views is None else self.corrected(self.views)
        how: dict[str, Any] = {"views": views, "device": self.device, "report": report}
        return surface(self.sdf, self.bound, resolution, options, **how)

    @torch.no_grad()
    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Signed distance at world points, in world units, negative inside.

        Where no ray was ever sampled (outside the visual hull), the field means nothing; the
        distance to the hull stands in.
        """
        local = self.frame.to_local(points.to(self.device))
        hull = self._distance_to_hull(local)
        value = hull + 0.25 * self._cell
        inside = hull <= 0
        value[inside] = self.geometry.sdf_in_chunks(local[inside])
        value *= float(self.half_side)
        return torch.maximum(value, self.base - points[:, 2].to(value))

    @property
    def base(self) -> float:
        """Height at which the mesh ends flat, in world units; -inf where it does not."""
        step = self._fitter.step_count if self._fitter is not None else 0
        if self._base is None or self._base[0] != step:
            lowest = None
            if self.cfg.flat_base and self.views is not None:
                lowest = lowest_seen(
                    self.see, self.corrected(self.views).cameras, scale=float(self.half_side)
                )
            self._base = step, -math.inf if lowest is None else lowest
        return self._base[1]

    @property
    def _cell(self) -> float:
        hull = self.renderer.hull
        return 0.0 if hull is None else 2.0 / hull.shape[0]

    def _distance_to_hull(self, local: Tensor) -> Tensor:
        """A lower bound of the distance to the sampled cells and the cube, 0 inside."""
        outside_cube = (local.abs() - 1).clamp(min=0).norm(dim=-1)
        if self.renderer.hull is None:
            return outside_cube
        if self._hull_distance is None:
            self._hull_distance = distance_to_cells(self.renderer.hull).to(local)
        grid = self._hull_distance
        index = ((local + 1) * (0.5 * len(grid))).long().clamp(0, len(grid) - 1)
        return torch.maximum(outside_cube, grid[index.unbind(-1)])

    @torch.no_grad()
    def colour(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        """Colour of surface points, seen frontally and without gloss."""
        local, normals = self.frame.to_local(points.to(self.device)), normals.to(self.device)
        colours = []
        for x, n in zip(local.split(65536), normals.split(65536), strict=True):
            feature = self.geometry(x).feature
            gloss = self.geometry.gloss(x, n, -n, feature)
            seen = self.geometry.colour(x, n, -n, feature)
            colours.append(seen if gloss is None else seen - gloss)
        return torch.cat(colours) if colours else torch.zeros_like(local)

    @torch.no_grad()
    def gloss(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
    ) -> Float[Tensor, "n 3"] | None:
        """What mirrored light adds, if the geometry tells it apart."""
        if type(self.geometry).gloss is Geometry.gloss or len(points) == 0:
            return None
        parts = []
        given = (self.frame.to_local(points.to(self.device)), normals, directions)
        for x, n, d in zip(*(of.to(self.device).split(65536) for of in given), strict=True):
            part = self.geometry.gloss(x, n, d, self.geometry(x).feature)
            if part is None:
                return None
            parts.append(part)
        return torch.cat(parts)

    # --- files ----------------------------------------------------------------------------------

    def extras(self) -> dict[str, Any]:
        """The height of the flat base, which only the views tell."""
        return {"base": self.base if math.isfinite(self.base) else None}

    def load_extras(self, state: Mapping[str, Any]) -> None:
        """Put the base back."""
        base = state.get("base")
        self._base = 0, -math.inf if base is None else float(base)
