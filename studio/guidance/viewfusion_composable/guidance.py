"""Composable ViewFusion as a guidance plugin (Spiegl et al., arXiv 2402.02906).

Every input picture is denoised against on its own; a softmax over the pictures says, for every
value of the target, whom to trust. No picture needs a camera: the model knows objects of aligned
classes and is told only the angle of the target.
"""

from __future__ import annotations

import itertools
import logging
import math
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from studio.cameras import Cameras
from studio.guidance.backgrounds import generated_views
from studio.guidance.base import Guidance, Noise, Progress, ViewContract
from studio.guidance.hub import locate
from studio.guidance.json_files import networks_refused
from studio.guidance.noise import randn_like
from studio.guidance.noise_schedules import betas_of
from studio.guidance.precision import sampled, whole
from studio.guidance.viewfusion_composable import checkpoint
from studio.guidance.viewfusion_composable import conditioning as cond
from studio.guidance.viewfusion_composable.composition import Composed, compose, used_views
from studio.guidance.viewfusion_composable.network import ViewUNet
from studio.guidance.viewfusion_composable.noise_levels import NoiseLevels
from studio.guidance.viewfusion_composable.options import (
    RELEASED,
    ViewFusionComposableConfig,
    checked,
)
from studio.guidance.viewfusion_composable.sampling import ComposableSampler
from studio.guidance.viewfusion_composable.trace import DenoisingTrace
from studio.plugins.registry import register
from studio.views import Condition, ViewSet

log = logging.getLogger(__name__)


@register("guidance", "viewfusion-composable")
class ViewFusionComposableGuidance(Guidance):
    """ViewFusion: views from any number of unposed pictures of an object of a known class."""

    Config = ViewFusionComposableConfig
    released_licence = "MIT"

    gammas: Tensor

    def __init__(self, cfg: ViewFusionComposableConfig) -> None:
        super().__init__()
        self.cfg = cfg = checked(checkpoint.with_saved_options(cfg))
        self.levels = NoiseLevels(betas_of(cfg))
        self.levels.times(cfg.steps)  # refuses what cannot be, before weights are read
        self.contract = ViewContract(
            ("image", "images"),
            cond.ring(cfg),
            cfg.resolution,
            needs_elevation=False,
            places_input=cfg.relative,
        )
        for name, table in self.levels.buffers().items():
            self.register_buffer(name, table)
        with networks_refused(cfg.weights):
            self.denoise_fn = ViewUNet(
                in_channel=9 if cfg.relative else 6,
                out_channel=6 if cfg.predict_weights else 3,
                inner_channel=cfg.inner_channel,
                channel_mults=cfg.channel_mults,
                attn_res=cfg.attn_res,
                res_blocks=cfg.res_blocks,
                norm_groups=cfg.norm_groups,
                dropout=cfg.dropout,
                image_size=cfg.resolution,
                patch=cfg.patch,
            )
        self.denoise_fn.gradient_checkpointing = cfg.gradient_checkpointing
        self.trace: DenoisingTrace | None = None
        checkpoint.load_weights(self, self.levels, cfg)

    # ---------------------------------------------------------------- one evaluation

    def predict(
        self,
        views: Float[Tensor, "b n c h w"],
        view_count: Int[Tensor, " b"],
        noisy: Float[Tensor, "b 3 h w"],
        angle: Float[Tensor, " b"],
        level: Float[Tensor, " b"],
        *,
        weighting: bool,
    ) -> Composed:
        """Estimate every target's noise or clean picture; the network runs once per view in use.

        Args:
            views: input pictures in [0, 1], of relative models each behind the first one.
            view_count: how many of each sample's views are used, the first ones; the others may
                hold anything.
            noisy: noisy targets.
            angle: of the targets, radians.
            level: gamma of each target.
            weighting: mix by weights, or take the mean.
        """
        used = used_views(view_count)
        sample = used.nonzero()[:, 0]
        x = torch.cat([views[:, : used.shape[1]][used], noisy[sample]], dim=1)
        out = self.denoise_fn(x, angle[sample], level[sample])
        return compose(whole(out), used, weighting)

    # ---------------------------------------------------------------- training

    def training_loss(
        self,
        batch: dict[str, Any],
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Squared error of the composed estimate for every target of every object.

        Inputs are `ref_images` [B, R, 3, H, W] where the batch has them, else `cond_image`; angles
        are `angle` or `relative_angle` [B, V], else those of the cameras. Draws in this order:
        number of views (of every target), timestep, mixing within a step, noise.
        """
        clean = batch["images"].flatten(0, 1) / 2 + 0.5
        references = batch.get("ref_images")
        if references is None:
            references = batch["cond_image"][:, None]
        targets = batch["images"].shape[1]
        views = self.inputs(references / 2 + 0.5).repeat_interleave(targets, 0)
        angle = self._given_angles(batch).flatten()
        draw_on = clean.device if generator is None else generator.device
        draw: dict[str, Any] = {"generator": generator, "device": draw_on}
        most = min(views.shape[1], self.cfg.max_views)
        view_count = torch.randint(1, most + 1, (len(clean),), **draw).to(clean.device)
        t = torch.randint(1, len(self.levels), (len(clean),), **draw).to(clean.device)
        u = torch.rand(len(clean), **draw).to(clean.device)
        if noise is None:
            noise = randn_like(clean, generator)
        return self.denoising_loss(clean, views, view_count, angle, t, u, noise.view_as(clean))

    def _given_angles(self, batch: dict[str, Any]) -> Float[Tensor, "b v"]:
        """Return the angles that the data name, or those of the cameras."""
        named = batch.get("relative_angle" if self.cfg.relative else "angle")
        if named is not None:
            return named
        return self.target_angles(batch["c2w"][..., :3, 3], batch["cond_c2w"][:, None, :3, 3])

    def denoising_loss(
        self,
        clean: Float[Tensor, "b 3 h w"],
        views: Float[Tensor, "b n c h w"],
        view_count: Int[Tensor, " b"],
        angle: Float[Tensor, " b"],
        t: Int[Tensor, " b"],
        u: Float[Tensor, " b"],
        noise: Float[Tensor, "b 3 h w"],
    ) -> dict[str, Tensor]:
        """Return "loss" and what led to it ("noisy", "level", "prediction").

        Args:
            clean: targets in [0, 1].
            views: as for `predict`.
            view_count: as for `predict`.
            angle: of the targets, radians.
            t: steps of the chain, 1 .. T - 1.
            u: in [0, 1): the level lies between gamma_{t-1} (0) and gamma_t (1).
            noise: unit noise.
        """
        before, at = self.gammas[t - 1], self.gammas[t]
        level = before + u * (at - before)
        share = level[:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        composed = self.predict(
            views, view_count, noisy, angle, level, weighting=self.cfg.weighting_train
        )
        if self.cfg.prediction_type == "epsilon":
            loss = F.mse_loss(composed.estimate, noise)
        else:
            weight = (level / (1 - level)).clamp(1.0, max(self.cfg.min_snr_gamma, 1.0))
            loss = ((composed.estimate - clean).square().mean(dim=(1, 2, 3)) * weight).mean()
        return {"loss": loss, "noisy": noisy, "level": level, "prediction": composed.estimate}

    # ---------------------------------------------------------------- sampling

    @property
    def sampler(self) -> ComposableSampler:
        """What denoises with this network."""
        estimate = partial(self.predict, weighting=self.cfg.weighting_inference)
        return ComposableSampler(estimate, self.cfg.prediction_type, self.cfg.clip_low)

    @sampled
    @torch.no_grad()
    def generate(
        self,
        condition: Condition,
        cameras: Cameras | None = None,
        *,
        generator: torch.Generator | None = None,
        noise: Tensor | Noise | None = None,
        progress: Progress | None = None,
    ) -> ViewSet:
        """Make the views that `cameras` see of one picture or several.

        The pictures' own cameras are not looked at, but for the azimuth of the first one, from
        which relative models count. Of the target cameras only the azimuth matters; elevation,
        distance and lens should be those of the ring. `noise`: "start" [V, 3, h, w].
        """
        side = self.cfg.resolution
        cameras = self.contract.targets(condition, cameras)
        self._check_targets(cameras)
        device = self.gammas.device
        views = self.inputs(cond.condition_views(condition, side)[None].to(device))
        angles = self.target_angles(cameras.centres, cond.first_centre(condition)).to(device)
        draws = Noise.of(noise, generator, in_turn=True)
        start = draws.draw("start", views.new_empty(len(cameras), 3, side, side))
        made = self._denoise_all(views, angles, start, draws.generator("step"), progress)
        return generated_views(made * 2 - 1, cameras, {"guidance": "viewfusion-composable"})

    def _denoise_all(
        self,
        views: Float[Tensor, "1 n c h w"],
        angles: Float[Tensor, " f"],
        start: Float[Tensor, "f 3 h w"],
        generator: torch.Generator | None,
        progress: Progress | None,
    ) -> Float[Tensor, "f 3 h w"]:
        """Sample all targets of one object, `view_batch` at a time or in turn."""
        cfg, plan = self.cfg, self.levels.plan(self.cfg.sampler, self.cfg.steps)
        at_once = 1 if cfg.autoregressive else cfg.view_batch
        total = len(plan) * math.ceil(len(start) / at_once)
        kept = None
        if cfg.capture:
            kept = DenoisingTrace(start, len(plan), cfg.capture, views[0, :, -3:])
        self.trace = kept
        done = itertools.count(1)

        def on_step(remaining: int, y: Tensor, composed: Composed) -> None:
            if kept is not None:
                kept(remaining, y, composed)
            if progress is not None:
                progress(next(done), total)

        sampler = self.sampler
        run = sampler.in_turn if cfg.autoregressive else partial(sampler.in_groups, at_once=at_once)
        return run(views, angles, start, plan, generator=generator, on_step=on_step)

    def _check_targets(self, cameras: Cameras) -> None:
        """Warn about cameras of another elevation: the network is told nothing but their angle."""
        off = (cameras.spherical()[1] - self.cfg.rig_elevation_deg).abs().max().item()
        if off > 5:
            log.warning(
                "cameras lie up to %.0f degrees off elevation %g, from which all views are made",
                off,
                self.cfg.rig_elevation_deg,
            )

    def save_extras(self, folder: Path) -> None:
        """Write frames.png and weights.png of the last `generate` where `capture` kept them."""
        if self.trace is not None:
            self.trace.save(folder)

    # ---------------------------------------------------------------- conditions

    def inputs(self, views: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b n c h w"]:
        """Return pictures in [0, 1] as the network takes them."""
        return cond.with_reference(views) if self.cfg.relative else views

    def target_angles(
        self, centres: Float[Tensor, "*b 3"], reference: Float[Tensor, "*b 3"]
    ) -> Float[Tensor, "*b"]:
        """Return the angles of target cameras: absolute, or counted from the reference's."""
        angles = cond.absolute_angles(centres, self.cfg.clockwise)
        if not self.cfg.relative:
            return angles
        return cond.relative_angles(angles, cond.absolute_angles(reference, self.cfg.clockwise))

    def condition_cameras(self, condition: Condition) -> Cameras | None:
        """Return the camera of the first picture, from which relative models count; else None."""
        if not self.contract.places_input:
            return None
        azimuth = torch.rad2deg(torch.atan2(*cond.first_centre(condition)[0, [1, 0]]))
        pose = float(azimuth), self.cfg.rig_elevation_deg
        return self.contract.rig.input_camera(self.cfg.resolution, *pose)

    # ---------------------------------------------------------------- weights

    @classmethod
    def released(cls, **changes: Any) -> ViewFusionComposableConfig:
        """Return the options of the authors' model, with some changed."""
        return ViewFusionComposableConfig(**{**RELEASED, **changes})

    def save_pretrained(self, folder: Path | str) -> None:
        """Write config.json and the network as safetensors, in the authors' names."""
        checkpoint.save_folder(self.denoise_fn, self.cfg, Path(folder))

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """Read a folder of `save_pretrained` or an authors' checkpoint."""
        return cls(checkpoint.saved_config(locate(source)))

    def load_official(self, source: Path | str) -> None:
        """Fill network and schedule from an authors' checkpoint.

        Raises:
            WeightsError: naming every key that is missing, left over or of another shape, or if the
                checkpoint was trained on another noise schedule.
        """
        path = locate(source, self.cfg.allow_download)
        checkpoint.load_official(self, self.levels, path, self.cfg.allow_pickle)
