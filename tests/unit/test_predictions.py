"""What a network says (noise, v or latents) is one matter for loss and sampler of every method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.guidance.base import Guidance
from studio.guidance.diffusion import PREDICTIONS, NoiseSchedule
from studio.views import Condition
from tests.unit import (
    test_epidiff,
    test_eschernet,
    test_spad,
    test_viewfusion_interpolated,
    test_zero123,
)


@dataclass(frozen=True)
class Method:
    """A method at its tiniest."""

    make: Callable[..., Any]
    batch: Callable[[], dict[str, Any]]
    condition: Condition
    channels: int
    network: str = "unet"


def _epidiff(prediction_type: str) -> Guidance:
    return test_epidiff.tiny(
        zero123={**test_epidiff.TINY, "prediction_type": prediction_type},
        timestep_spacing="trailing",
    )


PICTURE = Condition(image=torch.ones(4, 32, 32))
METHODS = {
    "zero123": Method(test_zero123.tiny, test_zero123.batch, PICTURE, 8),
    "viewfusion-interpolated": Method(
        test_viewfusion_interpolated.tiny, test_zero123.batch, PICTURE, 8
    ),
    "epidiff": Method(_epidiff, lambda: test_epidiff.ring_batch(2, 6), PICTURE, 8, "mv_model"),
    "eschernet": Method(test_eschernet.tiny, test_eschernet.batch, PICTURE, 4),
    "spad": Method(test_spad.tiny, test_spad.batch, test_spad.TEXT, 8, "denoiser"),
}


def perfect(kind: str, schedule: NoiseSchedule, clean: Tensor) -> Callable[..., Any]:
    """What a network would say that knows the clean latents, one number per channel."""

    def forward(x: Tensor, t: Any, *_: Any, return_dict: bool = True, **__: Any) -> Any:
        x0 = clean[:, None, None]
        noisy, times = x[..., : len(clean), :, :], torch.as_tensor(t)
        abar = schedule.alphas_cumprod[times].reshape(*times.shape, 1, 1, 1)
        noise = (noisy - abar.sqrt() * x0) / (1 - abar).sqrt()
        answer = {
            "epsilon": noise,
            "v_prediction": abar.sqrt() * noise - (1 - abar).sqrt() * x0,
            "sample": x0.expand_as(noisy),
        }[kind]
        return answer if return_dict else (answer,)

    return forward


def knowing(name: str, kind: str) -> tuple[Any, Tensor]:
    """A method whose network is perfect, and the scaled latents that it knows."""
    method = METHODS[name]
    model = method.make(prediction_type=kind)
    clean = torch.linspace(-1, 1, method.channels)
    getattr(model, method.network).forward = perfect(kind, model.schedule, clean)
    return model, clean


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_a_perfect_network_has_no_loss(name: str, kind: str) -> None:
    model, clean = knowing(name, kind)
    batch = METHODS[name].batch()
    objects, views = batch["c2w"].shape[:2]
    scale = model.vae.config.scaling_factor
    batch["latents"] = (clean / scale)[:, None, None].expand(objects, views, -1, 8, 8)
    if name != "epidiff":  # whose batch brings the condition's latents in this size
        batch["latents"] = batch["latents"][..., :4, :4]
    loss = model.training_loss(batch, generator=torch.Generator().manual_seed(0))["loss"]
    assert loss.item() < 1e-7


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_sampling_with_a_perfect_network_ends_at_what_it_knows(name: str, kind: str) -> None:
    model, clean = knowing(name, kind)
    decoded: list[Tensor] = []
    decode = model.vae.decode
    model.vae.decode = lambda z: decoded.append(z) or decode(z)
    views = model.generate(METHODS[name].condition, generator=torch.Generator().manual_seed(0))
    latents = torch.cat(decoded) * model.vae.config.scaling_factor
    assert len(latents) in (len(views), len(views) - 1)  # the input's own view is kept by some
    off = latents - clean[:, None, None]
    assert off.abs().max() < 0.15  # the noise of the plan's last step, sqrt(1 - abar_0), is left
