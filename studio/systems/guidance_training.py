"""Training of any guidance plugin."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.data.training.ring_views import RingViews
from studio.errors import ConfigError
from studio.guidance.autoencoder import encode_batch
from studio.guidance.cards import REPOSITORY, check_push, push, write_card
from studio.guidance.precision import short_attention
from studio.io.files import write_json
from studio.io.growing_arrays import grow_array
from studio.io.reading import reading
from studio.plugins.options import build
from studio.plugins.ranges import Pattern
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.runs.hashing import hash_of
from studio.systems.findings import KNOWS
from studio.systems.training import TrainingConfig, TrainingSystem
from studio.views import Condition, ViewSet


@register("system", "guidance-training")
class GuidanceTraining(TrainingSystem):
    """Trains a guidance plugin on views of many objects."""

    @dataclass
    class Config(TrainingConfig):
        """Options beside those of every training."""

        guidance_type: str = "zero123"
        """The guidance plugin."""
        guidance: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        cache_latents: bool = False
        """Encode the training pictures once; possible while the VAE is frozen."""
        push_to_hub: Annotated[str, Pattern(REPOSITORY, "owner/name, or nothing")] = ""
        """Repository of the hub, owner/name, that exported weights are sent to; a new one is private."""  # noqa: E501

    def __init__(self, cfg: Config, *, run: Any = None) -> None:
        super().__init__(cfg, run=run)
        self.kinds: list[str] = []
        self.measured: dict[str, float] = {}
        with StageProgress("weights"):
            self.guidance = build(
                "guidance", cfg.guidance_type, cfg.guidance, key="system.guidance"
            )
        self.guidance.refuse_training()

    def prepare(self, data: Any) -> None:
        """Read the objects and, where asked for, encode their pictures once."""
        super().prepare(data)
        self.kinds = data.kinds()
        if not self.cfg.cache_latents:
            return
        if not isinstance(self.train_data, RingViews):
            raise ConfigError(
                f"system.cache_latents is true with {type(data).__name__}.",
                allowed="false, or data_type: procedural",
            )
        folder = self.run.root.parents[1] / "cache"
        self.train_data = encode_ring_views(self.guidance.vae, self.train_data, folder)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups the method trains."""
        return self.guidance.trainable_parameters()

    def losses(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the method's own loss."""
        side = self.guidance.contract.resolution // 8
        short = self.device.type == "cpu" and self.trainer.precision == "bf16-mixed"
        with short_attention(side**2) if short else contextlib.nullcontext():
            return self.guidance.training_loss(batch, generator=generator)

    @torch.no_grad()
    def validation_pictures(self) -> dict[str, Any]:
        """Return made views of unseen objects above the true ones, [0, 1], and their PSNR in dB."""
        rows, errors, columns = [], [], 1
        count = len(self.val_data.images if isinstance(self.val_data, RingViews) else self.val_data)
        for i in range(min(self.cfg.validation_objects, count)):
            condition, views = self.unseen(i)
            truth, columns = views.rgb_on(1.0), len(views.cameras)
            made = self.guidance.generate(
                condition, views.cameras, generator=torch.Generator().manual_seed(i)
            ).rgb_on(1.0)
            rows += [made, truth]
            errors.append((made - truth).square().mean())
        psnr = -10 * torch.log10(torch.stack(errors)).mean()
        self.measured = {"psnr of unseen views, dB": float(psnr)}
        return {"pictures": torch.cat(rows), "columns": columns, "psnr": psnr}

    def unseen(self, i: int) -> tuple[Condition, ViewSet]:
        """Return what the method is asked with for a validation object, and its true views."""
        cfg, contract = self.cfg, self.guidance.contract
        if isinstance(self.val_data, RingViews):
            found = ring_object(self.val_data, i, cfg.frame, cfg.references, contract.views)
        else:
            found = item_object(self.val_data[i])
        if cfg.references and "images" in contract.inputs:
            return Condition(views=found.references), found.views
        if "image" in contract.inputs:
            x, y, z = found.references.cameras.centres[0].tolist()
            return Condition(
                image=found.references.images[0],
                elevation_deg=math.degrees(math.atan2(z, math.hypot(x, y))),
                azimuth_deg=math.degrees(math.atan2(y, x)),
            ), found.views
        if found.caption is None:
            raise ConfigError(
                f"guidance '{cfg.guidance_type}' takes texts and the data have no captions.",
                hint="Add data.captions: true, or a CSV file where data_type reads files.",
            )
        return Condition(text=found.caption), found.views

    def check_export(self) -> None:
        """Make sure that the hub would take the weights.

        Raises:
            WeightsError: if it would not.
        """
        if self.cfg.push_to_hub:
            check_push(self.cfg.push_to_hub)

    def save(self, folder: Path) -> None:
        """Write the guidance as a folder of safetensors, configs and a model card."""
        self.guidance.save_pretrained(folder)
        if self.kinds:
            write_json(folder / KNOWS, {"objects": self.kinds})
        write_card(
            folder,
            self.cfg.guidance_type,
            data=f"{len(self.kinds)} kinds of procedural objects" if self.kinds else "views",
            started_from=self.guidance.provenance(),
            figures=self.measured,
            title=self.output.name,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: keep what was measured, for the card of a run that goes on."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["measured"] = self.measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: take up what was measured."""
        super().on_load_checkpoint(checkpoint)
        self.measured = dict(checkpoint.get("measured", {}))

    def export(self) -> Path:
        """Write the trained weights and, where asked for, send them to the hub."""
        folder = super().export()
        if self.cfg.push_to_hub:
            print(f"sent to {push(folder, self.cfg.push_to_hub)}")
        return folder


@dataclass(frozen=True)
class ValidationObject:
    """An object that no training step saw.

    Attributes:
        references: posed pictures of it, the first of which is the condition.
        views: true views, those that are asked for.
        caption: a text, where the data have them.
    """

    references: ViewSet
    views: ViewSet
    caption: str | None = None


def ring_object(
    ring_views: RingViews, i: int, frame: str, references: int, views: int
) -> ValidationObject:
    """Return an object of a ring, with evenly spaced references and views.

    Args:
        ring_views: the objects.
        i: which object.
        frame: azimuth 0 is the condition's ("condition") or the object's front ("object").
        references: how many, the first where conditions are seen from; 0 counts as one.
        views: how many the method makes at once; all of the ring where they do not divide it.
    """
    seen_at = (ring_views.references or (0,))[0]
    zero = 0 if frame == "object" else seen_at
    ring = ring_views.seen_from(i, zero)
    v, count = len(ring), max(references, 1)
    at = [(seen_at - zero + k * v // count) % v for k in range(count)]
    wanted = ring.select(list(range(0, v, v // views))) if v % views == 0 else ring
    caption = ring_views.captions[i] if ring_views.captions else None
    return ValidationObject(ring.select(at), wanted, caption)


def item_object(item: dict[str, Any]) -> ValidationObject:
    """Return the object of a training item (`Guidance.training_loss` without the batch)."""
    pictures = item.get("ref_images", item["cond_image"][None])
    c2w = item.get("ref_c2w", item["cond_c2w"][None])
    intrinsics = item["intrinsics"][:1].expand(len(pictures), -1, -1)
    return ValidationObject(
        posed(pictures, c2w, intrinsics),
        posed(item["images"], item["c2w"], item["intrinsics"]),
        item.get("caption"),
    )


def posed(
    images: Float[Tensor, "v 3 h w"], c2w: Float[Tensor, "v 4 4"], k: Float[Tensor, "v 3 3"]
) -> ViewSet:
    """Return pictures in [-1, 1] and their cameras, as a training item has them, as views."""
    opaque = torch.ones_like(images[:, :1])
    height, width = images.shape[-2:]
    return ViewSet(torch.cat([images / 2 + 0.5, opaque], 1), Cameras(c2w, k, (height, width)))


@torch.no_grad()
def encode_ring_views(vae: Any, ring_views: RingViews, cache: Path, batch: int = 256) -> RingViews:
    """Return the rings with posterior means of all pictures on white, in half precision.

    Args:
        vae: the frozen auto-encoder.
        ring_views: the objects.
        cache: folder that keeps the latents for the next run of the same pictures and encoder.
        batch: pictures encoded at once.
    """
    images = ring_views.images
    n, v = images.shape[:2]
    encoder = {k: t for k, t in vae.state_dict().items() if k.startswith(("encoder", "quant"))}
    path = cache / f"{hash_of(encoder, list(images.shape), images[:: n // 8 + 1])}.npy"

    def latents_of(which: np.ndarray) -> np.ndarray:
        return encode_batch(vae, ring_views.pixels(which // v, which % v)).half().numpy()

    def rows(first: int, end: int) -> np.ndarray:
        latents = latents_of(np.arange(first * v, end * v))
        return latents.reshape(-1, v, *latents.shape[1:])

    if not path.is_file():
        shape = (n, v, *latents_of(np.zeros(1, int)).shape[1:])
        at_once = max(1, batch // v)
        grow_array(path, shape, np.float16, rows, label="latents of objects", at_once=at_once)
    with reading(path, hint="Remove it: it is made again."):
        latents = torch.from_numpy(np.load(path, mmap_mode="c"))
        if latents.ndim != 5 or latents.shape[:2] != (n, v) or latents.dtype != torch.float16:
            raise ValueError(f"it holds {latents.dtype} of shape {list(latents.shape)}")
    return replace(ring_views, latents=latents)
