"""Training batches from rings of views, a function of the step number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from studio.cameras import Cameras
from studio.data.batches import Batch, Parts, StepBatches, to_float
from studio.views import ViewSet

FRAMES = ("condition", "object")
"""Whose front is azimuth 0 of a training item's world: the first reference's or the object's."""


@dataclass(frozen=True)
class Rings:
    """N objects seen by the same ring of V evenly spaced cameras.

    Attributes:
        images: RGBA, straight alpha.
        cameras: the ring; camera 0 stands at azimuth 0, in front of the object.
        latents: posterior means of the pictures on white, if cached.
        references: ring positions that conditions are seen from; any where empty.
        captions: a text for every object, if there are any.
    """

    images: UInt8[np.ndarray, "n v h w 4"]
    cameras: Cameras
    latents: Float[Tensor, "n v c h w"] | None = None
    references: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()

    def seen_from(self, n: int, reference: int | None = None) -> ViewSet:
        """Return the views of an object in the world where a reference view is at azimuth 0.

        Args:
            n: which object.
            reference: ring position of the condition, which becomes view 0; the first allowed one
                where None.
        """
        if reference is None:
            reference = self.references[0] if self.references else 0
        images = np.roll(self.images[n], -reference, axis=0)
        return ViewSet(torch.from_numpy(images).permute(0, 3, 1, 2) / 255.0, self.cameras)

    def pixels(self, objects: np.ndarray, views: np.ndarray) -> Float[Tensor, "b 3 h w"]:
        """Return pictures on white, in [-1, 1]."""
        rgba = torch.from_numpy(self.images[objects, views]).permute(0, 3, 1, 2).float() / 255.0
        alpha = rgba[:, 3:]
        return (rgba[:, :3] * alpha + (1 - alpha)) * 2 - 1


def ring_batch(
    rings: Rings,
    objects: np.ndarray,
    references: np.ndarray,
    targets: np.ndarray,
    *,
    frame: str = "condition",
    posed: bool = False,
) -> Batch:
    """Return the training batch of objects [B].

    Args:
        rings: the objects.
        objects: which object.
        references: [B, R] ring positions of the references; the first one is the condition.
        targets: [B, T] ring offsets of the target views from the condition or, in the object's
            frame, their ring positions.
        frame: "condition" turns the world so that the condition stands at azimuth 0; "object"
            leaves it.
        posed: give all references with their cameras, too.
    """
    (b, t), count = targets.shape, len(rings.cameras)
    origin = references[:, :1] if frame == "condition" else np.zeros((b, 1), int)
    views = (origin + targets) % count
    at = torch.from_numpy((references - origin) % count)  # of the references, in this world
    index = torch.from_numpy(targets % count)
    batch: Batch = {
        "cond_image": rings.pixels(objects, references[:, 0]),
        "c2w": rings.cameras.c2w[index],
        "cond_c2w": rings.cameras.c2w[at[:, 0]],
        "intrinsics": rings.cameras.intrinsics[index],
    }
    if posed:
        flat = rings.pixels(np.repeat(objects, at.shape[1]), references.reshape(-1))
        batch["ref_images"] = flat.unflatten(0, at.shape)
        batch["ref_c2w"] = rings.cameras.c2w[at]
    if rings.captions:
        batch["caption"] = [rings.captions[n] for n in objects]
    if rings.latents is None:
        flat = rings.pixels(np.repeat(objects, t), views.reshape(-1))
        batch["images"] = flat.unflatten(0, (b, t))
        return batch
    which = torch.from_numpy(objects)
    batch["latents"] = rings.latents[which[:, None], torch.from_numpy(views)]
    batch["cond_latents"] = rings.latents[which, torch.from_numpy(references[:, 0])]
    return to_float(batch)


class RingBatches(StepBatches):
    """Endless batches from rings; batch `s` is a function of (seed, s) alone.

    Args:
        rings: the objects.
        batch: objects per part.
        targets: target views per object; all of the ring, in order, where it equals the ring.
        seed: of the draw.
        first_step: called when iteration starts; the step to go on from.
        parts: the parts that are yielded.
        references: posed references per object, all different; 0 gives the condition alone.
        frame: see `ring_batch`.
        copied: [a, b): in these steps the targets are drawn from the references.
    """

    def __init__(
        self,
        rings: Rings,
        batch: int,
        targets: int,
        seed: int,
        first_step: Callable[[], int],
        parts: Parts | None = None,
        *,
        references: int = 0,
        frame: str = "condition",
        copied: Sequence[int] = (0, 0),
    ) -> None:
        super().__init__(batch, seed, first_step, parts)
        self.rings, self.targets = rings, targets
        self.references, self.frame = references, frame
        self.copied = range(*copied)

    def at(self, step: int, part: int = 0) -> Batch:
        """Return a part of the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        n, v = self.rings.images.shape[:2]
        joint = self.batch * self.parts.total
        objects = rng.integers(n, size=joint)
        first = rng.choice(self.rings.references or v, size=joint)
        if self.targets == v:
            targets = np.broadcast_to(np.arange(v), (joint, v)).copy()
        else:
            targets = np.stack([rng.permutation(v)[: self.targets] for _ in range(joint)])
        further = max(self.references - 1, 0)
        offsets = [rng.permutation(v - 1)[:further] + 1 for _ in range(joint)] if further else []
        references = first[:, None]
        if offsets:
            references = np.concatenate([references, (references + np.stack(offsets)) % v], 1)
        if step in self.copied:
            origin = first[:, None] if self.frame == "condition" else 0
            targets = rng.permuted((references - origin) % v, axis=1)[:, : self.targets]
        own = slice(part * self.batch, (part + 1) * self.batch)
        return ring_batch(
            self.rings,
            objects[own],
            references[own],
            targets[own],
            frame=self.frame,
            posed=self.references > 0,
        )
