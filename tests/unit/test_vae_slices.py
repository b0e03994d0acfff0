"""Every method's VAE takes `vae_batch` pictures at a time, both ways, and tells how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from studio import progress
from studio.guidance.autoencoder import decode, encode
from tests.unit import test_spad
from tests.unit.test_predictions import METHODS, PICTURE

HELD = replace(test_spad.TEXT, image=PICTURE.image)


def made(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    if name == "spad":
        changes = {"blob_sigma": 0.5, "image_conditioning": "noised", **changes}
    model = METHODS[name].make(prediction_type="v_prediction").eval()
    for option, value in changes.items():
        setattr(model.cfg, option, value)
    return model


def watched(model: Any) -> dict[str, list[int]]:
    """How many pictures a model's VAE is given, call by call."""
    counts: dict[str, list[int]] = {"encode": [], "decode": []}

    def counting(name: str, work: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        return lambda x: counts[name].append(len(x)) or work(x)

    for name in counts:
        setattr(model.vae, name, counting(name, getattr(model.vae, name)))
    return counts


@pytest.mark.parametrize("name", METHODS)
def test_sampling_in_slices_makes_the_same_views(name: str) -> None:
    condition = HELD if name == "spad" else METHODS[name].condition
    views, counts = {}, {}
    for batch in (1, 16):
        model = made(name, vae_batch=batch)
        counts[batch] = watched(model)
        views[batch] = model.generate(condition, generator=torch.Generator().manual_seed(0)).images
    assert set(counts[1]["decode"]) == {1} and set(counts[1]["encode"]) <= {1}
    assert {way: sum(n) for way, n in counts[1].items()} == {
        way: sum(n) for way, n in counts[16].items()
    }
    torch.testing.assert_close(views[1], views[16], atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_training_encodes_in_slices(name: str) -> None:
    losses = []
    for batch in (1, 16):
        model = made(name, vae_batch=batch)
        counts = watched(model)
        data = METHODS[name].batch()
        objects, views = data["c2w"].shape[:2]
        data = {k: v for k, v in data.items() if k not in ("latents", "cond_latents")}
        if "images" not in data:
            data["images"] = data["cond_image"][:, None].expand(-1, views, -1, -1, -1)
        loss = model.training_loss(data, generator=torch.Generator().manual_seed(0))["loss"]
        losses.append(loss.detach())
        assert max(counts["encode"]) == min(batch, objects * views)
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-4)


def test_the_vae_tells_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, now = made("zero123"), [100.0]
    monkeypatch.setattr(progress, "enabled", True)
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def slow(work: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def later(x: Tensor) -> Any:
            now[0] += 9.0
            return work(x)

        return later

    model.vae.encode, model.vae.decode = slow(model.vae.encode), slow(model.vae.decode)
    with torch.no_grad():
        latents = encode(model.vae, torch.zeros(5, 3, 32, 32), batch=2)
        decode(model.vae, latents, batch=2)
    told = re.findall(r"(\w+): (\d)/5", capsys.readouterr().out)
    assert told == [(w, n) for w in ("encoding", "decoding") for n in "245"]


def test_noise_of_the_posterior_is_of_its_picture() -> None:
    vae = made("zero123").vae
    pixels = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.arange(5.0).reshape(5, 1, 1, 1)
    with torch.no_grad():
        parts, all_at_once = (encode(vae, pixels, noise, batch) for batch in (2, 16))
        mode = encode(vae, pixels, batch=2)
    torch.testing.assert_close(parts, all_at_once, atol=1e-5, rtol=1e-5)
    assert (parts[0] == mode[0]).all() and (parts[1:] != mode[1:]).any(dim=(1, 2, 3)).all()
