"""The example plugin in custom/ works as its README says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.errors import PluginError
from studio.plugins.options import build
from tests.conftest import REPOSITORY


@pytest.fixture
def siren(clean_plugins: None, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    monkeypatch.chdir(REPOSITORY)
    torch.manual_seed(0)
    return build("geometry", "siren-sdf", {"hidden": 32}, key="system.geometry")


def test_it_starts_as_a_sphere(siren: torch.nn.Module) -> None:
    points = torch.rand(200, 3) * 2 - 1
    out = siren(points)
    distance = points.norm(dim=-1)
    torch.testing.assert_close(out.sdf, distance - 0.6, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.gradient, points / distance[:, None], atol=1e-4, rtol=0)
    torch.testing.assert_close(siren.sdf(points), out.sdf)
    rgb = siren.colour(points, out.gradient, -points, out.feature)
    assert rgb.shape == (200, 3) and (rgb >= 0).all() and (rgb <= 1).all()


def test_its_gradient_is_the_derivative(siren: torch.nn.Module) -> None:
    torch.nn.init.normal_(siren.head.weight, std=0.1)
    siren.double()
    points = torch.rand(50, 3, dtype=torch.float64) - 0.5
    with torch.no_grad():
        gradient = siren(points).gradient
        step = 1e-5 * torch.eye(3, dtype=torch.float64)
        numeric = [(siren.sdf(points + h) - siren.sdf(points - h)) / 2e-5 for h in step]
    torch.testing.assert_close(gradient, torch.stack(numeric, dim=-1), atol=1e-6, rtol=1e-6)


def test_it_learns_a_box(siren: torch.nn.Module) -> None:
    def box(x: torch.Tensor) -> torch.Tensor:
        q = x.abs() - torch.tensor([0.5, 0.3, 0.4])
        return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)

    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(siren.parameters(), lr=3e-3)
    errors = []
    for _ in range(150):
        points = torch.rand(512, 3, generator=generator) * 2 - 1
        out = siren(points)
        error = (out.sdf - box(points)).abs().mean()
        eikonal = (out.gradient.norm(dim=-1) - 1).square().mean()
        optimizer.zero_grad()
        (error + 0.01 * eikonal).backward()
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-10:]) < 0.25 * sum(errors[:10])


def test_the_code_in_the_readme_is_a_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None
) -> None:
    from studio.plugins import discovery as plugins

    readme = (REPOSITORY / "custom" / "README.md").read_text()
    code = readme.split("```python")[1].split("```")[0]
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "my-geometry.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    plugins.reset()
    built = [p for p in plugins.listing() if p.name == "my-geometry"]
    assert [(p.kind, p.summary, p.error) for p in built] == [
        ("geometry", "This line is what --list shows.", "")
    ]
    with pytest.raises(PluginError, match="lacks colour, forward, sdf"):  # what "..." stands for
        plugins.find("geometry", "my-geometry")
