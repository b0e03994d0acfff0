"""Half precision in sampling: near float32, in half the memory, with float32 noise and latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from studio.guidance.autoencoder import decode
from studio.guidance.diffusion import randn_like
from studio.guidance.precision import sampling_type, store_at_precision
from studio.views import Condition
from tests.unit import test_viewfusion_composable
from tests.unit.test_predictions import METHODS, PICTURE

NEAR = 0.04  # mean difference of pictures in [0, 1]: of random networks, with outlines cut anew


def composable(**changes: Any) -> Any:
    torch.manual_seed(0)
    return test_viewfusion_composable.tiny(**changes)


def made(name: str) -> tuple[Callable[[], Any], Condition]:
    """How to make a method with always the same random weights, and what to ask it with."""
    if name == "viewfusion-composable":
        return composable, PICTURE
    method = METHODS[name]

    def make() -> Any:
        torch.manual_seed(0)
        return method.make(prediction_type="v_prediction")

    return make, method.condition


def pictures(model: Any, condition: Condition) -> torch.Tensor:
    views = model.generate(condition, generator=torch.Generator().manual_seed(0))
    assert views.images.dtype == torch.float32
    return views.rgb_on(1.0)


@pytest.mark.parametrize("name", [*METHODS, "viewfusion-composable"])
def test_half_precision_is_near_and_small(name: str) -> None:
    make, condition = made(name)
    full, half = make().eval(), make().eval()
    half.cfg.precision = "bfloat16"
    store_at_precision(half)
    sizes = [sum(p.nbytes for p in model.parameters()) for model in (full, half)]
    assert sizes[1] < 0.62 * sizes[0]  # tiny networks have many norms
    wanted, found = pictures(full, condition), pictures(half, condition)
    assert not torch.equal(wanted, found), "it is computed otherwise"
    assert (wanted - found).abs().mean() < NEAR
    assert wanted.std() > 2 * NEAR, "the pictures are no even grey"


@pytest.mark.parametrize("name", ["epidiff", "eschernet"])
def test_training_after_a_preview_in_half_precision_has_whole_weights(name: str) -> None:
    make, condition = made(name)
    model = make().eval()
    model.cfg.precision = "bfloat16"
    pictures(model, condition)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_float16_on_a_processor_is_bfloat16() -> None:
    model = made("zero123")[0]()
    model.cfg.precision = "float16"
    assert sampling_type(model) == torch.bfloat16


def test_noise_beside_half_precision_is_drawn_in_float32() -> None:
    draws = [
        randn_like(torch.empty(3, 4, dtype=kind), torch.Generator().manual_seed(0))
        for kind in (torch.float32, torch.bfloat16, torch.float16)
    ]
    assert all(torch.equal(draw, draws[0]) for draw in draws)


def test_the_vae_decodes_so_many_at_once() -> None:
    model = made("zero123")[0]().eval()
    counts: list[int] = []
    decoder = model.vae.decode
    model.vae.decode = lambda z: counts.append(len(z)) or decoder(z)
    latents = torch.randn(5, model.vae.config.latent_channels, 4, 4)
    with torch.no_grad():
        parts, whole = decode(model.vae, latents, 2), decode(model.vae, latents)
    assert counts == [2, 2, 1, 5]
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)
