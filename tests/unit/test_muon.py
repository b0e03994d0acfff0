"""Muon: orthogonal steps of matrices."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from studio.systems.muon import ADAM_RMS, Muon, orthogonal
from studio.systems.optim import OptimizerConfig, make_optimizer


@pytest.mark.parametrize("shape", [(24, 200), (200, 24), (32, 32)])
def test_singular_values_become_alike_and_their_vectors_stay(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(0, -1.5, len(v))
    found = orthogonal(3.0 * u * values @ v)
    within = u.T @ found @ v.T
    assert torch.diag(within).min() > 0.5 and torch.diag(within).max() < 1.3
    assert (within - torch.diag(torch.diag(within))).abs().max() < 0.03


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 2, 1))


def loss_of(net: nn.Module, x: Tensor) -> Tensor:
    return (net(x) - x[:, :2, 1:-1, 1:-1] * x[:, 1:, 1:-1, 1:-1]).square().mean()


def test_its_first_step_is_as_long_as_adams_ought_to_be() -> None:
    net = network()
    before = copy.deepcopy(net)
    optimizer = Muon(net.parameters(), lr=1e-3, weight_decay=0.0)
    loss_of(net, torch.randn(4, 3, 8, 8)).backward()
    optimizer.step()
    change = net[0].weight - before[0].weight
    assert change.square().mean().sqrt().item() == pytest.approx(ADAM_RMS * 1e-3, rel=0.25)
    bias = net[0].bias - before[0].bias
    assert bias.abs().max().item() == pytest.approx(1e-3, rel=1e-3)  # Adam's first: its sign


def test_it_learns_and_resumes_to_the_same_bits() -> None:
    cfg = OptimizerConfig(optimizer="muon", lr=1e-2)
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_of(net, x)
            loss.backward()
            optimizer.step()
        return loss.item()

    net = network()
    optimizer = make_optimizer([{"params": list(net.parameters())}], cfg)
    first = train(net, optimizer, 1)
    train(net, optimizer, 19)
    again = copy.deepcopy(net)
    resumed = make_optimizer([{"params": list(again.parameters())}], cfg)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(net, optimizer, 40) < 0.7 * first
    train(again, resumed, 40)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
