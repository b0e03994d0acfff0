"""A step of a fit as native passes, without autograd, where all of it is of the common kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from studio.geometry.hash_sdf import HashSDF
from studio.models.sdf import loss_terms as terms
from studio.models.sdf.objective import Objective
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.random import step_generator
from studio.renderers.neus_occupancy import NeuSOccupancyRenderer

if TYPE_CHECKING:
    from studio.ops.fit_pass import FitPass, RayLosses


def runs_natively(objective: Objective) -> bool:
    """Whether the steps of a fit are of the common kind; all others are tensor operations.

    That is: hash-sdf seen through neus-occupancy on the CPU, with a scheduled sharpness and no
    learned background, and colour, mask, eikonal and smooth as losses, without rankings.
    """
    geometry, renderer = objective.geometry, objective.renderer
    if type(geometry) is not HashSDF or type(renderer) is not NeuSOccupancyRenderer:
        return False
    parameters = list(geometry.parameters())
    plain = all(p.dtype == torch.float32 and p.requires_grad for p in parameters)
    plain &= not geometry.cfg.gloss
    if not plain or geometry.backend(parameters[0].device) != "cpu":
        return False
    how = renderer.cfg
    plain = renderer.sharpness is None and renderer.background is None
    if not plain or how.visible_threshold > 0 or how.backend not in ("auto", "cpu"):
        return False
    known = (terms.colour, terms.mask, terms.eikonal, terms.smooth)
    if any(function not in known for function, _, _ in objective.losses.values()):
        return False
    cfg: dict[str, Any] = {name: options for name, (_, options, _) in objective.losses.items()}
    return (
        objective.view_weights is None
        and ("colour" not in cfg or (cfg["colour"].keep >= 1 and cfg["colour"].rays != "hit"))
        and ("mask" not in cfg or cfg["mask"].keep >= 1)
        and ("smooth" not in cfg or cfg["smooth"].at == "surface")
    )


def fit_pass(geometry: HashSDF) -> FitPass:
    """The native passes over a geometry's parameters."""
    from studio.ops.fit_pass import FitPass

    first, last = geometry.colour_net
    colours = [layer.get_parameter(n) for layer in (first, last) for n in ("weight", "bias")]
    return FitPass(
        geometry.table,
        geometry.weights,
        colours,
        geometry.layout,
        geometry.cfg.radius,
        view_dependent=geometry.cfg.view_dependent,
    )


class NativeStep:
    """Losses and gradients of a step: what `Objective` and autograd find, to rounding.

    Args:
        objective: for which `runs_natively`.
    """

    def __init__(self, objective: Objective) -> None:
        geometry, renderer = objective.geometry, objective.renderer
        assert isinstance(geometry, HashSDF) and isinstance(renderer, NeuSOccupancyRenderer)
        self.objective, self.renderer, self.native = objective, renderer, fit_pass(geometry)

    def __call__(
        self, batch: RayBatch, *, seed: int, step: int, progress: float
    ) -> tuple[dict[str, Tensor], int]:
        """Set the gradients of all parameters; return the losses and the number of samples.

        Without samples there are neither losses nor gradients.
        """
        from studio.ops.fit_pass import Sections

        renderer, native, random = self.renderer, self.native, self.objective.cfg
        samples = renderer.sample(batch.rays, step)
        if len(samples) == 0:
            return {}, 0
        weights = {n: w for n, (_, _, at) in self.objective.losses.items() if (w := at(step)) != 0}
        options: dict[str, Any] = {name: self.objective.losses[name][1] for name in weights}
        due = "smooth" in weights and progress >= options["smooth"].from_
        due &= step % random.random_every == 0
        sections = Sections(renderer.inv_s, renderer.exactness, renderer.cfg.slope == "unit")
        count = random.random_points if due else 0
        losses = _ray_losses(weights, options)
        seen = native.render(samples, batch.target, batch.background, sections, losses, pairs=count)
        near = far = None
        if due:
            generator = step_generator(seed, step, stream=3)
            visible = torch.from_numpy((seen.numpy() > terms.SEEN).nonzero()[0])
            chosen = terms.some_of(visible, count, generator)
            if chosen is not None:
                near = samples.points.index_select(1, chosen)
                cfg = options["smooth"]
                distance = cfg.distance or cfg.pixels * self.objective.pixel
                far = terms.a_step_away(near.T, distance, generator).T
        found = native.finish(near, far, weights.get("smooth", 0.0))
        for parameter, grad in zip(native.parameters, native.grads, strict=True):
            parameter.grad = grad
        values = dict(zip(("colour", "mask", "eikonal", "smooth"), found, strict=True))
        named = {name: values[name] for name in weights if name != "smooth" or due}
        total = sum(weights[name] * value for name, value in named.items())
        return {n: torch.tensor(v) for n, v in {**named, "loss": total}.items()}, len(samples)


def _ray_losses(weights: Mapping[str, float], options: Mapping[str, Any]) -> RayLosses:
    from studio.ops.fit_pass import RayLosses

    colour, mask = options.get("colour"), options.get("mask")
    return RayLosses(
        colour=weights.get("colour", 0.0),
        colour_norm=colour.norm if colour is not None else "l1",
        on_mask=colour is not None and colour.rays == "mask",
        mask=weights.get("mask", 0.0),
        mask_norm=mask.norm if mask is not None else "bce",
        eikonal=weights.get("eikonal", 0.0),
    )
