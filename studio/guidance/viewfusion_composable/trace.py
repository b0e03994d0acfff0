"""The trace of a denoising run: noisy images on the way, and the weights of the views in them."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from studio.guidance.viewfusion_composable.composition import Composed
from studio.io.images import save_png


class DenoisingTrace:
    """Keeps frames, logits and weights of a run at about evenly spaced moments, the end included.

    Targets may be denoised group after group; a group begins with its first step.

    Args:
        start: unit noise that all targets start from.
        steps: of a run.
        moments: how many are kept; one or a few more where the steps are no multiple of them.
        inputs: pictures in [0, 1] that all targets are made from, for `save`.
    """

    def __init__(
        self,
        start: Float[Tensor, "f 3 h w"],
        steps: int,
        moments: int,
        inputs: Float[Tensor, "n 3 h w"] | None = None,
    ) -> None:
        self.start, self.steps = start.cpu(), steps
        self.inputs = start.new_empty(0, *start.shape[1:]).cpu() if inputs is None else inputs.cpu()
        self.every = max(steps // moments, 1)
        self.groups: list[list[tuple[Tensor, Composed]]] = []

    def __call__(self, remaining: int, y: Float[Tensor, "b 3 h w"], composed: Composed) -> None:
        """Take in the noisy pictures after a step and the estimate it was made with."""
        if remaining == self.steps - 1:
            self.groups.append([])
        if remaining % self.every == 0:
            self.groups[-1].append((y.cpu(), composed.to("cpu")))

    @property
    def frames(self) -> Float[Tensor, "f s 3 h w"]:
        """The noise at the start, then the pictures at every moment; not clamped."""
        kept = [torch.stack([y for y, _ in group], dim=1) for group in self.groups]
        return torch.cat([self.start[:, None], torch.cat(kept)], dim=1)

    @property
    def logits(self) -> Float[Tensor, "m s 3 h w"] | None:
        """Logits of all views in use, target by target; None where views are not weighted."""
        kept = [[c.logits for _, c in group] for group in self.groups]
        if any(logits is None for group in kept for logits in group):
            return None
        used = [group[0][1].used for group in self.groups]
        return torch.cat(
            [
                torch.stack([logits[mask] for logits in group if logits is not None], dim=1)
                for group, mask in zip(kept, used, strict=True)
            ]
        )

    @property
    def weights(self) -> Float[Tensor, "f s v 3 h w"] | None:
        """Share of every view at every moment, 0 where a target had fewer; None without weights."""
        kept = [[c.weights for _, c in group] for group in self.groups]
        if any(weights is None for group in kept for weights in group):
            return None
        stacked = [torch.stack([w for w in g if w is not None], dim=1) for g in kept]
        most = max(group.shape[2] for group in stacked)
        missing = [most - group.shape[2] for group in stacked]
        pad = torch.nn.functional.pad
        return torch.cat(
            [pad(g, (0, 0) * 3 + (0, n)) for g, n in zip(stacked, missing, strict=True)]
        )

    def save(self, folder: Path) -> None:
        """Write frames.png, a row per target, and weights.png.

        The latter has the views on top (the inputs and, of a run in turn, the targets made before)
        and the targets on the left; between them stand the last moment's weights, 1 in white.
        Without weights only the frames are written.
        """
        save_png(folder / "frames.png", tiles(self.frames))
        weights = self.weights
        if weights is not None:
            made = self.frames[:, -1]
            views = torch.cat([self.inputs, made])[: weights.shape[2]]
            top = torch.cat([torch.ones_like(made[:1]), views])
            rows = torch.cat([made[:, None], weights[:, -1]], dim=1)
            save_png(folder / "weights.png", tiles(torch.cat([top[None], rows])))


def tiles(pictures: Float[Tensor, "r c 3 h w"]) -> Float[Tensor, "3 i j"]:
    """Return pictures side by side, as rows and columns."""
    rows, columns, _, height, width = pictures.shape
    return pictures.permute(2, 0, 3, 1, 4).reshape(3, rows * height, columns * width)
