"""Mirrored light apart from colours: hash-sdf's two networks, and a model's texture."""

from __future__ import annotations

import torch
from torch import Tensor

from studio.geometry.hash_sdf import HashSDF
from studio.models.sdf.loss_options import read_losses
from studio.models.sdf.model import SDFModel
from studio.models.sdf.native_step import runs_natively
from studio.models.sdf.objective import Objective
from studio.renderers.neus_occupancy import NeuSOccupancyRenderer

SMALL = {"levels": 2, "max_resolution": 24, "log2_rows": 8, "hidden": 16, "features": 5}


def shiny(**options: object) -> HashSDF:
    torch.manual_seed(3)
    geometry = HashSDF(HashSDF.Config(**SMALL, gloss=True, **options))
    for layer in geometry.gloss_net:
        torch.nn.init.normal_(layer.weight, std=0.5)
        torch.nn.init.zeros_(layer.bias)
    return geometry


def unit(seed: int) -> Tensor:
    drawn = torch.randn(40, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def test_colours_less_gloss_are_the_same_from_everywhere() -> None:
    geometry, points, normals = shiny(), unit(0) * 0.6, unit(1)
    feature = geometry(points).feature
    own = []
    for seed in (2, 3):
        along = unit(seed)
        seen = geometry.colour(points, normals, along, feature)
        gloss = geometry.gloss(points, normals, along, feature)
        assert gloss.min() >= 0 and gloss.std() > 0.01 and seen.max() <= 1
        own.append(seen - gloss)
    torch.testing.assert_close(own[0], own[1], atol=1e-6, rtol=0)


def test_gloss_and_its_gradients_equal_those_of_tensor_operations() -> None:
    found = []
    for backend in ("cpu", "torch"):
        geometry, normals = shiny(backend=backend), unit(1).requires_grad_()
        feature = geometry(unit(0) * 0.6).feature
        seen = geometry.colour(unit(0), normals, unit(2), feature)
        seen.square().sum().backward()
        grads = [p.grad for layer in geometry.gloss_net for p in layer.parameters()]
        found.append([seen.detach(), normals.grad, geometry.table.grad, *grads])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_without_the_option_nothing_is_told_and_steps_are_native() -> None:
    renderer = NeuSOccupancyRenderer(NeuSOccupancyRenderer.Config())
    for gloss in (False, True):
        geometry = HashSDF(HashSDF.Config(**SMALL, gloss=gloss))
        assert runs_natively(Objective(read_losses(), geometry, renderer)) is not gloss
        told = geometry.gloss(unit(0), unit(1), unit(2), geometry(unit(0) * 0.6).feature)
        assert (told is not None) is gloss


def test_a_models_colours_are_without_gloss() -> None:
    model = SDFModel(SDFModel.Config(geometry={**SMALL, "gloss": True}))
    model.geometry = shiny()
    points, normals = unit(0) * 0.6, unit(1)
    own, gloss = model.colour(points, normals), model.gloss(points, normals, unit(2))
    seen = model.geometry.colour(points, normals, unit(2), model.geometry(points).feature)
    torch.testing.assert_close(own + gloss, seen.detach(), atol=1e-6, rtol=0)
    plain = SDFModel(SDFModel.Config(geometry=SMALL))
    assert plain.gloss(points, normals, unit(2)) is None
