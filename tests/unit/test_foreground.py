"""Cutting an object out of its picture, and saying what to do where that is not possible."""

import os
from pathlib import Path

import pytest
import torch

from studio.captures.foreground import foreground, has_alpha
from studio.errors import DataError
from studio.io.images import composite, read_picture

DATA = os.environ.get("STUDIO_TEST_DATA")


def ball(background: torch.Tensor, size: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """A shaded ball with soft edges on a background colour, opaque, and its true alpha."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    alpha = (28.5 - ((x - 50) ** 2 + (y - 44) ** 2).sqrt()).clamp(0, 1)
    rgba = torch.stack([0.7 + 0.2 * x / size, 0.25 + 0 * x, 0.2 + 0.2 * y / size, alpha])
    opaque = torch.cat([composite(rgba, background), torch.ones(1, size, size)])
    return opaque, rgba


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.1, 0.8, 0.2)])
def test_even_background_is_removed_with_a_soft_edge(colour: tuple[float, ...]) -> None:
    opaque, truth = ball(torch.tensor(colour))
    noise = torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(1)) * 0.01
    opaque[:3] = (opaque[:3] + noise).clamp(0, 1)
    cut = foreground(opaque)
    assert (cut[3] - truth[3]).abs().max() < 0.25
    assert (cut[3] - truth[3]).abs().mean() < 0.003
    error = (composite(cut, 0.5) - composite(truth, 0.5)).abs()
    assert error.mean() < 0.01
    edge = (truth[3] > 0) & (truth[3] < 1)
    assert error[:, edge].mean() < 0.04  # no fringe of the background's colour


def test_alpha_channel_is_kept_untouched() -> None:
    _, truth = ball(torch.ones(3))
    assert has_alpha(truth)
    assert torch.equal(foreground(truth), truth)
    assert torch.equal(foreground(truth, "alpha"), truth)


def test_none_changes_nothing() -> None:
    opaque, _ = ball(torch.ones(3))
    assert torch.equal(foreground(opaque, "none"), opaque)


def test_errors_say_what_to_do() -> None:
    opaque, _ = ball(torch.ones(3))
    busy = opaque.clone()
    busy[:3] = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        DataError, match="not even.*\n.*\n.*alpha channel(.|\n)*data.background=rembg"
    ):
        foreground(busy)
    with pytest.raises(DataError, match="no transparent background"):
        foreground(opaque, "alpha")
    with pytest.raises(DataError, match="nothing but its background"):
        foreground(torch.ones(4, 32, 32))
    with pytest.raises(DataError, match="allowed: auto, alpha, border, rembg, none"):
        foreground(opaque, "magic")


def test_rembg_missing_or_without_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opaque, _ = ball(torch.ones(3))
    find = "studio.captures.foreground.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda _: None)
    with pytest.raises(DataError, match=r"pip install \"rembg"):
        foreground(opaque, "rembg")
    monkeypatch.setattr(find, lambda _: object())
    with pytest.raises(DataError, match="no model was given"):
        foreground(opaque, "rembg")
    with pytest.raises(DataError, match="is not a file"):
        foreground(opaque, "rembg", model=tmp_path / "u2net.onnx")


@pytest.mark.skipif(not DATA, reason="STUDIO_TEST_DATA is not set")
@pytest.mark.parametrize("name", ["FIRE_ENGINE", "STACKING_BEAR", "3D_Dollhouse_Lamp"])
def test_real_objects_on_white(name: str) -> None:
    truth = read_picture(Path(str(DATA)) / "images" / f"{name}.webp")
    opaque = torch.cat([composite(truth), torch.ones_like(truth[3:])])
    cut, mask = foreground(opaque)[3] > 0.5, truth[3] > 0.5
    assert (cut & mask).sum() / (cut | mask).sum() > 0.99
