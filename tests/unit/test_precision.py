"""Half precision in sampling: half the memory, with float32 noise, latents and cameras.

How near it is to float32 is held on the parity cases, `tests/parity/test_half.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studio.guidance import precision
from studio.guidance.autoencoder import encode
from studio.guidance.epidiff.near_views import CameraSet
from studio.guidance.epidiff.network import Attention
from studio.guidance.noise import randn_like
from studio.guidance.precision import sampling_type, store_at_precision
from studio.guidance.spad.attention import CameraConditioning
from studio.views import Condition
from tests.unit import test_viewfusion_composable
from tests.unit.test_predictions import METHODS, PICTURE

ALL = [*METHODS, "viewfusion-composable"]


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


def pictures(model: Any, condition: Condition) -> Tensor:
    views = model.generate(condition, generator=torch.Generator().manual_seed(0))
    assert views.images.dtype == views.cameras.c2w.dtype == torch.float32
    return views.rgb_on(1.0)


@pytest.mark.parametrize("name", ALL)
def test_half_precision_is_small_and_used(name: str) -> None:
    make, condition = made(name)
    full, half = make().eval(), make().eval()
    half.cfg.precision = "bfloat16"
    store_at_precision(half)
    sizes = [sum(p.nbytes for p in model.parameters()) for model in (full, half)]
    assert sizes[1] < 0.62 * sizes[0]  # tiny networks have many norms
    wanted, found = pictures(full, condition), pictures(half, condition)
    assert not torch.equal(wanted, found), "it is computed otherwise"
    assert found.isfinite().all()


def camera_numbers(model: Any) -> list[Tensor]:
    """Collect what a method's networks are told of cameras, while it samples."""
    told: list[Tensor] = []

    def projected(_: nn.Module, given: tuple[Any, ...]) -> None:
        told.append(given[-1])  # pose vector or camera numbers

    def denoised(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        for value in (*given, *named.values()):
            if isinstance(value, CameraSet):
                told.extend([value.at(8).points, value.at(8).query, value.at(8).mask])
            elif isinstance(value, CameraConditioning):
                told.append(value.plucker)
                told.extend([] if value.mask is None else [value.mask])
            elif isinstance(value, dict):
                codes = value["codes"]
                told.extend([codes.targets.query, codes.targets.key, codes.references.key])

    for name in ("clip_camera_projection", "camera_projection"):
        if hasattr(model, name):
            getattr(model, name).register_forward_pre_hook(projected)
    for name in ("mv_model", "denoiser", "unet"):
        if hasattr(model, name):
            getattr(model, name).register_forward_pre_hook(denoised, with_kwargs=True)
    if hasattr(model, "denoise_fn"):
        model.denoise_fn.register_forward_pre_hook(lambda _, given: told.append(given[1]))
    return told


@pytest.mark.parametrize("name", ALL)
def test_cameras_are_the_same_at_every_precision(name: str) -> None:
    make, condition = made(name)
    told, views = {}, {}
    for kind in ("float32", "bfloat16"):
        model = make().eval()
        model.cfg.precision = kind
        told[kind] = camera_numbers(model)
        views[kind] = model.generate(condition, generator=torch.Generator().manual_seed(0))
    assert told["float32"] and len(told["float32"]) == len(told["bfloat16"])
    for wanted, found in zip(told["float32"], told["bfloat16"], strict=True):
        assert torch.equal(wanted, found)
    wanted, found = views["float32"].cameras, views["bfloat16"].cameras
    assert torch.equal(wanted.c2w, found.c2w)
    assert torch.equal(wanted.intrinsics, found.intrinsics)


@pytest.mark.parametrize("name", ["epidiff", "eschernet"])
def test_training_after_a_preview_in_half_precision_has_whole_weights(name: str) -> None:
    make, condition = made(name)
    model = make().eval()
    model.cfg.precision = "bfloat16"
    pictures(model, condition)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_processor_takes_what_it_multiplies(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(precision.multiplies_bfloat16(), bool)
    model = made("zero123")[0]()
    for fast, taken in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda fast=fast: fast)
        model.cfg.precision = "float16"
        assert sampling_type(model) == taken
        caplog.clear()
        model.cfg.precision = "bfloat16"
        assert sampling_type(model) == torch.bfloat16
        assert ("does not multiply bfloat16" in caplog.text) is not fast
    model.cfg.precision = "float16"
    assert sampling_type(model.to("meta")) == torch.float16


def test_noise_beside_half_precision_is_drawn_in_float32() -> None:
    draws = [
        randn_like(torch.empty(3, 4, dtype=kind), torch.Generator().manual_seed(0))
        for kind in (torch.float32, torch.bfloat16, torch.float16)
    ]
    assert all(torch.equal(draw, draws[0]) for draw in draws)


def test_latents_of_conditions_are_float32() -> None:
    vae = made("zero123")[0]().vae
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert encode(vae, torch.zeros(1, 3, 32, 32)).dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_ray_that_no_view_sees_averages_at_every_precision(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    attention = Attention(8, 8, 4).to(kind)
    x, context = torch.randn(1, 2, 3, 8, dtype=kind) * 4, torch.randn(1, 2, 5, 8, dtype=kind) * 4
    keys_values = attention.keys_values(context)
    mask = torch.tensor([[[True] * 5, [False] * 5]])
    with torch.no_grad():
        out = attention(x, keys_values, mask)
        mean = attention.to_out(keys_values.chunk(2, dim=-1)[1].mean(2))
        seen = attention(x, keys_values)
    torch.testing.assert_close(out[0, 1], mean[0, 1].expand(3, -1), atol=3e-2, rtol=0)
    torch.testing.assert_close(out[0, 0], seen[0, 0], atol=3e-2, rtol=0)
    assert (seen[0, 1] - mean[0, 1]).abs().max() > 0.1
