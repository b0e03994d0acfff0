"""Weights of the conditions of a new view (ViewFusion, arXiv 2402.18842, section 3.3).

Distances are angles between cameras in degrees. Pictures given by the user are inputs; they always
count. Views made before count while they stand within the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from studio.plugins.parsing import Checked
from studio.plugins.ranges import Factor, Size


@dataclass(frozen=True)
class Fusion(Checked):
    """What the weights depend on beside the cameras.

    Attributes:
        input_temperature: how slowly the inputs' share falls; the paper's tau of the condition.
        view_temperature: how evenly the made views share the rest; high is even.
        window_deg: made views this far from the target, or farther, do not count.
    """

    input_temperature: Size = 0.5
    view_temperature: Size = 0.5
    window_deg: Factor = 125.0


def share_by_order(place: int, count: int, inputs: int, temperature: float) -> float:
    """Share of the inputs in a spin: it falls with the place in the order, not with the angle.

    Args:
        place: of the view among those that are made, from 0.
        count: views that are made.
        inputs: pictures given; the authors count on from 1 for one and from 0 for several.
        temperature: `Fusion.input_temperature`.
    """
    done = (place + 1) / (count + 1) if inputs == 1 else place / count
    return math.exp(-done / temperature)


def share_by_angle(distance_deg: float, temperature: float) -> float:
    """Share of the inputs on a path to one target, by the angle to the nearest input."""
    return math.exp(-distance_deg / 180.0 / temperature)


def fusion_weights(
    distance_deg: Float[Tensor, " c"], inputs: int, share: float, fusion: Fusion
) -> tuple[list[int], Float[Tensor, " n"]]:
    """Choose the conditions of one view and weigh them.

    Args:
        distance_deg: from every earlier view to the target, the inputs first.
        inputs: how many of them are inputs.
        share: of all inputs together, in [0, 1]; they get everything where no made view counts.
        fusion: window and temperatures.

    Returns:
        positions of the conditions, and their weights, which sum to 1.
    """
    near = (distance_deg < fusion.window_deg - 1e-6).tolist()
    made = [i for i in range(inputs, len(near)) if near[i]]
    given = _softmax(distance_deg[:inputs], 1.0)  # official: no temperature here
    if not made:
        return list(range(inputs)), given
    rest = _softmax(distance_deg[made], fusion.view_temperature)
    return [*range(inputs), *made], torch.cat([share * given, (1 - share) * rest])


def _softmax(distance: Float[Tensor, " n"], temperature: float) -> Float[Tensor, " n"]:
    """Nearer counts more; distances are relative to the farthest, and equal where all are zero."""
    farthest = distance.max()
    relative = distance / farthest if farthest > 0 else torch.zeros_like(distance)
    return torch.softmax(-relative / temperature, 0)
