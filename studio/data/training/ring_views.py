"""Training batches from rings of views, a function of the step number."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from studio.cameras import Cameras
from studio.data.base import ViewPairData
from studio.data.procedural.photo_faults import with_faults
from studio.data.training.batches import Batch, Parts, StepBatches, to_float
from studio.views import ViewSet

OWN_SHARE = 0.2
"""Share of the conditions that are views of the ring itself, where there are further inputs."""

FRAMES = ("condition", "object")
"""Whose front is azimuth 0 of a training item's world: the first reference's or the object's."""


@dataclass(frozen=True)
class Inputs:
    """K pictures of each of N objects as people take them, at azimuths of a ring.

    Attributes:
        images: RGBA, straight alpha.
        c2w: cameras that they are said to be taken with, in the ring's world.
        at: ring positions [n, k] of their azimuths.
    """

    images: UInt8[np.ndarray, "n k h w 4"]
    c2w: Float[Tensor, "n k 4 4"]
    at: np.ndarray


@dataclass(frozen=True)
class RingViews:
    """N objects seen by the same ring of V evenly spaced cameras.

    Attributes:
        images: RGBA, straight alpha.
        cameras: the ring; camera 0 stands at azimuth 0, in front of the object.
        latents: posterior means of the pictures on white, if cached.
        references: ring positions that conditions are seen from; any where empty.
        captions: a text for every object, if there are any.
        inputs: pictures that conditions are taken from, instead of the ring's own.
    """

    images: UInt8[np.ndarray, "n v h w 4"]
    cameras: Cameras
    latents: Float[Tensor, "n v c h w"] | None = None
    references: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    inputs: Inputs | None = None

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
        return on_white(self.images[objects, views])

    @property
    def turn(self) -> float:
        """Signed azimuth from one camera of the ring to the next, in turns."""
        azimuth, _, _ = self.cameras[:2].spherical()
        step = float(azimuth[1] - azimuth[0]) / 360.0
        return (step + 0.5) % 1.0 - 0.5


class RingData(ViewPairData):
    """Posed views of many objects, all seen by one ring of cameras: read by step number, too."""

    @abstractmethod
    def ring_views(self, split: Literal["train", "val"]) -> RingViews:
        """Return all objects of a split."""


def ring_batch(
    ring_views: RingViews,
    objects: np.ndarray,
    references: np.ndarray,
    targets: np.ndarray,
    *,
    frame: str = "condition",
    posed: bool = False,
    inputs: np.ndarray | None = None,
    faults: np.random.Generator | None = None,
) -> Batch:
    """Return the training batch of objects [B].

    Args:
        ring_views: the objects.
        objects: which object.
        references: [B, R] ring positions of the references; the first one is the condition.
        targets: [B, T] ring offsets of the target views from the condition or, in the object's
            frame, their ring positions.
        frame: "condition" turns the world so that the condition stands at azimuth 0; "object"
            leaves it.
        posed: give all references with their cameras, too.
        inputs: [B] which of `RingViews.inputs` is the condition, at the first reference's azimuth;
            the reference itself where negative.
        faults: source of what is wrong with inputs (`with_faults`); None leaves them clean.
    """
    (b, t), count = targets.shape, len(ring_views.cameras)
    origin = references[:, :1] if frame == "condition" else np.zeros((b, 1), int)
    views = (origin + targets) % count
    at = torch.from_numpy((references - origin) % count)  # of the references, in this world
    index = torch.from_numpy(targets % count)
    batch: Batch = {
        "cond_image": ring_views.pixels(objects, references[:, 0]),
        "c2w": ring_views.cameras.c2w[index],
        "cond_c2w": ring_views.cameras.c2w[at[:, 0]],
        "intrinsics": ring_views.cameras.intrinsics[index],
    }
    if posed:
        flat = ring_views.pixels(np.repeat(objects, at.shape[1]), references.reshape(-1))
        batch["ref_images"] = flat.unflatten(0, at.shape)
        batch["ref_c2w"] = ring_views.cameras.c2w[at]
    if ring_views.captions:
        batch["caption"] = [ring_views.captions[n] for n in objects]
    if inputs is not None:
        _take_inputs(ring_views, batch, objects, inputs, origin[:, 0], faults)
    if ring_views.latents is None:
        flat = ring_views.pixels(np.repeat(objects, t), views.reshape(-1))
        batch["images"] = flat.unflatten(0, (b, t))
        return batch
    which = torch.from_numpy(objects)
    batch["latents"] = ring_views.latents[which[:, None], torch.from_numpy(views)]
    if inputs is None:
        batch["cond_latents"] = ring_views.latents[which, torch.from_numpy(references[:, 0])]
    return to_float(batch)


def _take_inputs(
    ring_views: RingViews,
    batch: Batch,
    objects: np.ndarray,
    inputs: np.ndarray,
    origin: np.ndarray,
    faults: np.random.Generator | None,
) -> None:
    """Put people's pictures and their cameras in the place of a batch's conditions."""
    assert ring_views.inputs is not None
    poses = batch["cond_c2w"].clone()
    for row in np.flatnonzero(inputs >= 0):
        n, k = objects[row], inputs[row]
        picture = ring_views.inputs.images[n, k]
        if faults is not None:
            picture = with_faults(picture, faults)
        batch["cond_image"][row] = on_white(picture[None])[0]
        poses[row] = turned(ring_views.inputs.c2w[n, k], -360.0 * origin[row] * ring_views.turn)
    batch["cond_c2w"] = poses


def turned(c2w: Float[Tensor, "4 4"], degrees: float) -> Float[Tensor, "4 4"]:
    """Return a pose after the camera went around +Z, counter-clockwise seen from above."""
    angle = math.radians(degrees)
    turn = torch.eye(4)
    turn[0, 0] = turn[1, 1] = math.cos(angle)
    turn[1, 0], turn[0, 1] = math.sin(angle), -math.sin(angle)
    return turn @ c2w


def on_white(images: UInt8[np.ndarray, "b h w 4"]) -> Float[Tensor, "b 3 h w"]:
    """Return pictures on white, in [-1, 1]."""
    rgba = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
    alpha = rgba[:, 3:]
    return (rgba[:, :3] * alpha + (1 - alpha)) * 2 - 1


class RingBatches(StepBatches):
    """Endless batches from rings; batch `s` is a function of (seed, s) alone.

    Args:
        ring_views: the objects.
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
        ring_views: RingViews,
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
        self.ring_views, self.targets = ring_views, targets
        self.references, self.frame = references, frame
        self.copied = range(*copied)

    def at(self, step: int, part: int = 0) -> Batch:
        """Return a part of the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        n, v = self.ring_views.images.shape[:2]
        joint = self.batch * self.parts.total
        objects = rng.integers(n, size=joint)
        first = rng.choice(self.ring_views.references or v, size=joint)
        if self.targets == v:
            targets = np.broadcast_to(np.arange(v), (joint, v)).copy()
        else:
            targets = np.stack([rng.permutation(v)[: self.targets] for _ in range(joint)])
        further = max(self.references - 1, 0)
        offsets = [rng.permutation(v - 1)[:further] + 1 for _ in range(joint)] if further else []
        inputs = None
        if self.ring_views.inputs is not None:
            count = self.ring_views.inputs.at.shape[1]
            inputs = np.where(rng.random(joint) < OWN_SHARE, -1, rng.integers(count, size=joint))
            taken = self.ring_views.inputs.at[objects, np.maximum(inputs, 0)]
            first = np.where(inputs < 0, first, taken)
        references = first[:, None]
        if offsets:
            references = np.concatenate([references, (references + np.stack(offsets)) % v], 1)
        if step in self.copied:
            origin = first[:, None] if self.frame == "condition" else 0
            targets = rng.permuted((references - origin) % v, axis=1)[:, : self.targets]
        own = slice(part * self.batch, (part + 1) * self.batch)
        return ring_batch(
            self.ring_views,
            objects[own],
            references[own],
            targets[own],
            frame=self.frame,
            posed=self.references > 0,
            inputs=None if inputs is None else inputs[own],
            faults=np.random.default_rng([self.seed, 3, step, part]),
        )
