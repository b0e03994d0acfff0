"""Memory without content: what is counted is what lives, at any size, real or fake."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.memory import OFFICIAL, LiveBytes, figures, weightless


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 10)).requires_grad_(False)


@pytest.mark.parametrize("fake", [False, True])
def test_the_peak_is_what_lives_at_once(fake: bool) -> None:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    x = torch.randn(5, 10)
    if fake:
        with weightless(mode):
            net = network()
        counter = LiveBytes(list(net.parameters()))
        with mode, counter:
            y = net(mode.from_tensor(x))
    else:
        net = network()
        counter = LiveBytes(list(net.parameters()))
        with counter:
            y = net(x)
    assert counter.peak == 4 * (5 * 10 + 2 * 5 * 40)  # input, and the ReLU's input and output
    before = counter.live
    del y
    assert counter.live == before - 4 * 5 * 10


def test_figures_of_an_official_config_follow_its_options() -> None:
    config = OFFICIAL / "viewfusion-composable-neus.yaml"
    full = figures(config, ["view_batch=2"])
    half = figures(config, ["view_batch=2", "precision=bfloat16"])
    assert full["peak"] == pytest.approx(full["weights"] + full["denoising"])
    assert half["weights"] == pytest.approx(full["weights"] / 2, rel=0.02)
    assert half["denoising"] < 0.8 * full["denoising"]
