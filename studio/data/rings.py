"""Training batches from rings of views, a function of the step number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import IterableDataset

from studio.cameras import Cameras
from studio.views import ViewSet


@dataclass(frozen=True)
class Rings:
    """N objects seen by the same ring of V evenly spaced cameras.

    Attributes:
        images: RGBA, straight alpha.
        cameras: the ring; camera k stands at azimuth k * 360 / V.
        latents: posterior means of the pictures on white, if cached.
        references: ring positions that conditions are seen from; any where empty.
    """

    images: UInt8[np.ndarray, "n v h w 4"]
    cameras: Cameras
    latents: Float[Tensor, "n v c h w"] | None = None
    references: tuple[int, ...] = ()

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
    rings: Rings, objects: np.ndarray, references: np.ndarray, targets: np.ndarray
) -> dict[str, Tensor]:
    """Return the training batch of objects [B] seen from reference views [B].

    The world is turned so that the reference stands at azimuth 0: target k is the view k places
    further along the ring, and the cameras are the ring's own.

    Args:
        rings: the objects.
        objects: which object.
        references: ring index of the condition view.
        targets: [B, T] ring offsets of the target views from the reference.
    """
    b, t = targets.shape
    count = len(rings.cameras)
    views = (references[:, None] + targets) % count
    index = torch.from_numpy(targets)
    batch = {
        "cond_image": rings.pixels(objects, references),
        "c2w": rings.cameras.c2w[index],
        "cond_c2w": rings.cameras.c2w[:1].expand(b, -1, -1),
        "intrinsics": rings.cameras.intrinsics[index],
    }
    if rings.latents is None:
        flat = rings.pixels(np.repeat(objects, t), views.reshape(-1))
        batch["images"] = flat.reshape(b, t, *flat.shape[1:])
        return batch
    batch["latents"] = rings.latents[torch.from_numpy(objects)[:, None], torch.from_numpy(views)]
    batch["cond_latents"] = rings.latents[torch.from_numpy(objects), torch.from_numpy(references)]
    return {k: v.float() for k, v in batch.items()}


class RingBatches(IterableDataset):
    """Endless batches; batch `s` is a function of (seed, s) alone.

    Args:
        rings: the objects.
        batch: objects per batch.
        targets: target views per object; all of the ring, in order, where it equals the ring.
        seed: of the draw.
        first_step: called when iteration starts; the step to go on from.
    """

    def __init__(
        self, rings: Rings, batch: int, targets: int, seed: int, first_step: Callable[[], int]
    ) -> None:
        self.rings, self.batch, self.targets = rings, batch, targets
        self.seed, self.first_step = seed, first_step

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        step = self.first_step()
        while True:
            yield self.at(step)
            step += 1

    def at(self, step: int) -> dict[str, Tensor]:
        """Return the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        n, v = self.rings.images.shape[:2]
        objects = rng.integers(n, size=self.batch)
        references = rng.choice(self.rings.references or v, size=self.batch)
        if self.targets == v:
            targets = np.broadcast_to(np.arange(v), (self.batch, v)).copy()
        else:
            targets = np.stack([rng.permutation(v)[: self.targets] for _ in range(self.batch)])
        return ring_batch(self.rings, objects, references, targets)
